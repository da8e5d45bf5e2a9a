"""Everything before the load: the client, the listing, who pulls what, which way, and whether it can be pruned.

Whatever would make the test meaningless is found here and told in one line, before the first pull.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import aiohttp

from .clients import Client, Crane, Found, Skopeo, find_client, header_config
from .credentials import Credentials, CredentialsError
from .errors import RunError, UsageError
from .gateway import Gateway
from .guard import MARK
from .images import Image, ImageSet, by_patterns, choose_tags, compile_regex, deal, overlaps
from .launch import Launcher
from .layout import Route, plan_route, too_deep
from .manifests import DigestResolver, PlatformImages
from .network import Network
from .probe import cannot_prune, probe_admin, probe_delete
from .prune import AdminPruner, ClientPruner, Pruner
from .registry import Registry, RegistryError, open_session
from .scratch import Scratch
from .settings import STDOUT, Settings
from .upstream import ImageListError, list_repositories, parse_image_list
from .worker import ClientPuller, DryPuller, Puller

# A prune call that fails is retried for so long, in seconds; then it counts as failed.
_PRUNE_RETRY = 5.0
_PAIRS_TOLD = 5


# Repositories and their tags (or one digest), as the upstream or an image list gives them.
Listing = Sequence[tuple[str, tuple[str, ...]]]


def read_image_list(source: str) -> Listing:
    """`--image-list`: one entry an image, in the file's order; what cannot be read is wrong usage."""
    try:
        if source == STDOUT:
            return _parsed(sys.stdin)
        with open(source, encoding="utf-8") as file:
            return _parsed(file)
    except OSError as error:
        raise UsageError(f"--image-list: cannot read {source}: {error.strerror}") from None
    except (ImageListError, UnicodeDecodeError) as error:
        raise UsageError(f"--image-list: {source}: {error}") from None


def _parsed(lines: Iterable[str]) -> Listing:
    return [(repository, (reference,)) for repository, reference in parse_image_list(lines)]


@dataclass(frozen=True, slots=True)
class Selection:
    """What the workers pull; `listed` counts the images before the filter."""

    listed: int
    image_sets: tuple[ImageSet, ...]

    @property
    def images(self) -> list[Image]:
        """Each image once, in the listing's order within each set."""
        return list(dict.fromkeys(image for each in self.image_sets for image in each.images))


@dataclass(frozen=True, slots=True)
class Means:
    """What the workers pull and prune with. A dry run has neither client nor launcher."""

    puller: Puller
    pruner: Pruner | None = None
    client: Client | None = None
    launcher: Launcher | None = None


class Preparation:
    """The stages before the load, in order. `given` is the user's image list; what is opened `resources` closes."""

    def __init__(
        self,
        settings: Settings,
        given: Listing | None,
        network: Network,
        scratch: Scratch,
        resources: ExitStack,
        log: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._given = given
        self._network = network
        self._scratch = scratch
        self._resources = resources
        self._log = log
        self._warn = warn
        self._open_session: aiohttp.ClientSession | None = None
        try:
            self._credentials = Credentials.from_environment(os.environ)
        except CredentialsError as error:
            raise RunError(str(error)) from None

    def find_client(self) -> Found | None:
        """The client's executable and version; None in a dry run, which needs none."""
        if self._settings.dry_run:
            return None
        found = find_client(self._settings.client)
        self._log(f"client {found.kind} {found.version} ({found.path})")
        return found

    def ping(self) -> None:
        """Any HTTP answer of the server under test is enough; none is the end."""
        if self._settings.dry_run or self._settings.keep_going:
            return
        endpoint = (
            self._settings.registry if self._settings.layout.is_upstream else self._settings.pullthrough
        )
        server = self._registry(endpoint.url)
        try:
            status = self._network.run_until_stop(server.ping())
        except RegistryError as error:
            raise RunError(f"the server under test does not answer: {error}") from None
        self._log(f"server under test {endpoint.url} answers GET /v2/ with HTTP {status}")

    def select(self) -> Selection:
        """List, filter and deal the images; warns of patterns that share some."""
        settings = self._settings
        accept = compile_regex("--filter", settings.filter) if settings.filter is not None else None
        repositories = self._from_catalog() if self._given is None else self._given
        listed = sum(len(tags) for _, tags in repositories)
        every = settings.all_tags or self._given is not None
        images = list(choose_tags(repositories, accept, every))
        self._log(
            f"{listed} images listed in {len(repositories)} repositories, {len(images)} chosen for the test"
        )
        if not images:
            raise RunError(self._nothing_left(listed))
        selection = Selection(listed, tuple(self._deal(images)))
        self._tell_overlaps(selection.image_sets)
        return selection

    def _nothing_left(self, listed: int) -> str:
        source = self._settings.image_list or self._settings.registry.url
        if listed:
            return f"--filter '{self._settings.filter}' leaves none of the {listed} images of {source}"
        return f"{source} lists no images; push some, or name what to pull with --image-list"

    def _deal(self, images: list[Image]) -> list[ImageSet]:
        settings = self._settings
        if settings.workers is not None:
            return deal(images, settings.workers)
        return by_patterns(
            images, settings.patterns, f"{settings.pullthrough.name}/{settings.registry.name}/"
        )

    def _tell_overlaps(self, image_sets: Sequence[ImageSet]) -> None:
        shared = overlaps(image_sets)
        for (one, other), count in list(shared.items())[:_PAIRS_TOLD]:
            self._caution(
                f"the patterns '{one}' and '{other}' share {count} images; who comes second pulls them from the cache"
            )
        if len(shared) > _PAIRS_TOLD:
            self._caution(f"{len(shared) - _PAIRS_TOLD} more pairs of patterns share images")

    def _caution(self, message: str) -> None:
        self._log(f"warning: {message}")
        self._warn(message)

    def _from_catalog(self) -> Listing:
        upstream = self._registry(self._settings.registry.url)
        self._log(f"listing the upstream {self._settings.registry.url}")
        try:
            found = self._network.run_until_stop(list_repositories(upstream, log=self._log))
        except RegistryError as error:
            raise RunError(f"cannot list the upstream: {error}") from None
        return [(repository.name, repository.tags) for repository in found]

    def means(self, found: Found | None, selection: Selection) -> Means:
        """The puller and, where it was asked for and works, the pruner."""
        if found is None:
            self._log("dry run: nothing is pulled or pruned")
            return Means(DryPuller())
        settings = self._settings
        images = selection.images
        route = plan_route(
            settings.layout,
            found.kind,
            settings.pullthrough,
            settings.registry,
            settings.upstream_name,
            images,
        )
        self._log(f"layout {settings.layout.name}, by {route.way}: {route.why}")
        if settings.layout.is_ociregistry:
            self._tell_too_deep(images)
        host = self._gateway(route) if route.way == "gateway" else route.endpoint.host
        client = self._client(found, route)
        launcher = Launcher(self._environment(route))
        self._resources.callback(launcher.close)

        def reference(image: Image) -> str:
            return route.reference(host, image)

        self._log(f"the first image: {' '.join(client.pull(reference(images[0]), self._scratch.path))}")
        pruner = self._pruner(client, launcher, route, reference, images[0])
        return Means(
            ClientPuller(client, launcher, reference, settings.pull_timeout), pruner, client, launcher
        )

    def _tell_too_deep(self, images: list[Image]) -> None:
        deep = too_deep(images)
        if deep:
            self._caution(
                f"{len(deep)} images such as {deep[0].name} have more path segments than Ociregistry serves"
            )

    def _gateway(self, route: Route) -> str:
        settings = self._settings
        if self._credentials.has_login(route.endpoint.name):
            raise RunError(
                f"{route.endpoint.name} needs credentials, and skopeo could reach it by the loopback gateway only, "
                "which passes none on; use --client crane, or an --upstream-name that fits into a path"
            )
        gateway = Gateway(route.endpoint.url, settings.upstream_name)
        host = self._network.run(gateway.start())
        self._resources.callback(lambda: self._network.run(gateway.close()))
        self._log(f"gateway on {host}, sending on to {route.endpoint.url} with ns={settings.upstream_name}")
        return host

    def _client(self, found: Found, route: Route) -> Client:
        settings = self._settings
        plain_http = route.way == "gateway" or not route.endpoint.tls
        if found.kind == "crane":
            return Crane(found.path, found.version, settings.platform, plain_http)
        config = self._credentials.config_path
        return Skopeo(
            found.path, found.version, settings.platform, plain_http, str(config) if config else None
        )

    def _environment(self, route: Route) -> dict[str, str]:
        environment = {
            **os.environ,
            MARK: str(self._scratch.path),
            "TMPDIR": str(self._scratch.folder("clients")),
        }
        if route.way == "header" and route.header is not None:
            folder = self._scratch.folder("docker")
            (folder / "config.json").touch(0o600)
            (folder / "config.json").write_text(header_config(self._credentials.config, route.header))
            environment["DOCKER_CONFIG"] = str(folder)
        return environment

    def _pruner(
        self,
        client: Client,
        launcher: Launcher,
        route: Route,
        reference: Callable[[Image], str],
        sample: Image,
    ) -> Pruner | None:
        settings = self._settings
        if not settings.prune and not settings.prune_first:
            return None
        server = self._registry(route.endpoint.url, _PRUNE_RETRY)
        ways = ["ociregistry", "client"] if settings.layout.is_ociregistry else ["client", "ociregistry"]
        if settings.prune_via != "auto":
            ways = [settings.prune_via]
        reasons: list[str] = []
        for way in ways:
            pruner = (
                self._admin_pruner(server)
                if way == "ociregistry"
                else self._client_pruner(client, launcher, route, reference, sample, server)
            )
            if not isinstance(pruner, str):
                self._log(f"prune by {pruner.how}" + "".join(f"; {reason}" for reason in reasons))
                return pruner
            reasons.append(pruner)
        raise cannot_prune(route.endpoint.name, reasons)

    def _admin_pruner(self, server: Registry) -> Pruner | str:
        probe = self._network.run_until_stop(probe_admin(server))
        if not probe.works:
            return probe.reason
        upstream = self._registry(self._settings.registry.url, _PRUNE_RETRY)
        platform_images = PlatformImages(self._network, upstream, self._log)
        return AdminPruner(self._network, server, self._settings.upstream_name, platform_images)

    def _client_pruner(
        self,
        client: Client,
        launcher: Launcher,
        route: Route,
        reference: Callable[[Image], str],
        sample: Image,
        server: Registry,
    ) -> Pruner | str:
        probe = self._network.run_until_stop(probe_delete(server, route, sample))
        if not probe.works:
            return probe.reason
        # skopeo finds the digest by itself
        resolver = (
            DigestResolver(self._network, server, route)
            if probe.by_digest and client.name == "crane"
            else None
        )
        return ClientPruner(client, launcher, reference, self._settings.pull_timeout, resolver)

    def _registry(self, url: str, retry_seconds: float = 60.0) -> Registry:
        if self._open_session is None:
            session = self._open_session = self._network.run(_session())
            self._resources.callback(lambda: self._network.run(session.close()))
        return Registry(
            url, self._open_session, self._credentials, retry_seconds=retry_seconds, log=self._log
        )


async def _session() -> aiohttp.ClientSession:
    """Sessions belong to the loop that they are made in."""
    return open_session()

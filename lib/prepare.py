"""What the workers pull and prune with: the client and its environment, the way to the server, the pruner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .clients.client import Client
from .clients.crane import Crane
from .clients.files import ClientFiles, _lean, client_environment, write_client_files
from .clients.find import Found
from .clients.skopeo import Skopeo
from .errors import RunError
from .gateway import Gateway
from .http.address import same_server
from .http.connections import Connections
from .http.logins import Login
from .http.registry import Registry, RegistryError
from .http.tls import Tls
from .images import Image
from .layout import Route, plan_route, unservable
from .listing.selection import Selection
from .load.pull import ClientPuller, DryPuller, Puller
from .manifests import DigestResolver, PlatformImages
from .options.settings import Settings
from .probe import cannot_prune, probe_admin, probe_delete
from .processes.launch import Launcher
from .processes.scratch import Scratch
from .prune import AdminPruner, ClientPruner, Pruner

# A prune call that fails is retried for so long, in seconds; then it counts as failed.
_PRUNE_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Means:
    """A dry run has neither client nor launcher; `pruner` is there where the user asked for pruning."""

    puller: Puller
    pruner: Pruner | None = None
    client: Client | None = None
    launcher: Launcher | None = None


def dry_means(connections: Connections) -> Means:
    """Those of a dry run."""
    connections.log("dry run: nothing is pulled or pruned")
    return Means(DryPuller())


def find_means(
    settings: Settings, found: Found, selection: Selection, connections: Connections, scratch: Scratch
) -> Means:
    """Those of a real run; RunError where there is no way to the server, or none to prune it."""
    images = selection.images
    route = plan_route(
        settings.layout, found.kind, settings.pullthrough, settings.registry, settings.upstream_name, images
    )
    connections.log(f"layout {settings.layout.name}, by {route.way}: {route.why}")
    if settings.layout.is_ociregistry:
        _tell_unservable(images, connections)
    login = connections.login(route.endpoint.url)
    _check_fit(found, route, login, connections)
    gateway = route.way == "gateway"
    host = _start_gateway(route, login, settings, connections) if gateway else route.endpoint.host
    files = write_client_files(found.kind, route, connections.credentials, login, settings.tls, scratch)
    client = _client(found, route, settings, files)
    environment = {**client_environment(scratch), **_lean(settings, found), **files.environment}
    launcher = Launcher(environment, connections.network.stop.wait)
    connections.resources.callback(launcher.close)

    def reference(image: Image) -> str:
        return route.reference(host, image)

    connections.log(
        f"the first image: {' '.join(client.pull([reference(images[0])], scratch.path))}"
        f"{_beside(route, found, settings.tls)}"
    )
    puller = ClientPuller(client, launcher, reference, settings.pull_timeout)
    if not settings.prune and not settings.prune_first:
        return Means(puller, None, client, launcher)
    if not settings.prune_first:
        connections.log("the first pass finds what the cache holds already; --prune-first makes it cold too")
    ways = _PruneWays(settings, route, client, launcher, reference, connections)
    return Means(puller, ways.choose(images[0]), client, launcher)


def _beside(route: Route, found: Found, tls: Tls) -> str:
    """What the command in the log needs to be repeated by hand."""
    needs = []
    if route.way == "header" and route.header is not None:
        needs.append(f"with HttpHeaders {route.header[0]}: {route.header[1]} in $DOCKER_CONFIG/config.json")
    if tls.authorities:
        needs.append(f"with {tls.ca_file} in the file that $SSL_CERT_FILE names")
    if found.kind == "skopeo":
        needs.append(
            f"{'the gateway and ' if route.way == 'gateway' else ''}its files are there during this run only"
        )
    return f" ({'; '.join(needs)})" if needs else ""


def _check_fit(found: Found, route: Route, login: Login | None, connections: Connections) -> None:
    """RunError where the server wants of the client what that cannot give."""
    if found.kind == "skopeo" and login is not None and not (login.username or login.identity_token):
        raise RunError(
            f"skopeo reads no registry token from a file, as {login.path} has one for {route.endpoint.name}; "
            "use --client crane, or log in with a name and a password"
        )
    tls = connections.tls
    if found.kind == "crane" and tls.client_cert is not None and route.endpoint.tls:
        shown, hidden = (_status(route, each, connections) for each in (tls, tls.without_certificate()))
        if shown is None:
            return  # it does not answer: what its clients make of that is counted
        if shown != hidden:
            raise RunError(
                f"{route.endpoint.name} wants a client certificate, and crane can show none; use --client skopeo"
            )
        connections.log(f"crane shows no client certificate; {route.endpoint.name} asks it for none")


def _status(route: Route, tls: Tls, connections: Connections) -> int | None:
    try:
        ping = connections.registry(route.endpoint.url, tls=tls).ping()
        return connections.network.run_until_stop(ping)
    except RegistryError:
        return None


def _tell_unservable(images: list[Image], connections: Connections) -> None:
    reasons: dict[str, list[Image]] = {}
    for image in images:
        reason = unservable(image)
        if reason is not None:
            reasons.setdefault(reason, []).append(image)
    for reason, found in reasons.items():
        connections.caution(f"Ociregistry cannot serve {found[0].name}: {reason} ({len(found)} such)")


def _start_gateway(route: Route, login: Login | None, settings: Settings, connections: Connections) -> str:
    if login is not None:
        raise RunError(
            f"{route.endpoint.name} needs credentials, and skopeo could reach it by the loopback gateway only, "
            "which passes none on; use --client crane, or an --upstream-name that fits into a path"
        )
    if route.endpoint.tls and not settings.tls.insecure:
        raise RunError(
            f"skopeo could reach {route.endpoint.name} by the loopback gateway only, which speaks plain http, and then "
            "checks no certificate behind it either; use --client crane, an --upstream-name that fits into a path, "
            "or accept that with --insecure"
        )
    gateway = Gateway(route.endpoint.url, settings.upstream_name)
    network = connections.network
    host = network.run(gateway.start())
    connections.resources.callback(lambda: network.run(gateway.close()))
    connections.log(f"gateway on {host}, sending on to {route.endpoint.url} with ns={settings.upstream_name}")
    return host


def _client(found: Found, route: Route, settings: Settings, files: ClientFiles) -> Client:
    insecure = settings.tls.insecure or route.way == "gateway" or not route.endpoint.tls
    if found.kind == "crane":
        return Crane(found.path, found.version, settings.platform, insecure)
    return Skopeo(found.path, found.version, settings.platform, insecure, files.config, files.certificates)


class _PruneWays:
    """The two ways of pruning, and which of them works with this server."""

    def __init__(
        self,
        settings: Settings,
        route: Route,
        client: Client,
        launcher: Launcher,
        reference: Callable[[Image], str],
        connections: Connections,
    ) -> None:
        self._settings = settings
        self._route = route
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._connections = connections
        self._option = "--prune" if settings.prune else "--prune-first"
        self._server: Registry = connections.registry(route.endpoint.url, _PRUNE_RETRY)

    def choose(self, sample: Image) -> Pruner:
        """The user's way, or the first that works; RunError with the reasons where none does."""
        if same_server(self._route.endpoint, self._settings.registry):
            raise RunError(
                f"{self._option}: {self._route.endpoint.name} and {self._settings.registry.name} are the same server; "
                "it would delete the upstream's own images"
            )
        reasons: list[str] = []
        for way in self._wanted():
            pruner = self._admin() if way == "ociregistry" else self._by_client(sample)
            if not isinstance(pruner, str):
                self._connections.log(f"prune by {'; '.join([pruner.how, *reasons])}")
                return pruner
            reasons.append(pruner)
        raise cannot_prune(self._option, self._route.endpoint.name, reasons)

    def _wanted(self) -> list[str]:
        if self._settings.prune_via != "auto":
            return [self._settings.prune_via]
        return (
            ["ociregistry", "client"] if self._settings.layout.is_ociregistry else ["client", "ociregistry"]
        )

    def _admin(self) -> Pruner | str:
        """The pruner, or why it would not work."""
        network = self._connections.network
        probe = network.run_until_stop(probe_admin(self._server))
        if not probe.works:
            return probe.reason
        name = self._settings.upstream_name
        if "." not in name:
            damage = f"Ociregistry loses the layers of an upstream without a dot in its name ('{name}') when it prunes"
            if self._settings.prune_via == "auto":
                return f"{damage}; call it by its full name or its address there and here"
            self._connections.caution(damage)
        upstream = self._connections.registry(self._settings.registry.url, _PRUNE_RETRY)
        platform_images = PlatformImages(network, upstream, self._connections.log)
        return AdminPruner(network, self._server, self._settings.upstream_name, platform_images)

    def _by_client(self, sample: Image) -> Pruner | str:
        """The pruner, or why it would not work. skopeo finds the digest to delete by itself."""
        network = self._connections.network
        probe = network.run_until_stop(probe_delete(self._server, self._route, sample))
        if not probe.works:
            return probe.reason
        by_digest = probe.by_digest and self._client.name == "crane"
        resolver = DigestResolver(network, self._server, self._route) if by_digest else None
        return ClientPruner(
            self._client, self._launcher, self._reference, self._settings.pull_timeout, resolver
        )

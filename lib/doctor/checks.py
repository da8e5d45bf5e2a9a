"""What `doctor` looks at: clients, upstream, patterns, server under test, layouts, pruning, this machine.

A check that fails says what to do. What depends on a failed one is left out, everything else is still looked at.
"""

from __future__ import annotations

import re
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from urllib.parse import quote

from dateutil import parser

from ..clients.files import client_environment
from ..clients.find import Found, candidates, find_client
from ..clients.table import NAMES, client_kind
from ..errors import RunError, UsageError
from ..http.address import Endpoint
from ..http.connections import Connections
from ..http.registry import Answer, RegistryError
from ..images import Image, overlaps
from ..listing.selection import Listing, Selection, select
from ..options.settings import Settings
from ..prepare import Means, find_means
from ..processes.scratch import Scratch
from ..servers.layout import parse_layout
from ..servers.manifests import ACCEPT
from ..servers.prune import AdminPruner, expression
from ..servers.route import plan_route

OK, WARNING, FAILURE = "ok", "warning", "failure"
_LEAST_ROOM = 16 << 20
_ENOUGH_ROOM = 1 << 30
_SKEW = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it where it is not well."""

    name: str
    status: str
    message: str
    advice: str = ""


class Examination:
    """Runs the checks. `changes` collects options to set (or, with None, to leave out) in the recommended command."""

    def __init__(
        self,
        settings: Settings,
        given: Listing | None,
        connections: Connections,
        scratch: Scratch,
        stopped: Callable[[float], bool],
    ) -> None:
        self.changes: dict[str, str | None] = {}
        self._settings = settings
        self._given = given
        self._connections = connections
        self._scratch = scratch
        self._stopped = stopped
        self._selection: Selection | None = None
        self._client: Found | None = None
        self._server_answers = False
        self._fits = False

    def checks(self) -> Iterator[Check]:
        yield from self._clients()
        yield from self._upstream()
        yield from self._images()
        yield from self._server()
        yield from self._credentials()
        if self._selection is not None and self._server_answers:
            yield from self._layouts(self._selection.images[0])
            if self._client is not None and self._fits:
                yield from self._pull_and_prune(self._client, self._selection)
        yield from self._machine()

    def _clients(self) -> Iterator[Check]:
        missing: list[Check] = []
        for name in candidates(self._settings.client):
            try:
                found = find_client(name, client_environment(self._scratch))
            except RunError as error:
                missing.append(Check("client", FAILURE, f"{name}: {error}"))
                continue
            self._client = self._client or found
            yield Check(
                "client", OK, f"{found.kind.name} {found.executable.version}, {found.executable.path}"
            )
        for check in missing:
            yield replace(check, status=WARNING) if self._client else check

    def _upstream(self) -> Iterator[Check]:
        endpoint = self._settings.registry
        answer = self._ask("upstream", endpoint, "GET", "/v2/")
        if isinstance(answer, Check):
            self._mend_scheme("--registry-url", answer)
            yield answer
        else:
            yield self._answered("upstream", endpoint, answer)

    def _server(self) -> Iterator[Check]:
        layout = self._settings.layout
        endpoint = self._settings.registry if layout.is_upstream else self._settings.pullthrough
        answer = self._ask("server under test", endpoint, "GET", "/v2/")
        if isinstance(answer, Check):
            self._mend_scheme("--pullthrough-url", answer)
            yield answer
            return
        check = self._answered("server under test", endpoint, answer)
        self._server_answers = check.status != FAILURE
        yield check
        yield _clock_skew(endpoint, answer)

    def _mend_scheme(self, option: str, failed: Check) -> None:
        """Where the message says which scheme the server speaks, recommend it."""
        url = re.search(r"\bwrite (https?://\S+)$", failed.message)
        if url:
            self.changes[option] = url[1]

    def _ask(self, name: str, endpoint: Endpoint, method: str, path: str, **headers: str) -> Answer | Check:
        """The answer, or the check that failed."""
        registry = self._connections.registry(endpoint.url, 0.0)
        try:
            request = registry.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            return self._connections.network.run_until_stop(request)
        except RegistryError as error:
            return Check(name, FAILURE, str(error))

    def _answered(self, name: str, endpoint: Endpoint, answer: Answer) -> Check:
        checked = (
            "its certificate is not checked" if self._settings.tls.insecure else "its certificate is valid"
        )
        how = f"TLS, {checked}" if endpoint.tls else "plain http"
        if answer.status in (401, 403):
            return Check(
                name,
                FAILURE,
                f"{endpoint.name} answers HTTP {answer.status}: credentials are missing or not accepted",
                f"log in: docker login {endpoint.name}, or crane auth login {endpoint.name}",
            )
        if answer.status >= 500:
            return Check(
                name, FAILURE, f"{endpoint.name} answers HTTP {answer.status}", "look at the server's own log"
            )
        if answer.status != 200:
            advice = "is this the registry's address, and not its web page's?"
            return Check(name, WARNING, f"{endpoint.name} answers GET /v2/ with HTTP {answer.status}", advice)
        return Check(name, OK, f"{endpoint.name} answers ({how})")

    def _images(self) -> Iterator[Check]:
        try:
            everything = select(
                replace(self._settings, patterns=(), workers=1), self._given, self._connections
            )
        except (RunError, UsageError) as error:
            yield Check("images", FAILURE, str(error))
            return
        yield Check("images", OK, f"{everything.listed} listed, {len(everything.images)} to choose from")
        images = [(image.repository, (image.reference,)) for image in everything.images]
        lacking = False
        for pattern in self._settings.patterns:
            try:
                one = select(replace(self._settings, patterns=(pattern,)), images, self._connections)
                yield Check("pattern", OK, f"'{pattern}' selects {len(one.images)} images")
            except RunError as error:
                lacking = True
                yield Check("pattern", FAILURE, str(error), "correct the pattern or leave it out")
        if not lacking:
            yield from self._deal(images)

    def _deal(self, images: Listing) -> Iterator[Check]:
        try:
            selection = self._selection = select(self._settings, images, self._connections)
        except RunError as error:
            yield Check("images", FAILURE, str(error))
            return
        shared = sum(overlaps(selection.image_sets).values())
        if shared:
            advice = (
                "let patterns select disjoint sets, or workers wait for each other and pull from the cache"
            )
            yield Check("pattern", WARNING, f"{shared} images are selected by more than one pattern", advice)

    def _credentials(self) -> Iterator[Check]:
        where = ", ".join(map(str, self._connections.credentials.files)) or "no configuration"
        endpoints = dict.fromkeys((self._settings.registry, self._settings.pullthrough))
        try:
            known = [each.name for each in endpoints if self._connections.login(each.url) is not None]
        except RunError as error:
            yield Check("credentials", FAILURE, str(error))
            return
        yield Check(
            "credentials", OK, f"{where}: {'for ' + ', '.join(known) if known else 'none for these servers'}"
        )

    def _layouts(self, image: Image) -> Iterator[Check]:
        """Ask for one image's manifest in each layout that needs no further name."""
        chosen = self._settings.layout.name
        answers = {
            name: self._manifest(name, image)
            for name in dict.fromkeys((chosen, "ociregistry", "distribution"))
        }
        good = [name for name, problem in answers.items() if problem is None]
        self._fits = bool(good)
        if chosen in good:
            yield Check("layout", OK, f"{chosen} fits: the server has {image.name}")
        elif good:
            self.changes["--layout"] = good[0]
            yield Check(
                "layout", FAILURE, f"{chosen} does not fit: {answers[chosen]}", f"use --layout {good[0]}"
            )
        else:
            tried = "; ".join(f"{name}: {problem}" for name, problem in answers.items())
            advice = "does the server know this upstream, and by this --upstream-name? Else choose another --layout"
            yield Check("layout", FAILURE, f"the server does not give {image.name} ({tried})", advice)

    def _manifest(self, layout_name: str, image: Image) -> str | None:
        """None where the server gives the image's manifest in this layout, else what it says."""
        settings = self._settings
        try:
            server = replace(settings.under_test, layout=parse_layout(layout_name))
            kind = self._client.kind if self._client else client_kind(NAMES[0])
            route = plan_route(server, kind, [image])
        except (RunError, UsageError) as error:
            return str(error)
        path = f"/v2/{route.repository(image)}/manifests/{image.reference}"
        answer = self._ask("layout", route.endpoint, "GET", path, Accept=ACCEPT, **route.headers)
        if isinstance(answer, Check):
            return answer.message
        return None if answer.status == 200 else f"HTTP {answer.status}"

    def _pull_and_prune(self, client: Found, selection: Selection) -> Iterator[Check]:
        """With the very client and way of the test."""
        wanted = replace(self._settings, prune=False, prune_first=False)
        if "--layout" in self.changes:
            wanted = replace(wanted, layout=parse_layout(self.changes["--layout"] or ""))
        image = selection.images[0]
        try:
            means = find_means(wanted, client, selection, self._connections, self._scratch, self._stopped)
            (pulled,) = means.puller.pull([image], self._scratch.folder("doctor"), lambda: False)
        except RunError as error:
            yield Check("pull", FAILURE, str(error))
            return
        if pulled.failure is not None:
            yield Check(
                "pull", FAILURE, f"{image.name}: {pulled.failure.error_class}: {pulled.failure.message}"
            )
            return
        yield Check("pull", OK, f"{image.name} by {client.kind.name} in {pulled.seconds * 1000:.0f} ms")
        yield from self._prune(replace(wanted, prune=True), client, selection)

    def _prune(self, settings: Settings, client: Found, selection: Selection) -> Iterator[Check]:
        asked = self._settings.prune or self._settings.prune_first
        if settings.layout.is_upstream:
            return
        try:
            means = find_means(settings, client, selection, self._connections, self._scratch, self._stopped)
        except RunError as error:
            if asked:
                self.changes.update(dict.fromkeys(("--prune", "--prune-first")))
                yield Check(
                    "prune",
                    FAILURE,
                    str(error),
                    "leave it out: then all passes but the first pull from the cache",
                )
            else:
                yield Check("prune", WARNING, str(error), "fine without --prune")
            return
        assert means.pruner is not None
        if not asked:
            yield Check("prune", OK, f"possible, by {means.pruner.how} (with --prune it is tried)")
            return
        yield self._prove_prune(settings, means, selection.images[0])

    def _prove_prune(self, settings: Settings, means: Means, image: Image) -> Check:
        """Prune the image that was just pulled, and see that it is gone."""
        assert means.pruner is not None
        (pruned,) = means.pruner.prune([image], self._scratch.folder("doctor"), lambda: False)
        if pruned.failure is not None:
            return Check("prune", FAILURE, f"{image.name} cannot be pruned: {pruned.failure.message}")
        gone = self._is_gone(settings, means, image)
        if gone:
            return Check("prune", OK, f"{image.name} was pruned by {means.pruner.how} and is gone")
        return Check(
            "prune", FAILURE, f"{image.name} was pruned by {means.pruner.how}, yet it is still there"
        )

    def _is_gone(self, settings: Settings, means: Means, image: Image) -> bool:
        """By Ociregistry's own list, or by a second delete that finds nothing; a pull would fetch it again."""
        if isinstance(means.pruner, AdminPruner):
            pattern = quote(expression(settings.upstream_name, image), safe="/:@")
            answer = self._ask(
                "prune", settings.pullthrough, "GET", f"/cmd/image/list?pattern={pattern}&count=-1"
            )
            return not isinstance(answer, Check) and b"no manifests found" in answer.body
        assert means.pruner is not None
        (again,) = means.pruner.prune([image], self._scratch.folder("doctor"), lambda: False)
        return again.failure is not None and again.failure.error_class == "not-found"

    def _machine(self) -> Iterator[Check]:
        yield _room()
        yield _descriptors(len(self._selection.image_sets) if self._selection else 1)


def _clock_skew(endpoint: Endpoint, answer: Answer) -> Check:
    date = answer.headers.get("Date", "")
    try:
        skew = (parser.parse(date) - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return Check("clock", WARNING, f"{endpoint.name} tells no date, so its clock cannot be compared")
    if abs(skew) > _SKEW:
        advice = "set the clocks (NTP) before you compare this test's times with the server's log"
        return Check("clock", WARNING, f"{endpoint.name} is {skew:+.0f} s off this machine's clock", advice)
    return Check("clock", OK, f"{endpoint.name} agrees with this machine's within {_SKEW:.0f} s")


def _room() -> Check:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    message = f"{free / (1 << 30):.1f} GiB free in {folder}"
    if free < _LEAST_ROOM:
        return Check("room", FAILURE, message, "free some space, or name another folder in TMPDIR")
    if free < _ENOUGH_ROOM:
        return Check(
            "room", WARNING, message, "skopeo keeps layers there while it pulls them; name another in TMPDIR"
        )
    return Check("room", OK, message)


def _descriptors(workers: int) -> Check:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 3 * workers + 50
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Check(
            "descriptors", FAILURE, f"{hard} allowed, {workers} workers need {needed}", f"ulimit -n {needed}"
        )
    return Check("descriptors", OK, f"enough for {workers} workers")

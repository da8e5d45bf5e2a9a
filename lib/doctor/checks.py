"""What `doctor` looks at: every stage of a run's preparation, and what goes wrong in a run although it was prepared.

A check that fails says what to do. What builds on a failed one is left out, everything else is still looked at. After
a failure that other options mend, the checks go on with these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ..clients.files import client_environment
from ..clients.find import Found, candidates, find_client
from ..clients.table import NAMES, client_kind
from ..errors import RunError, UsageError
from ..http.address import Endpoint, Listen
from ..http.registry import Answer, RegistryError
from ..images import Image, overlaps
from ..listing.selection import Listing, select
from ..options.settings import Settings
from ..prepare import Preparation
from ..results.writable import unwritable_files
from ..servers.layout import parse_layout
from ..servers.manifests import ACCEPT
from ..servers.prune import AdminPruner, Pruner, expression
from ..servers.route import plan_route
from . import machine
from .check import FAILURE, OK, WARNING, Check

# A generator of checks that ends with whether all is well.
Checks = Generator[Check, None, bool]


class Examination:
    """Runs the checks. `cautions` are the preparation's warnings, which it fills.

    `changes` collects options to set (or, with None, to leave out) in the recommended command. There is none to
    recommend if `undecided`: an option has to change, and only the user can say how.
    """

    def __init__(self, preparation: Preparation, cautions: list[str]) -> None:
        self.changes: dict[str, str | None] = {}
        self.undecided = False
        self._preparation = preparation
        self._cautions = cautions
        self._told: set[Exception] = set()
        self._upstream_answers = False

    @property
    def _settings(self) -> Settings:
        return self._preparation.settings

    def checks(self) -> Iterator[Check]:
        well = True
        for check in self._all():
            well &= check.status != FAILURE
            yield check
        if well:  # whatever stage is left
            yield from self._carry_out("preparation", lambda: self._preparation.carry_out(lambda _: None))

    def _all(self) -> Iterator[Check]:
        yield from self._start()
        yield from self._files()
        yield from self._endpoint()
        room = yield from self._carry_out("room", self._preparation.scratch)
        connected = yield from self._carry_out("credentials", self._preparation.connections)
        if room:
            yield from self._clients()
        if connected:
            yield from self._servers()
        yield from self._machine(room)

    def _servers(self) -> Iterator[Check]:
        dry = self._settings.dry_run
        asked = not dry or self._settings.image_list is None
        if asked:
            yield from self._upstream()
        images = yield from self._images()
        answers = False if dry else (yield from self._server())
        if asked:
            yield from self._credentials()
        if images and answers:
            image = self._preparation.selection().images[0]
            fits = yield from self._layouts(image)
            if fits and "found" in self._preparation.values:
                yield from self._pull_and_prune(image)

    def _carry_out(self, name: str, stage: Callable[[], object], advice: str = "") -> Checks:
        """Carries out a stage. The failure of a stage that it builds on has been told before."""
        try:
            stage()
        except (UsageError, RunError) as error:
            if error not in self._told:
                self._told.add(error)
                yield Check(name, FAILURE, str(error), advice)
            return False
        return True

    def _mend(self, option: str, value: str | None, **settings: Any) -> None:
        """Recommends this option, and goes on with these settings."""
        self.changes[option] = value
        self._preparation = self._preparation.again(replace(self._settings, **settings))

    def _start(self) -> Iterator[Check]:
        stage = self._preparation.beginning.start_at
        if not (yield from self._carry_out("start", stage, "or leave it out, to begin at once")):
            self.changes["--start-at"] = None
            return
        when = stage()
        if when is not None:
            minutes = max(0, round((when - datetime.now().astimezone()).total_seconds() / 60))
            yield Check("start", OK, f"{when.isoformat(sep=' ')}, in {minutes // 60} h {minutes % 60} min")

    def _files(self) -> Iterator[Check]:
        beginning, settings = self._preparation.beginning, self._settings
        if not (yield from self._carry_out("files", beginning.image_list)):
            self.undecided = True
        if not (yield from self._carry_out("files", beginning.report)):
            self.changes["--report-file"] = None
        refused = unwritable_files(settings)
        for option, message in refused.items():
            self.changes[option] = None
            yield Check("files", FAILURE, message, "name another file, or leave the option out")
        self._told.update(_failure(beginning.files))
        written = {
            "metrics": settings.metrics_file,
            "log": settings.log_file,
            "events": settings.events_file,
            "summary": settings.summary_file,
            "report": settings.report_file,
        }
        named = [name for name, path in written.items() if path is not None and str(path) != "-"]
        if named and not refused:
            yield Check("files", OK, f"{', '.join(named)} can be written")

    def _endpoint(self) -> Iterator[Check]:
        listen = self._settings.metrics_listen
        if listen is None:
            return
        well = yield from self._carry_out("metrics", self._preparation.endpoint)
        if not well:
            other = Listen(listen.host, 0)
            self._mend("--metrics-listen", str(other), metrics_listen=other)
            if _failure(self._preparation.endpoint):
                self._mend("--metrics-listen", None, metrics_listen=None)
        self._preparation.around.lasting.close()  # the port is free again
        if well:
            yield Check("metrics", OK, f"can be served at {', '.join(self._preparation.endpoint())}")

    def _clients(self) -> Iterator[Check]:
        if self._settings.dry_run:
            yield Check("client", OK, "a dry run needs none, and no server under test")
            return
        wanted = self._settings.client
        well = yield from self._carry_out("client", self._preparation.found)
        found = self._preparation.found() if well else None
        self.undecided |= found is None and "/" in wanted  # a path to something else
        if found is not None:
            yield _client(found)
        chosen = "" if found is None else found.kind.name
        environment = client_environment(self._preparation.scratch())
        for name in candidates(wanted):
            if name in (wanted, chosen):
                continue
            try:
                other = find_client(name, environment)
            except RunError as error:
                if found is not None:
                    yield Check("client", WARNING, f"{name}: {error}")
                continue
            yield _client(other)
            if found is None:  # the one that `auto` prefers is there, and does not work
                found = other
                self._mend("--client", name, client=name)

    def _upstream(self) -> Iterator[Check]:
        endpoint = self._settings.registry
        answer = self._ask("upstream", endpoint, "GET", "/v2/")
        if isinstance(answer, Check):
            self._mend_scheme("--registry-url", answer)
            yield answer
            return
        check = self._answered("upstream", endpoint, answer)
        self._upstream_answers = check.status != FAILURE
        yield check

    def _server(self) -> Checks:
        """The last of it is what a run asks."""
        endpoint = self._settings.under_test.endpoint
        answer = self._ask("server under test", endpoint, "GET", "/v2/")
        if isinstance(answer, Check):
            self._mend_scheme("--pullthrough-url", answer)
            yield answer
            return False
        check = self._answered("server under test", endpoint, answer)
        yield check
        yield machine.clock_skew(endpoint, answer)
        if check.status == FAILURE:
            return False
        return (yield from self._carry_out("server under test", self._preparation.ping))

    def _mend_scheme(self, option: str, failed: Check) -> None:
        """Where the message says which scheme the server speaks, recommend it."""
        url = re.search(r"\bwrite (https?://\S+)$", failed.message)
        if url:
            self.changes[option] = url[1]

    def _ask(self, name: str, endpoint: Endpoint, method: str, path: str, **headers: str) -> Answer | Check:
        """The answer, or the check that failed."""
        connections = self._preparation.connections()
        registry = connections.registry(endpoint.url, 0.0)
        try:
            request = registry.request(
                method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
            return connections.network.run_until_stop(request)
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

    def _images(self) -> Checks:
        """Whether there is a selection, if need be of other patterns or for fewer workers."""
        preparation, settings = self._preparation, self._settings
        if not (yield from self._carry_out("images", preparation.listing)):
            self.undecided |= self._upstream_answers  # so it has to be another upstream, or a list
            return False
        try:
            everything = select(
                replace(settings, patterns=(), workers=1), preparation.listing(), preparation.connections()
            )
        except RunError as error:
            yield Check("images", FAILURE, str(error))
            self.undecided = True
            return False
        yield Check("images", OK, f"{everything.listed} listed, {len(everything.images)} to choose from")
        yield from self._patterns([(image.repository, (image.reference,)) for image in everything.images])
        if not (yield from self._carry_out("images", self._preparation.selection)):
            most = len(everything.images)
            if settings.workers is None or settings.workers <= most:
                self.undecided = True
                return False
            self._mend("--workers", str(most), workers=most)
        shared = sum(overlaps(self._preparation.selection().image_sets).values())
        if shared:
            advice = (
                "let patterns select disjoint sets, or workers wait for each other and pull from the cache"
            )
            yield Check("pattern", WARNING, f"{shared} images are selected by more than one pattern", advice)
        self._cautions.clear()  # they tell the same
        return True

    def _patterns(self, images: Listing) -> Iterator[Check]:
        settings, connections = self._settings, self._preparation.connections()
        good: list[str] = []
        for pattern in settings.patterns:
            try:
                one = select(replace(settings, patterns=(pattern,)), images, connections)
                yield Check("pattern", OK, f"'{pattern}' selects {len(one.images)} images")
                good.append(pattern)
            except RunError as error:
                yield Check("pattern", FAILURE, str(error), "correct the pattern or leave it out")
        if len(good) == len(settings.patterns):
            return
        self._told.update(_failure(self._preparation.selection))
        if good:
            self._mend("--patterns", ",".join(good), patterns=tuple(good))

    def _credentials(self) -> Iterator[Check]:
        connections = self._preparation.connections()
        where = ", ".join(map(str, connections.credentials.files)) or "no configuration"
        endpoints = dict.fromkeys((self._settings.registry, self._settings.pullthrough))
        try:
            known = [each.name for each in endpoints if connections.login(each.url) is not None]
        except RunError as error:
            yield Check("credentials", FAILURE, str(error))
            return
        yield Check(
            "credentials", OK, f"{where}: {'for ' + ', '.join(known) if known else 'none for these servers'}"
        )

    def _layouts(self, image: Image) -> Checks:
        """Ask for one image's manifest in each layout that needs no further name; whether one fits."""
        chosen = self._settings.layout.name
        answers = {
            name: self._manifest(name, image)
            for name in dict.fromkeys((chosen, "ociregistry", "distribution"))
        }
        good = [name for name, problem in answers.items() if problem is None]
        if chosen in good:
            yield Check("layout", OK, f"{chosen} fits: the server has {image.name}")
        elif good:
            self._mend("--layout", good[0], layout=parse_layout(good[0]))
            yield Check(
                "layout", FAILURE, f"{chosen} does not fit: {answers[chosen]}", f"use --layout {good[0]}"
            )
        else:
            tried = "; ".join(f"{name}: {problem}" for name, problem in answers.items())
            advice = "does the server know this upstream, and by this --upstream-name? Else choose another --layout"
            yield Check("layout", FAILURE, f"the server does not give {image.name} ({tried})", advice)
        return bool(good)

    def _manifest(self, layout_name: str, image: Image) -> str | None:
        """None where the server gives the image's manifest in this layout, else what it says."""
        settings = self._settings
        found = self._preparation.values.get("found")
        try:
            server = replace(settings.under_test, layout=parse_layout(layout_name))
            route = plan_route(server, found.kind if found else client_kind(NAMES[0]), [image])
        except (RunError, UsageError) as error:
            return str(error)
        path = f"/v2/{route.repository(image)}/manifests/{image.reference}"
        answer = self._ask("layout", route.endpoint, "GET", path, Accept=ACCEPT, **route.headers)
        if isinstance(answer, Check):
            return answer.message
        return None if answer.status == 200 else f"HTTP {answer.status}"

    def _pull_and_prune(self, image: Image) -> Iterator[Check]:
        """With the very client and way of the test."""
        preparation = self._preparation
        if not (yield from self._carry_out("pull", preparation.means)):
            self.undecided = True
            return
        yield from self._warnings("layout")
        means, folder = preparation.means(), preparation.scratch().folder("doctor")
        (pulled,) = means.puller.pull([image], folder, lambda: False)
        if pulled.failure is not None:
            yield Check(
                "pull", FAILURE, f"{image.name}: {pulled.failure.error_class}: {pulled.failure.message}"
            )
            return
        client = "" if means.client is None else f" by {means.client.name}"
        yield Check("pull", OK, f"{image.name}{client} in {pulled.seconds * 1000:.0f} ms")
        if not self._settings.layout.is_upstream:
            yield from self._prune(image)

    def _warnings(self, name: str) -> Iterator[Check]:
        for message in self._cautions:
            yield Check(name, WARNING, message)
        self._cautions.clear()

    def _prune(self, image: Image) -> Iterator[Check]:
        if not (self._settings.prune or self._settings.prune_first):
            pruning = self._preparation.again(replace(self._settings, prune=True))
            for error in _failure(pruning.pruner):
                yield Check("prune", WARNING, str(error), "fine without --prune")
                return
            self._cautions.clear()
            yield Check("prune", OK, f"possible, by {_pruner(pruning).how} (with --prune it is tried)")
            return
        advice = "leave it out: then all passes but the first pull from the cache"
        if not (yield from self._carry_out("prune", self._preparation.pruner, advice)):
            self.changes.update(dict.fromkeys(("--prune", "--prune-first")))
            return
        yield from self._warnings("prune")
        yield self._prove_prune(_pruner(self._preparation), image)

    def _prove_prune(self, pruner: Pruner, image: Image) -> Check:
        """Prune the image that was just pulled, and see that it is gone."""
        (pruned,) = pruner.prune([image], self._preparation.scratch().folder("doctor"), lambda: False)
        if pruned.failure is not None:
            return Check("prune", FAILURE, f"{image.name} cannot be pruned: {pruned.failure.message}")
        if self._is_gone(pruner, image):
            return Check("prune", OK, f"{image.name} was pruned by {pruner.how} and is gone")
        return Check("prune", FAILURE, f"{image.name} was pruned by {pruner.how}, yet it is still there")

    def _is_gone(self, pruner: Pruner, image: Image) -> bool:
        """By Ociregistry's own list, or by a second delete that finds nothing; a pull would fetch it again."""
        if isinstance(pruner, AdminPruner):
            pattern = quote(expression(self._settings.upstream_name, image), safe="/:@")
            answer = self._ask(
                "prune", self._settings.pullthrough, "GET", f"/cmd/image/list?pattern={pattern}&count=-1"
            )
            return not isinstance(answer, Check) and b"no manifests found" in answer.body
        (again,) = pruner.prune([image], self._preparation.scratch().folder("doctor"), lambda: False)
        return again.failure is not None and again.failure.error_class == "not-found"

    def _machine(self, room: bool) -> Iterator[Check]:
        if room:
            yield machine.room()
        selection = self._preparation.values.get("selection")
        if (yield from self._carry_out("descriptors", self._preparation.beginning.descriptors)):
            yield machine.descriptors(len(selection.image_sets) if selection else 1)


def _failure(stage: Callable[[], object]) -> list[Exception]:
    """The failure of a stage; nothing if it succeeds."""
    try:
        stage()
    except (UsageError, RunError) as error:
        return [error]
    return []


def _client(found: Found) -> Check:
    return Check("client", OK, f"{found.kind.name} {found.executable.version}, {found.executable.path}")


def _pruner(preparation: Preparation) -> Pruner:
    """Of a preparation that prunes."""
    pruner = preparation.pruner()
    assert pruner is not None
    return pruner

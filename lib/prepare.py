"""Prepares the load: stages that turn the settings into all that the load needs.

`run` carries out all stages in order. `doctor` carries out the same stages; after a failure, it continues with the
stages that do not build on the failed one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from .choices import ALL, ALWAYS, POISSON
from .client_setup import ClientSetup, set_up_client, set_up_dry_run
from .clients.files import client_environment
from .clients.find import Found, find_client, missing_before
from .errors import RunError, UsageError
from .http.address import Endpoint
from .http.connections import Connections
from .http.network import Network
from .http.proxies import ProxyError, remarks, usable_proxy_for
from .http.registry import RegistryError
from .listing.image_list import ImageList
from .listing.selection import Listing, Selection, list_upstream, read_image_list, select
from .listing.upstream_sizes import read_sizes
from .load.arrivals import Poisson
from .load.constant import plan_constant
from .load.pace import Schedule
from .load.passes import plan_passes
from .load.plan import Plan
from .load.ramp import plan_ramp, plan_schedule
from .load.stages import plan_stages
from .options.settings import ITERATION_SECONDS, Settings
from .processes.guard import Guard
from .processes.limits import raise_descriptor_limit
from .processes.scratch import Scratch
from .results.run_state import Run
from .results.writable import missing_folders, unwritable_files
from .servers.choose_prune import PruneWays, PruneWish
from .servers.mixed_up import warn_of_one_server, warn_of_swapped
from .servers.prune import Pruner
from .sizes import Sizes
from .stage import Staged, stage

# The stages whose values `again` takes over.
_KEPT = (
    "endpoint",
    "scratch",
    "guard",
    "connections",
    "ways",
    "found",
    "ping",
    "servers",
    "listing",
    "selection",
)
# The packages that only the report needs.
_REPORT_PACKAGES = ("numpy",)


class Beginning(Staged):
    """The first stages: they open no output and send no request."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def carry_out(self) -> None:
        """Carries out all stages. Raises the UsageError or RunError of the first one that fails."""
        self.start_at()
        self.descriptors()
        self.image_list()
        self.report()
        self.files()

    @stage
    def start_at(self) -> datetime | None:
        """Returns the time when the load begins; None if it begins at once."""
        text = self.settings.start_at
        if text is None:
            return None
        from .options.start_at import parse_start  # it takes fifteen milliseconds to import

        return parse_start(text, datetime.now().astimezone())

    @stage
    def descriptors(self) -> None:
        """Raises this process's limit on open files."""
        raise_descriptor_limit()

    @stage
    def image_list(self) -> ImageList | None:
        """Returns the images of the user's list; None if there is no list."""
        source = self.settings.image_list
        return None if source is None else read_image_list(self.settings, source)

    @stage
    def report(self) -> None:
        """Checks that the packages for the report are installed."""
        if self.settings.report_file is None:
            return
        missing = [name for name in _REPORT_PACKAGES if find_spec(name) is None]
        if missing:
            raise RunError(
                f"--report-file: missing Python packages ({', '.join(missing)}); install the packages of "
                "requirements.txt, or leave out the option"
            )

    @stage
    def files(self) -> Mapping[str, Path]:
        """Checks that every output file can be written, without changing any.

        Returns, by option, the folders that do not exist. The run makes them when it opens the files.
        """
        for message in unwritable_files(self.settings).values():
            raise UsageError(message)
        return missing_folders(self.settings)

    @property
    def hints(self) -> tuple[str, ...]:
        """What the user should know about these stages, for stderr and the log, although nothing is wrong."""
        text, when, images, late = self.settings.start_at, self.start_at(), self.image_list(), None
        if text and when:
            from .options.start_at import late_hint

            late = late_hint(text, when, datetime.now().astimezone())
        return (*([late] if late else ()), *(images.hints if images else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that the load needs.

    `start_at` is None if the load begins at once, `pruner` if nothing is pruned, `schedule` in the closed model,
    `sizes` if no sizes were read.
    """

    start_at: datetime | None
    scratch: Scratch
    selection: Selection
    client_setup: ClientSetup
    pruner: Pruner | None
    plan: Plan
    schedule: Schedule | None
    sizes: Sizes | None

    @property
    def has_sizes(self) -> bool:
        """Whether the size of any image is known."""
        return self.sizes is not None and self.sizes.known > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the caller gives the stages.

    `resources` closes what the stages open; `lasting` closes what must stay open until the summary is written.
    `stopped(seconds)` waits for at most this long and returns whether a stop was asked for. The metrics endpoint shows
    `state`.
    """

    network: Network
    resources: ExitStack
    lasting: ExitStack
    stopped: Callable[[float], bool]
    log: Callable[[str], None]
    warn: Callable[[str], None]
    state: Run


class Preparation(Staged):
    """The stages after the `Beginning`."""

    def __init__(self, beginning: Beginning, around: Surroundings) -> None:
        super().__init__()
        self.beginning = beginning
        self.settings = beginning.settings
        self.around = around

    def heed(self) -> None:
        """Raises Stopped after a signal."""
        self.around.network.stop.heed()

    def carry_out(self, selected: Callable[[Selection], None]) -> Prepared:
        """Carries out all stages. Raises the error of the first one that fails.

        `selected` is called with the selection as soon as there is one.
        """
        self.beginning.carry_out()
        self.endpoint()
        self.scratch()
        self.guard()
        self.found()
        self.connections()
        self.ways()
        self.ping()
        self.servers()
        selected(self.selection())
        return Prepared(
            start_at=self.beginning.start_at(),
            scratch=self.scratch(),
            selection=self.selection(),
            client_setup=self.client_setup(),
            pruner=self.pruner(),
            plan=self.plan(),
            schedule=self.schedule(),
            # last, as it may take longest
            sizes=self.sizes(),
        )

    def again(self, settings: Settings) -> Preparation:
        """Returns this preparation with other settings. It keeps the values of the stages in `_KEPT`.

        The other settings must not affect a stage in `_KEPT` that succeeded.
        """
        other = Preparation(self.beginning, self.around)
        other.settings = settings
        other.values.update((name, self.values[name]) for name in _KEPT if name in self.values)
        return other

    @stage
    def endpoint(self) -> Sequence[str]:
        """Starts the metrics endpoint and returns its URLs; none without --metrics-listen."""
        listen, network = self.settings.metrics_listen, self.around.network
        if listen is None:
            return ()
        from .results.prometheus import Exporter, RunCollector

        exporter = Exporter(listen, RunCollector(self.around.state))
        addresses = network.run(exporter.start())
        self.around.lasting.callback(lambda: network.run(exporter.close()))
        for address in addresses:
            self.around.log(f"metrics for Prometheus at {address}")
        return addresses

    @stage
    def scratch(self) -> Scratch:
        """Makes the run's temporary folder."""
        return self.around.resources.enter_context(Scratch())

    @stage
    def connections(self) -> Connections:
        """Sets up requests to registries, with the user's logins in the order of the client that was found before."""
        around, found = self.around, self.values.get("found")
        podman_first = found is not None and found.kind.abilities.podman_logins_first
        return Connections(
            around.network, around.resources, around.log, around.warn, self.settings.tls, podman_first
        )

    @stage
    def ways(self) -> None:
        """Logs which servers are asked by a proxy. Raises RunError if the driver cannot use it."""
        for remark in remarks():
            self.connections().caution(remark)
        for endpoint in asked(self.settings):
            try:
                proxy = usable_proxy_for(*endpoint.target)
            except ProxyError as error:
                raise RunError(str(error)) from None
            if proxy is not None:
                self.around.log(f"requests to {endpoint.url} go through the {proxy}")

    @stage
    def guard(self) -> None:
        """Starts the guard, which ends the processes that clients leave behind, however the run ends."""
        if not self.settings.dry_run:
            self.around.resources.enter_context(Guard(str(self.scratch().path)))

    @stage
    def found(self) -> Found | None:
        """Finds the client that is installed; None for a dry run."""
        if self.settings.dry_run:
            return None
        self.guard()
        environment = client_environment(self.scratch())
        found = find_client(self.settings.client, environment, self.around.stopped)
        self.around.log(f"client {found}{missing_before(self.settings.client, found)}")
        return found

    @stage
    def ping(self) -> None:
        """Raises RunError if the server under test gives no HTTP answer. Any status is enough.

        A dry run and --keep-going skip this.
        """
        if self.settings.dry_run or self.settings.keep_going:
            return
        connections, endpoint = self.connections(), self.settings.under_test.endpoint
        try:
            status = connections.network.run_until_stop(connections.registry(endpoint.url).ping())
        except RegistryError as error:
            raise RunError(f"the server under test does not answer: {error}") from None
        connections.log(f"server under test {endpoint.url} answers GET /v2/ with HTTP {status}")

    @stage
    def servers(self) -> None:
        """Warns if the server under test and its upstream are one server, or swapped.

        A dry run and --keep-going do not ask the servers.
        """
        connections, under_test = self.connections(), self.settings.under_test
        same = warn_of_one_server(under_test, connections)
        if not (same or self.settings.dry_run or self.settings.keep_going):
            self.ping()
            warn_of_swapped(under_test, connections)

    @stage
    def listing(self) -> Listing:
        """Returns the images of the user's list, or else of the upstream's catalog."""
        given = self.beginning.image_list()
        if given is None:
            return list_upstream(self.settings, self.connections())
        for note in given.notes:
            self.around.log(note)
        return given

    @stage
    def selection(self) -> Selection:
        """Returns the images of each worker."""
        return select(self.settings, self.listing(), self.connections())

    @stage
    def client_setup(self) -> ClientSetup:
        """Sets up the client for the route to the server under test."""
        found, connections = self.found(), self.connections()
        if found is None:
            return set_up_dry_run(connections)
        return set_up_client(
            self.settings, found, self.selection(), connections, self.scratch(), self.around.stopped
        )

    @stage
    def pruner(self) -> Pruner | None:
        """Returns the pruner that works with the server; None if nothing is to be pruned."""
        settings, setup = self.settings, self.client_setup()
        if setup.route is None or setup.deleter is None or not (settings.prune or settings.prune_first):
            return None
        if not (settings.prune_first or settings.herd):
            self.around.log(
                "the first pass may find images in the cache; to make it cold too, use --prune-first"
            )
        wish = PruneWish("--prune" if settings.prune else "--prune-first", settings.prune_via)
        ways = PruneWays(wish, settings.under_test, setup.route, setup.deleter, self.connections())
        return ways.choose(self.selection().first)

    @stage
    def plan(self) -> Plan:
        """Returns the plan of the load: how many workers run when."""
        return make_plan(self.settings, self.selection().lengths)

    @stage
    def schedule(self) -> Schedule | None:
        """Returns when pulls are due; None if the plan has no rate."""
        curve = self.plan().curve
        if curve is None:
            return None
        poisson = Poisson(self.settings.seed) if self.settings.arrivals == POISSON else None
        return Schedule(curve, poisson, self.settings.share)

    @stage
    def sizes(self) -> Sizes | None:
        """Returns the sizes of the selected images; None if they are not to be read. It never fails.

        The upstream is asked, and never the server under test: that could make its first pulls warm.
        """
        found = self.found()
        if found is None:
            return None
        return read_sizes(self.settings, found.kind.abilities, self.selection(), self.connections())


def asked(settings: Settings) -> tuple[Endpoint, ...]:
    """Returns the servers that a run with these settings asks."""
    pruning = settings.prune or settings.prune_first
    lists = settings.image_list is None or pruning or settings.sizes == ALWAYS
    found = [settings.registry] if lists else []
    return tuple(dict.fromkeys(found if settings.dry_run else [*found, settings.under_test.endpoint]))


def make_plan(settings: Settings, images: Sequence[int]) -> Plan:
    """Returns the plan that the settings ask for. `images` has the number of images of each worker of the load."""
    plan = _shape(settings, images)
    if settings.herd:
        return replace(plan, about=f"{plan.about}, all pull the same image at once")
    if settings.deal == ALL:
        plan = replace(plan, about=f"{plan.about}, each pulls all images")
    if plan.passes is not None:
        plan = replace(plan, pulls=plan.passes * sum(settings.share.pick(images)))
    return plan.share(settings.share)


def _shape(settings: Settings, images: Sequence[int]) -> Plan:
    workers = len(images)
    if settings.passes is not None:
        return plan_passes(images, settings.passes, settings.iteration_seconds)
    if settings.duration is not None:
        return plan_constant(workers, settings.duration, settings.rate)
    if settings.stages:
        return plan_stages(settings.stages, workers)
    seconds = settings.iteration_seconds or ITERATION_SECONDS
    if settings.rate is not None:
        return plan_schedule(workers, seconds, settings.rate, settings.hold)
    return plan_ramp(workers, seconds, settings.hold)

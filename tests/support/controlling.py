"""A controller in simulated time, with hosts that a test plays."""

from __future__ import annotations

from collections.abc import Callable

from lib.hosts.arming import arm
from lib.hosts.driving import Limits, Load
from lib.hosts.gathering import gather
from lib.hosts.hearing import Hearing, Reports
from lib.hosts.member import Member
from lib.hosts.preparing import Order, assign, begin, say_bye
from lib.images import Image, deal
from lib.listing.selection import Selection
from lib.load.closed import Sample
from lib.options.hosts import Hosts
from lib.pieces.gathered import Gathered
from lib.pieces.whole import Whole
from lib.results.summary import HostCounts, Summary
from tests.support.fake_fleet import DISTRIBUTED, FakeFleet, Host, Scene
from tests.support.simulated import Time


def hosts_option(least: int = 1, *, local: int | None = None, lost: int = 0, seconds: float = 60.0) -> Hosts:
    address = "tcp://control:8786" if local is None else f"local:{local}"
    return Hosts(address=address, local=local, least=least, seconds=seconds, lost=lost)


def selection_for(workers: int) -> Selection:
    """One image for each worker."""
    sets = tuple(deal([Image(f"app{number}", "v1") for number in range(workers)], workers))
    return Selection(listed=workers, image_sets=sets, lengths=tuple(len(each.images) for each in sets))


class Control:
    """Carries out the phases of a run on hosts. `samples` are the tally intervals as they are shown."""

    def __init__(self, hosts: int = 3, scene: Scene | None = None) -> None:
        self.scene = scene or Scene()
        self.time = Time()
        self.fleet = FakeFleet(self.time, self.scene, hosts)
        self.logs: list[str] = []
        self.cautions: list[str] = []
        self.samples: list[Sample] = []
        reports = Reports(log=self.logs.append, caution=self.cautions.append)
        self.hearing = Hearing(self.fleet, "run-1", reports, now=self.time.monotonic)
        self.members: list[Member] = []
        self.load: Load

    def __getitem__(self, number: int) -> Host:
        return self.fleet[number]

    def gather(self, hosts: Hosts | None = None) -> list[Member]:
        self.members = gather(self.hearing, hosts or hosts_option(), DISTRIBUTED)
        return self.members

    def prepare(self, *, lost_hosts: int = 0, keep_going: bool = False) -> Load:
        """Until all hosts are ready and their sum has begun."""
        self.members = assign(self.hearing, self.gather(), self.scene.workers)
        limits = Limits(lost_hosts=lost_hosts, keep_going=keep_going, grace=30.0)
        self.load = Load(self.hearing, self.members, limits)
        begin(self.hearing, self.members, self.order())
        self.load.assemble(self._gathered)
        return self.load

    def order(self) -> Order:
        return Order(
            options={"workers": self.scene.workers},
            selection=selection_for(self.scene.workers),
            ca_pem=None,
            by="me on here",
            lock=lambda _: "host",
        )

    def _gathered(self, whole: Whole) -> Gathered:
        return Gathered(whole, schedule=None, on_sample=self.samples.append, patience=self.load.patience)

    def arm(self, start: float | None = None) -> float:
        at = arm(self.hearing, self.members, start, 1e9)
        self.load.begin(at)
        return at

    def follow(self) -> str | None:
        """Follows the load to its end. Returns why it failed, if it did."""
        self.load.follow(lambda: None)
        return self.load.failure()

    def run(
        self, *, lost_hosts: int = 0, keep_going: bool = False, when: Callable[[], object] | None = None
    ) -> str | None:
        """All phases. `when` is called when the load begins, to have something happen later."""
        self.prepare(lost_hosts=lost_hosts, keep_going=keep_going)
        at = self.arm()
        if when is not None:
            self.time.after(at - self.time.now, when)
        try:
            return self.follow()
        finally:
            self.bye()

    def bye(self) -> None:
        say_bye(self.hearing, self.members)

    def at(self, second: float, happening: Callable[[], object]) -> None:
        """Has it happen at this second of the load, or so many seconds from now if it has not begun."""
        began = self.load.began if self.load.began is not None else self.time.now
        self.time.after(began + second - self.time.now, happening)

    def summary(self) -> Summary:
        whole = self.load.whole
        assert whole is not None
        return whole.summary(whole.facts(()))

    def counts(self) -> tuple[HostCounts, ...]:
        return self.summary().of_hosts

    def told(self) -> str:
        return "\n".join(self.cautions)

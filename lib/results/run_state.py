"""The state of a run so far. The driver writes it; the outputs read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from ..clients.client import Client
from ..images import ImageSet
from ..listing.selection import Selection
from ..load.driver import Driver
from ..load.live_account import LiveAccount
from ..load.tally import Tally
from ..load.under_way import UnderWay
from ..load.warm_up import WarmUp
from ..load.worker import Worker
from ..options.settings import Settings
from ..sizes import Sizes
from .host_line import HostLine
from .summary import ClientInfo, Summary

# What is known about the first pulls of the images: that they were pruned before, or pulled before, or nothing.
COLD: Final = "cold"
WARM: Final = "warm"
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class Run:
    """The state of a run so far.

    `load` is the load in words. `begin` is the monotonic time at which the load began, or None before it.

    `first_pulls` says whether the first pulls were proved `COLD` or `WARM`. `warm_up` is None without a warm-up,
    `sizes` if no sizes were read. `hosts` are those that carry out the load; this process does if there
    is none. They are added up by `summarized`, which returns the summary.
    """

    settings: Settings
    started: datetime
    tally: LiveAccount
    load: str = ""
    client: Client | None = None
    listed: int = 0
    foreign: int = 0
    image_sets: tuple[ImageSet, ...] = ()
    workers: tuple[Worker, ...] = ()
    driver: UnderWay | None = None
    begin: float | None = None
    elapsed: float = 0.0
    interrupted: bool = False
    reason: str | None = None
    command: tuple[str, ...] = ()
    driver_cpu_seconds: float = 0.0
    unstarted: int = 0
    first_pulls: Literal["cold", "warm", "unknown"] = UNKNOWN
    warm_up: WarmUp | None = None
    sizes: Sizes | None = None
    summarized: Callable[[], Summary] | None = None
    hosts: Sequence[HostLine] = ()

    def select(self, selection: Selection) -> None:
        """Records what the workers will pull."""
        self.listed, self.foreign = selection.listed, selection.foreign
        self.image_sets = selection.image_sets

    @property
    def client_info(self) -> ClientInfo | None:
        """The client of this process, or of the hosts; None in a dry run, and before it is found."""
        if self.client is not None:
            return ClientInfo(name=self.client.name, version=self.client.executable.version)
        return next((host.client for host in self.hosts if host.client is not None), None)

    @property
    def own_tally(self) -> Tally:
        """The tally of a load that this process itself drives."""
        assert isinstance(self.tally, Tally)
        return self.tally

    @property
    def rate(self) -> float:
        """Successful pulls per second up to the planned end of the load."""
        return self.tally.rate

    @property
    def working(self) -> tuple[float, float] | None:
        """(pulling, running): the seconds that all workers ran without pruning, and in all; None if none prunes."""
        if not self.settings.prune or not isinstance(self.driver, Driver):
            return None
        pruning, running = self.driver.worker_seconds()
        return max(0.0, running - pruning), running

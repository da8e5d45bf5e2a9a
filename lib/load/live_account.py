"""The account of a load that goes on, as the views, the metrics endpoint and the log read it.

A tally is one: it counts the load that this process drives. `Gathered` is one, too: it has what several hosts report.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..latency import Latency
from ..processes.pauses import Pauses
from .account import Account
from .counts import Counts
from .latency import Buckets
from .pace import Schedule


class LiveAccount(Account, ABC):
    """The account of a load that goes on. Other threads may read it.

    `schedule` is set for the open model only. `pauses` tells when this process was stopped. `elsewhere_cpu_seconds` is
    the CPU time of drivers in other processes.
    """

    def __init__(
        self,
        *,
        retries_known: bool,
        totals: Counts,
        image_sets: int,
        schedule: Schedule | None,
        pauses: Pauses | None = None,
    ) -> None:
        super().__init__(retries_known=retries_known, totals=totals, image_sets=image_sets)
        self.schedule = schedule
        self.pauses = pauses or Pauses()
        self.elsewhere_cpu_seconds = 0.0

    @abstractmethod
    def open_latency(self, least: int) -> Latency | None:
        """Returns the latency of the open interval; None if it has fewer than `least` pulls, or fewer than two."""

    @abstractmethod
    def buckets(self) -> tuple[Buckets, Buckets]:
        """Returns the latencies of first and of repeat pulls so far."""

    @abstractmethod
    def unstarted(self, second: float) -> int | None:
        """Returns how many pulls of the schedule were due by this second and have not started; None if unknown."""

    @abstractmethod
    def rate_until(self, second: float) -> float:
        """Returns the successful pulls per second of the load up to this second."""

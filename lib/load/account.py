"""The account of a whole load: what its closed intervals, its closed steps and its totals say.

A tally makes one from Events. The fold of pieces makes one from the pieces of several hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from .closed import CLIENT, MACHINE, Drain, Sample, SetTally, StepTally
from .counts import Counts, Sums, WorkerTally
from .herd_tally import HerdTally
from .latency import Latencies

# A limit of intervals that make up at least this share of the run's time is a limit of the run.
RUN_LIMITED = 0.1


class Account:
    """The account of a load.

    `retries_known` is False for a client that does not report its retries. `sized`: sizes of images are known.
    `totals` counts the whole load so far. `latencies`, `first` and `repeat` cover all pulls up to the last end of an
    interval or step.
    """

    def __init__(self, *, retries_known: bool, totals: Counts, image_sets: int) -> None:
        self.retries_known = retries_known
        self.sized = False
        self.totals = totals
        self.herds = HerdTally()
        self.latencies = Latencies()
        self.first = Latencies()
        self.repeat = Latencies()
        self.image_sets = [SetTally() for _ in range(image_sets)]
        self.drain: Drain | None = None
        self.samples: list[Sample] = []
        self.steps: list[StepTally] = []

    @property
    def pulled(self) -> int:
        """Pulls that succeeded."""
        return self.totals.pulled

    @property
    def failed(self) -> int:
        """Pulls that failed."""
        return self.totals.failed

    @property
    def interrupted(self) -> int:
        """Pulls that the driver ended because the run was stopped."""
        return self.totals.interrupted

    @property
    def pruned(self) -> int:
        """Prunes that succeeded."""
        return self.totals.pruned

    @property
    def prune_failed(self) -> int:
        """Prunes that failed."""
        return self.totals.prune_failed

    @property
    def repulled(self) -> int:
        """Images that were pulled alone after their batch had failed."""
        return self.totals.repulled

    @property
    def retried(self) -> int | None:
        """Retries of the clients; None if they do not report them."""
        return self.totals.retried if self.retries_known else None

    @property
    def errors(self) -> Counter[str]:
        """Failed pulls by error class."""
        return self.totals.errors

    @property
    def prune_errors(self) -> Counter[str]:
        """Failed prunes by error class."""
        return self.totals.prune_errors

    @property
    def examples(self) -> Mapping[tuple[str, str], str]:
        """The first message for each (op, error class)."""
        return self.totals.examples

    @property
    def client_cpu_seconds(self) -> float:
        """CPU seconds of the clients that have ended."""
        return self.totals.client_cpu_seconds

    @property
    def workers(self) -> list[WorkerTally]:
        """The counts of each worker."""
        return list(self.totals.workers.values())

    @property
    def attempts(self) -> int:
        """Pulls that started: successful, failed and interrupted ones."""
        return self.pulled + self.failed + self.interrupted

    @property
    def late_no_worker(self) -> int:
        """Pulls of a schedule that started late because no worker was free."""
        return self.totals.late_no_worker

    @property
    def late_machine(self) -> int:
        """Pulls of a schedule that started late because this machine was slow."""
        return self.totals.late_machine

    @property
    def late(self) -> int:
        """Pulls of a schedule that started late, for whatever reason."""
        return self.late_no_worker + self.late_machine

    @property
    def planned_seconds(self) -> float:
        """The seconds of all closed intervals: up to the planned end of the load, or its stop."""
        return sum(sample.seconds for sample in self.samples)

    @property
    def rate(self) -> float:
        """Successful pulls per second up to the planned end of the load. What ended later is the drain."""
        seconds = self.planned_seconds
        return sum(sample.pulled for sample in self.samples) / seconds if seconds > 0 else 0.0

    @property
    def bytes(self) -> int | None:
        """The bytes that all successful pulls fetched; None if the size of any of them is unknown."""
        return self.known(self.totals)

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes per second up to the planned end of the load, as for `rate`; None if `bytes` is."""
        if self.bytes is None:
            return None
        seconds = self.planned_seconds
        return sum(sample.bytes or 0 for sample in self.samples) / seconds if seconds > 0 else 0.0

    def known(self, sums: Sums) -> int | None:
        """Returns the bytes of these sums; None if the size of any of their pulls is unknown."""
        return sums.bytes if self.sized and not sums.unsized else None

    @property
    def error_rate(self) -> float | None:
        """The share of failed pulls among the pulls that were not interrupted; None if there are none."""
        ended = self.pulled + self.failed
        return self.failed / ended if ended else None

    @property
    def paused_seconds(self) -> float:
        """The seconds of the load in which the driver itself was stopped."""
        return sum(sample.paused_seconds for sample in self.samples)

    @property
    def limited_by(self) -> str | None:
        """What limited at least `RUN_LIMITED` of the run's time, `client` or `machine`, else None."""
        return limit_of(self.samples)


def limit_of(samples: Sequence[Sample]) -> str | None:
    """Returns what limited at least `RUN_LIMITED` of the time of these intervals, `client` or `machine`, else None."""
    by_client, by_machine = (
        sum(sample.seconds for sample in samples if sample.limited_by == limit) for limit in (CLIENT, MACHINE)
    )
    whole = sum(sample.seconds for sample in samples)
    if not by_client + by_machine or by_client + by_machine < RUN_LIMITED * whole:
        return None
    return CLIENT if by_client >= by_machine else MACHINE

"""What is known of a closed tally interval, of a closed step, of the drain and of an image set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..latency import Latency
from ..processes.machine import MachineUse, mean_use
from .latency import COARSE, Latencies
from .plan import Step
from .shares import RateInterval, Shares

# The client side limits an interval if driver and clients used at least this share of the machine's CPU time in it.
CLIENT_LIMITED = 0.9
# They also do if the kernel held them up in at least this share of the periods of their CPU limit.
THROTTLED = 0.25
# This machine limits an interval if its processors were idle for at most this share of it, or if its hypervisor took
# away (stole) at least this share.
MACHINE_LIMITED = 0.1
CLIENT, MACHINE = "client", "machine"


@dataclass(frozen=True, slots=True)
class Sample:
    """One tally interval: it took `seconds` and ended `at` seconds after the ramp began.

    The CPU seconds are those that the driver and the clients used in the interval. `cores` is the number of cores that
    this machine (or its container) may use. `machine` is how busy the whole machine was. `errors` counts the failed
    pulls by class. The driver itself was stopped for `paused_seconds`. `bytes` is what the pulls fetched, or
    None. `limits` has what limited each limited host, and so many `hosts` have ended the interval; both are None if
    there is one host only.
    """

    at: float
    seconds: float
    workers: int
    pulled: int
    failed: int
    latency: Latency | None
    driver_cpu_seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    cores: float = 1.0
    machine: MachineUse | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    retried: int | None = None
    paused_seconds: float = 0.0
    bytes: int | None = None
    limits: tuple[str, ...] | None = None
    hosts: int | None = None

    @property
    def rate(self) -> float:
        """Successful pulls per second."""
        return self.pulled / self.seconds if self.seconds > 0 else 0.0

    @property
    def limited_by(self) -> str | None:
        """What else than the server may have been the limit, or None.

        `client`: driver and clients used nearly all CPU time that they may use, or wanted more than their CPU limit.
        `machine`: other programs used nearly all, or the hypervisor. With several hosts, one that was limited is
        enough.
        """
        if self.limits is None:
            return limit(self.seconds, self)
        return CLIENT if CLIENT in self.limits else MACHINE if self.limits else None


class Used(Protocol):
    """What a host and its programs used in a tally interval."""

    @property
    def driver_cpu_seconds(self) -> float: ...
    @property
    def client_cpu_seconds(self) -> float: ...
    @property
    def cores(self) -> float: ...
    @property
    def machine(self) -> MachineUse | None: ...


def limit(seconds: float, used: Used) -> str | None:
    """Returns what limited a host in an interval of so many seconds; see `Sample.limited_by`."""
    cpu_seconds, use = used.driver_cpu_seconds + used.client_cpu_seconds, used.machine
    if cpu_seconds >= CLIENT_LIMITED * seconds * used.cores > 0:
        return CLIENT
    if use is not None and use.throttled is not None and use.throttled >= THROTTLED:
        return CLIENT
    busy = use is not None and (use.idle <= MACHINE_LIMITED or use.steal >= MACHINE_LIMITED)
    return MACHINE if busy else None


def joined(samples: Sequence[Sample]) -> Sample:
    """Returns intervals that follow one another as one, for what it says of the machine. It has no latency."""
    last, seconds = samples[-1], sum(each.seconds for each in samples)
    return replace(
        last,
        seconds=seconds,
        pulled=sum(each.pulled for each in samples),
        failed=sum(each.failed for each in samples),
        latency=None,
        driver_cpu_seconds=sum(each.driver_cpu_seconds for each in samples),
        client_cpu_seconds=sum(each.client_cpu_seconds for each in samples),
        machine=mean_use([(each.machine, each.seconds) for each in samples]),
    )


@dataclass(frozen=True, slots=True)
class StepTally:
    """The counts of one step of the load, which took `seconds`. `shares` has the shares of the pulls that lie in it.

    With a schedule, `offered` is the rate of due pulls in the step, in pulls per second.
    `retried` is None if the client does not report its retries. `bytes` is what the pulls fetched that ended in the
    step; None if unknown. `sized`: sizes of images are known. So many `hosts` have ended the step; None if there is one
    host only.
    """

    step: Step
    seconds: float
    pulled: int
    failed: int
    latency: Latency | None
    offered: float | None
    shares: Shares
    retried: int | None = None
    bytes: int | None = None
    sized: bool = False
    hosts: int | None = None

    @property
    def rate(self) -> float:
        """Successful pulls per second, each counted by the share of its time that lies in the step."""
        return self.shares.total / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes per second, of each pull by the share of its time that lies in the step; None if unknown."""
        if not (self.sized and self.shares.sized):
            return None
        return self.shares.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def interval(self) -> RateInterval | None:
        """The 95 % confidence interval of the rate, or None."""
        return self.shares.interval()


@dataclass(frozen=True, slots=True)
class Drain:
    """What ended after the planned end of the load, which took `seconds` more."""

    seconds: float
    pulled: int
    failed: int
    bytes: int | None = None


@dataclass(slots=True)
class SetTally:
    """The counts of one image set. Its percentiles are accurate to 1 %, as there may be hundreds of sets."""

    pulled: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=lambda: Latencies(COARSE))

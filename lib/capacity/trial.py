"""Carries out trials: each is an ordinary load of the open model at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final, Literal

from ..errors import RunError
from ..load.account import Account, limit_of
from ..load.closed import Sample, joined
from ..load.event import Event
from ..prepare import Prepared
from ..session import Session
from ..trial_load import LOST, Pace, TrialLoads, Watching
from .observed import Observed
from .result import CLIENT, MACHINE

# From this share of pulls on, what made them late is the limit.
_MANY_LATE: Final = 0.05
# Whether a machine was busy is judged over at least so many seconds: in a shorter time, clients start in bursts.
_WINDOW: Final = 2.5


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended. `hosts` has the accounts of its hosts by name, if hosts carried it out."""

    observed: Observed
    tally: Account
    hosts: Mapping[str, Account] = field(default_factory=dict)

    @property
    def limited_by(self) -> Literal["client", "machine"] | None:
        """What else than the server limited the trial, `client` or `machine`, else None. One limited host is enough."""
        if not self.hosts:
            return _limit_of(self.tally, self.tally.samples)
        limits = self._limits().values()
        return CLIENT if CLIENT in limits else MACHINE if MACHINE in limits else None

    @property
    def limited_hosts(self) -> tuple[str, ...]:
        """The names of the hosts that were limited in this way."""
        limit = self.limited_by
        return tuple(name for name, each in self._limits().items() if each is not None and each == limit)

    def _limits(self) -> Mapping[str, Literal["client", "machine"] | None]:
        # an interval of one host has its own limit, and not that of the worst of several
        return {
            name: _limit_of(account, [replace(each, limits=None) for each in account.samples])
            for name, account in self.hosts.items()
        }

    @property
    def lacked_workers(self) -> bool:
        """Whether many pulls started late because all workers were busy."""
        return self.tally.late_no_worker > _MANY_LATE * self.tally.attempts


def _limit_of(account: Account, samples: Sequence[Sample]) -> Literal["client", "machine"] | None:
    """Returns what else than the server limited the part of a trial that these intervals are of."""
    many_late = account.late_machine > _MANY_LATE * account.attempts
    limit = limit_of([*_windows(samples)])
    if limit == CLIENT:
        return CLIENT
    return MACHINE if limit is not None or many_late else None


def _windows(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Joins intervals, so that each lasts `_WINDOW` seconds or longer if the trial does."""
    left = list(samples)
    while left:
        count, seconds = 0, 0.0
        while count < len(left) and seconds < _WINDOW:
            seconds += left[count].seconds
            count += 1
        if sum(each.seconds for each in left[count:]) < _WINDOW:
            count = len(left)
        yield joined(left[:count])
        left = left[count:]


class Trials:
    """Carries out trials with what was prepared once. The session's state always shows the last one.

    `kill` ends all running clients. `lost` says whether a trial that still runs cannot hold any more.
    """

    def __init__(
        self,
        session: Session,
        prepared: Prepared,
        kill: Callable[[], None],
        lost: Callable[[Observed], bool],
    ) -> None:
        self._session = session
        self._loads = TrialLoads(session, prepared, kill)
        self._lost = lost
        self._pulled = 0

    def carry_out(self, rate: float, seconds: float) -> Trial:
        """Returns the trial at `rate` pulls per second. It may end before `seconds` if it cannot hold any more.

        Raises Stopped after a signal, and RunError if no pull of the search has succeeded yet.
        """
        state, outputs, stop = self._session.state, self._session.outputs, self._session.stop
        observed = Observed(rate, seconds)

        def on_sample(sample: Sample) -> None:
            outputs.began = driver.began
            outputs.on_sample(sample)
            observed.lasted = min(sample.at, seconds)
            if sample.at < seconds and self._lost(observed):
                driver.give_up(LOST)

        def on_event(event: Event) -> None:
            observed.began = driver.began
            observed.add(event)
            outputs.on_event(event)

        driver = self._loads.make(
            Pace(rate, seconds), Watching(observe=on_event, on_sample=on_sample, caution=outputs.caution)
        )
        tally = state.own_tally
        driver.drive(state.workers, monotonic())
        observed.unstarted = tally.unstarted(driver.second) or 0
        stop.heed()
        self._pulled += tally.pulled
        if driver.hopeless not in (None, LOST) and not self._pulled:
            raise RunError(driver.hopeless)
        return Trial(observed, tally)

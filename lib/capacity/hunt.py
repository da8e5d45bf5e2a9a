"""The hunt for the capacity: carries out trials, judges them, and keeps their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, Protocol

from msgspec import UNSET, UnsetType

from ..options.thresholds import Threshold
from ..outcomes import FAILED, OK
from .judge import Verdict, judge, refuses
from .observed import Observed, latency_of
from .result import CLIENT, MAX_RATE, MAX_TIME, SLO, UNSTARTED, Limit, TrialResult
from .search import Search
from .trial import Trial
from .wording import missed, trial_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`trial` is the length of a trial in seconds. `most_seconds` is how long all trials may take, or None."""

    trial: float
    most_seconds: float | None


class CarriesOut(Protocol):
    """Carries out trials (see `Trials`)."""

    def carry_out(self, rate: float, seconds: float) -> Trial:
        """Returns the trial at `rate` pulls per second, which lasts at most `seconds`."""
        ...


@dataclass(slots=True)
class Hunt:
    """A capacity search: the trials so far, and what they say. `limit` is what ended it, or None."""

    slos: Sequence[Threshold]
    search: Search
    bounds: Bounds
    results: list[TrialResult] = field(default_factory=list)
    reasons: dict[float, str] = field(default_factory=dict)
    limit: Limit | None = None
    _observed: dict[float, list[Observed]] = field(default_factory=dict)
    # rates that did not hold as long as something else than the server was the limit
    _unjudged: set[float] = field(default_factory=set)

    def carry_out(self, trials: CarriesOut, workers: int, told: Callable[[str], None]) -> None:
        """Carries out trials until the search is over. Calls `told` with a line for each as it ends."""
        try:
            self._carry_out(trials, workers, told)
        finally:
            for rate in self._unjudged:
                self.search.forget(rate)

    def _carry_out(self, trials: CarriesOut, workers: int, told: Callable[[str], None]) -> None:
        began = monotonic()
        while (rate := self.search.next_rate()) is not None:
            most = self.bounds.most_seconds
            if most is not None and monotonic() - began + self.bounds.trial > most:
                self.limit = MAX_TIME
                return
            trial = trials.carry_out(rate, self.bounds.trial)
            ended = self._take(rate, trial, workers)
            told(trial_line(len(self.results), self.results[-1]))
            if ended:
                return
        if self.search.failed is None:
            self.limit = MAX_RATE

    def _take(self, rate: float, trial: Trial, workers: int) -> bool:
        """Judges a trial together with earlier ones at its rate. Returns whether it ends the search."""
        observed = self._observed.setdefault(rate, [])
        observed.append(trial.observed)
        verdict = judge(observed, self.slos)
        not_held = verdict.held is False or not verdict.likely
        lacked = not_held and trial.lacked_workers and judge(observed, self.slos, own=True).likely
        limited_by = CLIENT if lacked and trial.limited_by is None else trial.limited_by
        if refuses(observed, self.slos):
            limited_by = None
        why = missed(verdict, workers, lacked_workers=lacked, unstarted=trial.observed.unstarted)
        self.results.append(_result(trial, verdict, limited_by, why))
        self.search.add(rate, verdict)
        if not self.search.may_repeat(rate):
            del self._observed[rate]  # many hosts make millions of pulls
        self._unjudged.discard(rate)
        if not_held and limited_by is not None:  # no verdict on the server
            self._unjudged.add(rate)
            self.reasons.pop(rate, None)
            if not self.search.may_repeat(rate):
                self.limit = limited_by
                return True
        elif not_held:
            self.limit = UNSTARTED if verdict.unstarted and verdict.missed is None else SLO
            self.reasons[rate] = why or ""
        return False


def _result(
    trial: Trial, verdict: Verdict, limited_by: Literal["client", "machine"] | None, why: str | None
) -> TrialResult:
    observed, tally, judged = trial.observed, trial.tally, trial.observed.judged()
    ok = [pull for pull in judged if pull.outcome == OK]
    errors = Counter(str(pull.error_class) for pull in judged if pull.outcome == FAILED)
    return TrialResult(
        rate=observed.offered,
        seconds=round(observed.lasted, 3),
        held=verdict.held,
        pulled=len(ok),
        failed=len(judged) - len(ok),
        retried=None if tally.retried is None else sum(pull.retries or 0 for pull in judged),
        first=sum(pull.first for pull in ok),
        latency_ms=latency_of([pull.latency for pull in ok if pull.timed]),
        error_rate=(len(judged) - len(ok)) / len(judged) if judged else None,
        errors=dict(errors.most_common()),
        unstarted=observed.unstarted,
        late_no_worker=tally.late_no_worker,
        late_machine=tally.late_machine,
        limited_by=limited_by,
        limited_hosts=_limited_hosts(trial, limited_by),
        missed=why,
    )


def _limited_hosts(trial: Trial, limited_by: str | None) -> tuple[str, ...] | UnsetType:
    """Returns the names of the hosts that were limited; none if the limit was of another kind."""
    if not trial.hosts:
        return UNSET
    return trial.limited_hosts if limited_by is not None and limited_by == trial.limited_by else ()

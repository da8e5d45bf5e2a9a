"""The words of a capacity search: one line per trial, and the answer in two lines."""

from __future__ import annotations

from typing import Final

from msgspec import UnsetType

from ..counted import counted
from ..durations import spoken
from ..figures import milliseconds, percent, rate
from ..hosts.refusals import hosts
from ..latency import SHOWN_PERCENTILES
from ..results.verdict import DRY_RUN
from .judge import Verdict
from .result import CLIENT, MACHINE, MAX_RATE, MAX_TIME, Capacity, TrialResult, of_hosts

OUTCOMES: Final = {True: "held", False: "did not hold", None: "not certain"}
_ADVICE: Final = {
    CLIENT: "pull more images per launch (--batch), or give more workers or cores",
    MACHINE: "run ocidriver on a machine of its own",
}
_ADVICE_ON_HOSTS: Final = {
    CLIENT: "pull more images per launch (--batch), or give more workers or hosts",
    MACHINE: "use hosts that run nothing else",
}
LIMITERS: Final = {CLIENT: "the client side", MACHINE: "this machine"}


def limiter(trial: TrialResult) -> str | None:
    """Returns what limited a trial, other than the server; None if nothing did."""
    if trial.limited_by is None:
        return None
    if isinstance(trial.limited_hosts, UnsetType) or not trial.limited_hosts:
        return LIMITERS[trial.limited_by]
    who = hosts(list(trial.limited_hosts))
    machine = "machine" if len(trial.limited_hosts) == 1 else "machines"
    return f"the client side of {who}" if trial.limited_by == CLIENT else f"the {machine} of {who}"


def _limited(trial: TrialResult) -> str:
    """Returns a sentence without its end: what limited a trial."""
    who = () if isinstance(trial.limited_hosts, UnsetType) else trial.limited_hosts
    several = trial.limited_by == MACHINE and len(who) > 1
    return f"{limiter(trial)} {'were' if several else 'was'} the limit"


def trial_line(number: int, trial: TrialResult) -> str:
    """Returns a trial as one line, as it ends."""
    return f"trial {number}: {rate(trial.rate)} for {spoken(round(trial.seconds, 1))}: {_outcome(trial)}"


def _outcome(trial: TrialResult) -> str:
    verdict = OUTCOMES[trial.held]
    if trial.limited_by is not None and trial.held is False:
        verdict = f"no verdict on the server: {_limited(trial)}"
    return f"{verdict} ({trial.missed or figures(trial)})"


def figures(trial: TrialResult) -> str:
    """Returns the latency and the failures of a trial."""
    latency = trial.latency_ms
    times = [
        f"{name} {milliseconds(value)}"
        for name in SHOWN_PERCENTILES
        if latency is not None and (value := latency.value(name)) is not None
    ]
    failed = [] if trial.error_rate is None else [f"{percent(trial.error_rate)} failed"]
    retried = [f"{trial.retried:,} retried"] if trial.retried else []
    return ", ".join((*times, *failed, *retried))


def missed(verdict: Verdict, workers: int, *, lacked_workers: bool, unstarted: int) -> str | None:
    """Returns in words why a rate does not hold; None if nothing speaks against it."""
    against = verdict.missed
    if lacked_workers:
        return f"all {workers} workers were busy; give more --workers"
    if against is not None:
        return against.slo.told(against.value)
    if verdict.unstarted:
        return f"{unstarted:,} pulls never started; give more --workers, if the server has room for more"
    return None


def answer(found: Capacity) -> tuple[str, ...]:
    """Returns the answer: the highest rate that the server sustains, and the lowest that it does not."""
    if not found.trials:
        return (
            ("The search ended during its first trial, so it has no result for the server.",)
            if found.interrupted
            else ()
        )
    if found.settings.get("dry_run"):
        return (DRY_RUN,)
    return (_what_held(found), _what_did_not(found))


def _what_held(found: Capacity) -> str:
    held = found.held
    if held is not None:
        where = f" from {counted(len(names), 'host')}" if (names := of_hosts(found)) else ""
        sure = _sure(found, held.rate)
        return f"The server sustains {rate(held.rate)}{where}{sure}: {figures(_last(found, held.rate))}."
    if found.failed_at is None:
        return "The search has no result for the server: no rate held."
    first = found.failed_at.rate
    return f"The server does not sustain {rate(first)}, the first rate{_sure(found, first)}; give a lower --from."


def _what_did_not(found: Capacity) -> str:
    limit, failed = found.limit, found.failed_at
    if limit == MAX_RATE:
        return "The search ended at --max-rate. The server may sustain a higher rate."
    if limit in _ADVICE:
        last, advice = found.trials[-1], _ADVICE_ON_HOSTS if of_hosts(found) else _ADVICE
        return f"At {rate(last.rate)}, {_limited(last)}, not the server; {advice[limit]}."
    ended = "; --max-time ended the search" if limit == MAX_TIME else ""
    ended += "; a signal ended the search" if found.interrupted else ""
    if failed is None:
        return f"No {'higher ' if found.held else ''}rate has a verdict{ended}."
    return f"It does not sustain {rate(failed.rate)}{_sure(found, failed.rate)}: {failed.reason}{ended}."


def _last(found: Capacity, at: float) -> TrialResult:
    """Returns the last trial at a rate. Its verdict is that of all trials at the rate."""
    return next(each for each in reversed(found.trials) if each.rate == at)


def _sure(found: Capacity, at: float) -> str:
    """Returns how sure the verdict on a rate is; nothing if it is certain."""
    return "" if _last(found, at).held is not None else " (likely, but not certain at 95 %)"

"""Judges trials: whether a rate holds, whether it does not, or whether that is not certain yet.

Most SLOs limit a share: `error_rate<1%` the share of failed pulls, `p95<250ms` the share of pulls that take 250 ms or
longer (it must be below 5 %). Pulls that are close in time depend on each other: a stall delays all of them. So the
interval of a share uses the effective number of pulls. E. Korn and B. Graubard, "Confidence intervals for proportions
with small expected number of positive counts estimated from survey data" (Survey Methodology, 1998), with Wilson's
interval in place of the exact one; the clusters are bins of time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..latency import PERCENTILES, rank
from ..load.pulls import Pull
from ..options.thresholds import ERROR_GROUPS, Threshold
from ..outcomes import FAILED, OK, ErrorClass
from ..student import reach
from .observed import Observed, all_judged

# A rate does not hold if a larger share of its pulls never started.
MOST_UNSTARTED: Final = 0.01
# Classes of failures that are answers of the server; None: the pull succeeded. A busy machine causes none of them.
_ANSWERED: Final = (
    None,
    ErrorClass.UNAUTHORIZED,
    ErrorClass.FORBIDDEN,
    ErrorClass.NOT_FOUND,
    ErrorClass.NO_PLATFORM,
    ErrorClass.RATE_LIMITED,
    ErrorClass.SERVER_ERROR,
    ErrorClass.BAD_CONTENT,
    ErrorClass.BAD_DIGEST,
    ErrorClass.UNSUPPORTED,
)
_BELOW: Final = ("<", "<=")
_Z: Final = 1.959964
Binned = Sequence[tuple[int, Pull]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What trials at one rate say about one SLO. `held` is None if that is not certain at 95 %.

    `value` is in the quantity's unit, None if nothing was measured. `likely`: the value itself meets the SLO. For an
    SLO that limits a share, `bad` is the share of bad pulls, and `allowed` the limit.
    """

    slo: Threshold
    value: float | None
    likely: bool
    held: bool | None
    bad: float = 0.0
    allowed: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What trials at one rate say. `held` is None if that is not certain; `likely` is the best guess then.

    `missed` is the finding that decided against the rate. `unstarted`: too many pulls never started.
    """

    held: bool | None
    likely: bool
    findings: tuple[Finding, ...]
    unstarted: bool = False

    @property
    def missed(self) -> Finding | None:
        """The SLO that speaks most clearly against the rate; None if none does."""
        against = [each for each in self.findings if each.held is False]
        doubtful = [each for each in self.findings if not each.likely]
        return next(iter([*against, *doubtful]), None)


def judge(observed: Sequence[Observed], slos: Sequence[Threshold], *, own: bool = False) -> Verdict:
    """Judges all trials at one rate together. `own`: latencies count from the launch, as if workers were never busy."""
    binned = all_judged(observed)
    findings = tuple(_finding(slo, binned, observed, own=own) for slo in slos)
    due = sum(each.due() for each in observed)
    unstarted = not own and sum(each.unstarted for each in observed) > max(1.0, MOST_UNSTARTED * due)
    held: bool | None = None
    if unstarted or any(each.held is False for each in findings):
        held = False
    elif all(each.held for each in findings):
        held = True
    return Verdict(held, not unstarted and all(each.likely for each in findings), findings, unstarted)


def refuses(observed: Sequence[Observed], slos: Sequence[Threshold]) -> bool:
    """Returns whether the answers of the server break an SLO on failures, however busy this machine was."""
    of_failures = [
        slo for slo in slos if slo.quantity in ("error_rate", "failed") or slo.quantity.startswith("errors.")
    ]
    answered = [
        replace(each, unstarted=0, pulls=[pull for pull in each.pulls if pull.error_class in _ANSWERED])
        for each in observed
    ]
    return judge(answered, of_failures).held is False and any(each.judged() for each in answered)


def _finding(slo: Threshold, binned: Binned, observed: Sequence[Observed], *, own: bool) -> Finding:
    group, _, name = slo.quantity.rpartition(".")
    if name in PERCENTILES and group in ("", "first", "repeat"):
        limit = slo.limit / 1000
        chosen = [(where, _latency(pull, own=own)) for where, pull in _successful(binned, group)]
        waited = 0 if own else sum(_waiting(each, limit) for each in observed)
        ranked = sorted(latency for _, latency in chosen)
        value = round(1000 * ranked[rank(PERCENTILES[name], len(ranked)) - 1], 3) if ranked else None
        over = [(where, not slo.holds(round(1000 * latency, 3))) for where, latency in chosen]
        allowed = 1 - PERCENTILES[name] / 100
        return _of_share(slo, value, over, allowed, always=waited)
    if slo.quantity == "error_rate":
        failed = [(where, pull.outcome == FAILED) for where, pull in binned]
        value = sum(bad for _, bad in failed) / len(failed) if failed else None
        return _of_share(slo, value, failed, slo.limit)
    value = _plain(slo.quantity, binned, observed, own=own)
    held = value is not None and slo.holds(value)
    return Finding(slo=slo, value=value, likely=held, held=held)


def _of_share(
    slo: Threshold,
    value: float | None,
    bad: Sequence[tuple[int, bool]],
    allowed: float,
    *,
    always: int = 0,
) -> Finding:
    """Judges the share of bad pulls. `always` more are bad that belong to the last bin."""
    if slo.comparison not in _BELOW or value is None:
        held = value is not None and slo.holds(value)
        return Finding(slo=slo, value=value, likely=held, held=held)
    counts = bins_of(bad)
    if always:
        last = max(counts)
        counts[last] = (counts[last][0] + always, counts[last][1] + always)
    low, high = share_interval(list(counts.values()))
    certain = True if high < allowed else False if low > allowed else None
    some, of = (sum(each[place] for each in counts.values()) for place in (0, 1))
    likely = some <= allowed * of and slo.holds(value)
    return Finding(slo=slo, value=value, likely=likely, held=certain, bad=some / of, allowed=allowed)


def is_lost(observed: Observed, slos: Sequence[Threshold]) -> bool:
    """Returns whether a trial that still runs cannot hold any more, whatever the rest of its pulls will be.

    So many pulls must be bad that they are too many of all that are due, and the verdict must be certain.
    """
    findings = judge([observed], slos).findings
    whole = observed.offered * (observed.seconds - observed.judged_from)
    judged = len(observed.judged())
    return any(each.held is False and each.bad * judged > each.allowed * whole for each in findings)


def bins_of(bad: Sequence[tuple[int, bool]]) -> dict[int, tuple[int, int]]:
    """Returns (bad pulls, all pulls) by bin."""
    all_pulls = Counter(where for where, _ in bad)
    bad_pulls = Counter(where for where, is_bad in bad if is_bad)
    return {where: (bad_pulls[where], count) for where, count in sorted(all_pulls.items())}


def share_interval(bins: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Returns the interval of 95 % of the share of bad pulls, from (bad pulls, all pulls) in each bin.

    Only one bin says nothing about how far they depend on each other: then the interval is (0, 1).
    """
    bad, total = (sum(each[place] for each in bins) for place in (0, 1))
    if len(bins) < 2 or not total:
        return 0.0, 1.0
    share, free = bad / total, len(bins) - 1
    effective = float(total)
    if 0 < share < 1:
        spread = sum((some - share * count) ** 2 for some, count in bins) * len(bins) / free / total**2
        effective /= max(1.0, spread / (share * (1 - share) / total))
        effective *= (_Z / reach(free)) ** 2
    return _wilson(share, effective)


def _wilson(share: float, of: float) -> tuple[float, float]:
    """Returns Wilson's interval of a share of `of` independent pulls."""
    middle = (share + _Z * _Z / (2 * of)) / (1 + _Z * _Z / of)
    half = _Z / (1 + _Z * _Z / of) * math.sqrt(share * (1 - share) / of + _Z * _Z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _successful(binned: Binned, group: str) -> list[tuple[int, Pull]]:
    return [
        (where, pull)
        for where, pull in binned
        if pull.outcome == OK and pull.timed and (not group or pull.first == (group == "first"))
    ]


def _latency(pull: Pull, *, own: bool) -> float:
    return pull.own if own else pull.latency


def _waiting(observed: Observed, limit: float) -> int:
    """Returns how many pulls never started although they had waited longer than `limit` at the end of the trial.

    Those that never started are the last ones that were due.
    """
    soon = math.ceil(limit * observed.offered)
    return max(0, observed.unstarted - soon)


def _plain(quantity: str, binned: Binned, observed: Sequence[Observed], *, own: bool) -> float | None:
    """Returns the value of a quantity whose interval is not judged."""
    pulls = [pull for _, pull in binned]
    group, _, name = quantity.rpartition(".")
    if f"{group}." in ERROR_GROUPS:
        return float(sum(pull.error_class == name for pull in pulls))
    judged_seconds = sum(each.judged_seconds for each in observed) or 1.0
    pulled = sum(pull.outcome == OK for pull in pulls)
    retries = [pull.retries for pull in pulls if pull.retries is not None]
    counts: dict[str, Callable[[], float]] = {
        "pulled": lambda: pulled,
        "failed": lambda: len(pulls) - pulled,
        "rate": lambda: pulled / judged_seconds,
        "retried": lambda: sum(retries),
        "retry_rate": lambda: sum(retries) / len(retries),
    }
    if quantity in counts:
        known = bool(retries) or not quantity.startswith("retr")
        return float(counts[quantity]()) if known else None
    latencies = [_latency(pull, own=own) for _, pull in _successful(binned, group)]
    summaries: dict[str, Callable[[Sequence[float]], float]] = {
        "min": min,
        "max": max,
        "mean": lambda values: sum(values) / len(values),
    }
    return round(1000 * summaries[name](latencies), 3) if latencies and name in summaries else None

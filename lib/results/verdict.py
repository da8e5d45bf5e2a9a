"""The verdict on a run: the answer in a few sentences."""

from __future__ import annotations

from typing import Final

from ..counted import counted
from ..figures import percent
from .headline import TOO_SHORT, by_class, peak
from .hosts import NO_WHOLE_STEP, whole_steps
from .limit import limit, outside
from .outage import outages
from .precision import highest
from .summary import Summary

# A verdict names at most this many outages.
_MOST_OUTAGES: Final = 3
# A server that fails this share of the pulls at a rate does not serve it.
_MANY: Final = 0.01
DRY_RUN: Final = "This was a dry run. It pulled nothing, so these numbers do not describe a server."


def verdict(summary: Summary) -> list[str]:
    """Returns the answer in a few sentences: outages, the peak, failed pulls, and what limited the rate."""
    if summary.settings.get("dry_run"):
        return [DRY_RUN]
    if not summary.ended:
        return ["No pull ended."]
    if not summary.pulled:
        return ["No pull succeeded.", _failures(summary)]
    found = outages(summary.samples)
    out = [f"{each.told()}." for each in found[:_MOST_OUTAGES]]
    limited = [] if out else [f"What limited the rate: {limit(summary).figure}."]
    rest = outside(summary, found) if found else None
    healthy = [f"{rest[0].upper()}{rest[1:]}."] if rest else []
    return [*out, _served(summary), *healthy, _failures(summary), *limited]


def _served(summary: Summary) -> str:
    best = summary.peak
    if best is None:
        if not whole_steps(summary):
            return f"The peak is not known, because {NO_WHOLE_STEP}."
        helps = peak(summary).more
        return f"The run was {TOO_SHORT} the peak{f'; {helps}' if helps else ''}."
    step = highest(whole_steps(summary))
    if step is not None and step.failed >= _MANY * (step.pulled + step.failed) > 0:
        share = percent(step.failed / (step.pulled + step.failed))
        if summary.has_one_step:  # its failed pulls are those of the whole load
            return f"The rate of successful pulls was {peak(summary)}."
        return f"The highest rate of successful pulls was {peak(summary)}; {share} of the pulls failed there."
    served = "can serve at least" if summary.limited_by else "served"
    return f"The server {served} {peak(summary)}."


def _failures(summary: Summary) -> str:
    again = f"; clients retried {counted(summary.retried, 'time')}" if summary.retried else ""
    again += f"; {counted(summary.unstarted, 'pull')} never started" if summary.unstarted else ""
    if not summary.failed:
        return f"No pull failed{again}."
    share = percent(summary.error_rate) if summary.error_rate is not None else f"{summary.failed:,}"
    return f"{share} of all pulls failed: {by_class(summary.errors.items())}{again}."

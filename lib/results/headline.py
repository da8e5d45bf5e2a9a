"""The answers of a run in words: what it tested, the peak, the knee, latency and failures.

The end of a run, the report and the live view show these words, so that they say the same. Every figure is one of the
summary. Without data, the answer is "too short to tell", and what would help.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import UnsetType

from ..counted import counted
from ..figures import data_rate, milliseconds, percent, rate, three
from ..latency import MAIN_PERCENTILES, SHOWN_PERCENTILES, Latency
from ..load.plan import DOWN, UP
from .answer import Answer, joined
from .hosts import NO_WHOLE_STEP, planned, whole_steps, why_no_peak
from .precision import highest, in_words, longer
from .summary import LEAST_DIFFERENT, Herds, Peak, Summary

TOO_SHORT: Final = "too short to tell"
UNKNOWN: Final = "unknown"
# What is known about the images in the cache of the server under test.
CACHE_UNKNOWN: Final = "cache state unknown"
CACHED: Final = "cached by a warm-up"


def target(summary: Summary) -> str:
    """Returns the address of the server under test."""
    return str(summary.settings.get("pullthrough_url", "")).partition("://")[2] or UNKNOWN


def tested(summary: Summary) -> str:
    """Returns what was tested and how: target, client, hosts, shape of the load, and what is known of the cache."""
    by = "in a dry run" if summary.settings.get("dry_run") else f"with {summary.client or 'no client'}"
    on = f" on {counted(planned(summary), 'host')}" if summary.has_hosts else ""
    words = [f"{target(summary)} {by}{on}", summary.load, cache_state(summary)]
    return f"{', '.join(word for word in words if word)} ({counted(summary.images, 'image')})"


def cache_state(summary: Summary) -> str:
    """Returns what is known about the images in the cache of the server under test."""
    chosen = {name: bool(summary.settings.get(name)) for name in ("dry_run", "prune", "herd")}
    known = in_cache(summary.first_pulls, **chosen)
    return known or ("" if chosen["dry_run"] else CACHE_UNKNOWN)


def in_cache(first_pulls: str, *, dry_run: bool, prune: bool, herd: bool) -> str:
    """Returns what is known about the images in the cache, from the settings; empty if nothing is."""
    if dry_run:
        return ""
    if first_pulls == "warm":
        return CACHED
    if herd and prune:
        return "cold, pruned before each herd"
    if prune:
        return "cold, pruned after each pass" if first_pulls == "cold" else "cold after the first pass"
    return "first pulls cold" if first_pulls == "cold" else ""


def peak(summary: Summary) -> Answer:
    """Returns the highest rate, with its interval, its number of workers, and its data per second if known."""
    best = summary.peak
    if best is not None:
        interval, where = (
            f"{three(best.low)} to {three(best.high)}",
            f"{_where(best)}{_data(best.bytes_per_second)}",
        )
        figure = rate(best.rate)
        return Answer(figure, f"{interval} (95 % confidence), {where}", f"{figure} ({interval}) {where}")
    if not summary.pulled:
        return Answer("none", "no pull succeeded", "no pull succeeded")
    if summary.steps and not whole_steps(summary):
        return Answer(UNKNOWN, NO_WHOLE_STEP, f"unknown: {NO_WHOLE_STEP}")
    highest_step = highest(summary.steps)
    helps = f"give {longer(highest_step, summary.settings)}" if highest_step is not None else ""
    return Answer(TOO_SHORT, helps, why_no_peak(summary) or TOO_SHORT)


def _data(bytes_per_second: float | UnsetType | None) -> str:
    """Returns how much data per second that was; nothing if it is not known."""
    return f", {data_rate(bytes_per_second)}" if isinstance(bytes_per_second, float) else ""


def _where(best: Peak) -> str:
    if best.offered is not None:
        return f"of {three(best.offered)} offered, with {counted(best.workers, 'worker')}"
    return f"at {counted(best.workers, 'worker')}"


def knee(summary: Summary) -> Answer | None:
    """Returns where more workers begin to gain little; None for a load that can have no knee."""
    if summary.is_scheduled or summary.has_one_step or summary.in_herds or summary.settings.get("passes"):
        return None
    found = summary.knee
    if found is not None:
        interval = f"{three(found.low)} to {three(found.high)}"
        figure = f"near {three(found.workers)} workers"
        return Answer(
            figure, f"{interval} (95 % confidence); more workers gain little", f"{figure} ({interval})"
        )
    different = len({step.workers for step in summary.steps})
    if different < LEAST_DIFFERENT:
        why = f"needs {LEAST_DIFFERENT} different numbers of workers; the run had {different}"
        return joined(UNKNOWN, ": ", why)
    return joined("none found", ": ", "the rate still grew, or the steps are too short to tell")


def latency_name(summary: Summary) -> str:
    """Returns of which pulls `latency_at_peak` is the latency."""
    if summary.has_one_step:
        return "latency"
    return "latency at the peak" if _is_at_peak(summary) else "latency of all pulls"


def _is_at_peak(summary: Summary) -> bool:
    has_peak = summary.peak is not None and summary.peak.latency_ms is not None
    return has_peak and not summary.has_one_step


def latency_at_peak(summary: Summary) -> Answer:
    """Returns the percentiles at the peak; of all pulls if there is no peak, or if the load has one step."""
    found, where = summary.latency_ms, "" if summary.has_one_step else " of all pulls"
    if summary.peak is not None and _is_at_peak(summary):
        found, where = summary.peak.latency_ms, " at the peak"
    if found is None:
        return Answer("none", "no pull succeeded", "no pull succeeded")
    main = next(name for name in MAIN_PERCENTILES if found.value(name) is not None)
    others = [name for name in SHOWN_PERCENTILES if name != main]
    # by a schedule, the wait for a free worker counts too
    since = " from when a pull was due" if summary.is_scheduled else ""
    return Answer(
        percentiles(found, [main]),
        f"{percentiles(found, others)}{since}",
        f"{percentiles(found)}{where}{since}",
    )


def percentiles(latency: Latency, names: Iterable[str] = SHOWN_PERCENTILES) -> str:
    """Returns the percentiles that were measured: `p50 112 ms, p95 133 ms`."""
    values = ((name, latency.value(name)) for name in names)
    return ", ".join(f"{name} {milliseconds(value)}" for name, value in values if value is not None)


def failed(summary: Summary) -> Answer:
    """Returns the failed pulls by class, and the retried ones."""
    count, classes = f"{summary.failed:,} of {summary.ended:,} pulls", by_class(summary.errors.items())
    share = percent(summary.error_rate) if summary.failed and summary.error_rate is not None else ""
    others = [unstarted(summary)] if summary.unstarted else []
    if summary.interrupted_pulls:
        others.append(f"{summary.interrupted_pulls:,} interrupted")
    if summary.pruned or summary.prune_failed:
        others.append(f"{summary.pruned:,} pruned")
    if summary.prune_failed:
        others.append(f"{summary.prune_failed:,} prunes failed")
    known = [f"{share} of {summary.ended:,} pulls" if share else f"of {summary.ended:,} pulls"]
    first = f"{count} ({share}): {classes}; " if share and classes else f"{count}, "
    return Answer(
        f"{summary.failed:,} failed, {retried(summary)}",
        ", ".join([": ".join([*known, *([classes] if classes else [])]), *others]),
        f"{first}{', '.join([retried(summary), *others])}",
    )


def unstarted(summary: Summary) -> str:
    """Returns how many pulls of the schedule never started."""
    return f"{summary.unstarted:,} never started"


def by_class(errors: Iterable[tuple[str, int]]) -> str:
    """Returns counts by error class: `50 refused, 23 timeout`."""
    return ", ".join(f"{count:,} {name}" for name, count in errors)


def retried(summary: Summary) -> str:
    """Returns how many retries the clients made."""
    return retries(summary.retried)


def retries(count: int | None) -> str:
    """Returns a number of retries; None if the client does not report them."""
    return "retries unknown" if count is None else f"{count:,} retried"


def herds(found: Herds) -> Answer:
    """Returns how far the starts of herds lay apart, and how long it took until all workers had the image."""
    spread, whole = found.spread_ms, found.latency_ms
    words = f"{found.count:,}"
    if spread is not None:
        words += f", starts within {milliseconds(spread.p50)} (median), at most {milliseconds(spread.max)}"
    if whole is None:
        return Answer(counted(found.count, "herd"), "no herd of which all pulls succeeded", words)
    told = f"{milliseconds(whole.p50)} (median), at most {milliseconds(whole.max)}"
    return Answer(
        milliseconds(whole.p50),
        f"median of {counted(found.count, 'herd')}; at most {milliseconds(whole.max)}",
        f"{words}; every worker had the image after {told}",
    )


def average_name(summary: Summary) -> str:
    """Returns over what `average` is an average."""
    directions = {step.direction for step in summary.steps}
    return "average over the ramp" if {UP, DOWN} <= directions else "average over the whole run"


def average(summary: Summary) -> Answer:
    """Returns the average rate over the whole run, its data per second if known, and how sure it is."""
    figure, data = rate(summary.rate), _data(summary.bytes_per_second)
    sure = in_words(summary.precision) if summary.precision else ""
    more = ", ".join(filter(None, [data.removeprefix(", "), sure]))
    return Answer(figure, more, ", ".join(filter(None, [f"{figure} over the whole run", more])))


def thresholds(summary: Summary) -> str | None:
    """Returns how many thresholds were met, and which were missed; None without one."""
    if not summary.thresholds:
        return None
    missed = [each.told for each in summary.missed]
    met = len(summary.thresholds) - len(missed)
    return "; ".join([*missed, *([f"{met} met"] if met else [])])

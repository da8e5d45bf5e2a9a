"""The answers of a run in words: what it tested, the peak, the knee, latency, failures, and what limited it.

The end of a run, the report and the live view show these words, so that they say the same. Every figure is one of the
summary. Without data, the answer is "too short to tell", and what would help.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UnsetType

from ..counted import counted
from ..figures import data_rate, milliseconds, percent, rate, three
from ..latency import SHOWN_PERCENTILES, Latency
from .outage import outages
from .precision import in_words, why_no_peak
from .summary import LEAST_DIFFERENT, Herds, Peak, Summary

TOO_SHORT = "too short to tell"


def target(summary: Summary) -> str:
    """Returns the address of the server under test."""
    return str(summary.settings.get("pullthrough_url", "")).partition("://")[2] or "unknown"


def tested(summary: Summary) -> str:
    """Returns what was tested and how: target, client, shape of the load, and what is known of the cache."""
    client = "dry run" if summary.settings.get("dry_run") else str(summary.client or "no client")
    words = [f"{target(summary)} with {client}", summary.load, cache_state(summary)]
    return f"{', '.join(word for word in words if word)} ({counted(summary.images, 'image')})"


def cache_state(summary: Summary) -> str:
    """Returns what is known about the images in the cache of the server under test."""
    chosen = {name: bool(summary.settings.get(name)) for name in ("dry_run", "prune", "herd")}
    known = in_cache(summary.first_pulls, **chosen)
    return known or ("" if chosen["dry_run"] else "cached or not is unknown")


def in_cache(first_pulls: str, *, dry_run: bool, prune: bool, herd: bool) -> str:
    """Returns what is known about the images in the cache, from the settings; empty if nothing is."""
    if dry_run:
        return ""
    if first_pulls == "warm":
        return "cached by a warm-up"
    if herd and prune:
        return "cold, pruned before each herd"
    if prune:
        return "cold, pruned after each pass" if first_pulls == "cold" else "cold after the first pass"
    return "first pulls cold" if first_pulls == "cold" else ""


def peak_name(summary: Summary) -> str:
    """Returns what the peak is called: a load of one step has a rate, and no peak."""
    return "rate" if summary.has_one_step else "peak"


def peak(summary: Summary) -> str:
    """Returns the highest rate, with its interval, its number of workers, and its data per second if known."""
    best = summary.peak
    if best is None:
        return why_no_peak(summary.steps, summary.settings) or TOO_SHORT
    return f"{rate(best.rate)} {_interval(best)}{_where(summary, best)}{_data(best.bytes_per_second)}"


def _data(bytes_per_second: float | UnsetType | None) -> str:
    """Returns how much data per second that was; nothing if it is not known."""
    return f", {data_rate(bytes_per_second)}" if isinstance(bytes_per_second, float) else ""


def _interval(best: Peak) -> str:
    return f"({three(best.low)} to {three(best.high)})"


def _where(summary: Summary, best: Peak) -> str:
    if best.offered is not None:
        return f" of {three(best.offered)} offered"
    return f" at {counted(best.workers, 'worker')}"


def knee(summary: Summary) -> str | None:
    """Returns where more workers begin to gain little; None for a load that can have no knee."""
    if summary.is_scheduled or summary.has_one_step:
        return None
    found = summary.knee
    if found is not None:
        return f"near {three(found.workers)} workers ({three(found.low)} to {three(found.high)})"
    different = len({step.workers for step in summary.steps})
    if different < LEAST_DIFFERENT:
        return f"needs {LEAST_DIFFERENT} different numbers of workers, and the run had {different}"
    return "none found: the rate still grew, or the steps are too short to tell"


def latency_at_peak(summary: Summary) -> str:
    """Returns the percentiles at the peak, or of all pulls if there is no peak."""
    if summary.peak is not None and summary.peak.latency_ms is not None:
        where = "" if summary.has_one_step else " at the peak"
        return f"{percentiles(summary.peak.latency_ms)}{where}"
    return f"{percentiles(summary.latency_ms)} of all pulls" if summary.latency_ms else "no pull succeeded"


def percentiles(latency: Latency) -> str:
    """Returns the percentiles that were measured: `p50 112 ms, p95 133 ms`."""
    values = ((name, latency.value(name)) for name in SHOWN_PERCENTILES)
    return ", ".join(f"{name} {milliseconds(value)}" for name, value in values if value is not None)


def failed(summary: Summary) -> str:
    """Returns the failed pulls by class, and the retried ones."""
    words = [f"{summary.failed:,} of {summary.ended:,} pulls"]
    if summary.failed and summary.error_rate is not None:
        words[0] += f" ({percent(summary.error_rate)})"
        words += [by_class(summary.errors.items())] if summary.errors else []
    words.append(retried(summary))
    if summary.interrupted_pulls:
        words.append(f"{summary.interrupted_pulls:,} interrupted")
    if summary.pruned or summary.prune_failed:
        words.append(f"{summary.pruned:,} pruned")
    if summary.prune_failed:
        words.append(f"{summary.prune_failed:,} prunes failed")
    return ", ".join(words)


def by_class(errors: Iterable[tuple[str, int]]) -> str:
    """Returns counts by error class: `50 refused, 23 timeout`."""
    return ", ".join(f"{count:,} {name}" for name, count in errors)


def retried(summary: Summary) -> str:
    """Returns how many retries the clients made."""
    return "retries unknown" if summary.retried is None else f"{summary.retried:,} retried"


def herds(found: Herds) -> str:
    """Returns how far the starts of herds lay apart, and how long it took until all workers had the image."""
    words = f"{found.count:,}"
    spread, whole = found.spread_ms, found.latency_ms
    if spread is not None:
        words += f", starts within {milliseconds(spread.p50)} (median), at most {milliseconds(spread.max)}"
    if whole is not None:
        words += (
            f"; every worker had the image after {milliseconds(whole.p50)} (median), "
            f"at most {milliseconds(whole.max)}"
        )
    return words


def limit(summary: Summary) -> str:
    """Returns what limited the rate, as far as the run can tell."""
    out = outages(summary.samples)
    if out:
        more = f" (and {counted(len(out) - 1, 'more outage')})" if len(out) > 1 else ""
        return f"{out[0].told()}{more}"
    if summary.limited_by == "client":
        return "driver and clients used nearly all CPU of this machine; try --batch, or more machines"
    if summary.limited_by == "machine":
        return "other programs used nearly all CPU of this machine; run ocidriver on a machine of its own"
    if summary.late_no_worker or summary.unstarted:
        return (
            f"all workers were busy: {summary.late_no_worker:,} pulls late, {summary.unstarted:,} never started; give "
            "more --workers, or a lower rate"
        )
    if summary.late_machine:
        return f"this machine was slow to start {counted(summary.late_machine, 'pull')}; give a lower rate"
    busy = _busiest(summary)
    return "not this machine" + (f": its CPU was at most {percent(busy)} busy" if busy is not None else "")


def _busiest(summary: Summary) -> float | None:
    used = [1 - each.machine.idle for each in summary.samples if each.machine is not None]
    return max(used, default=None)


def average(summary: Summary) -> str:
    """Returns the average rate over the whole run, its data per second if known, and how sure it is."""
    sure = f", {in_words(summary.precision)}" if summary.precision else ""
    return f"{rate(summary.rate)} over the whole run{_data(summary.bytes_per_second)}{sure}"


def precision(summary: Summary) -> str:
    """Returns how sure the rate of a load of one step is."""
    return TOO_SHORT if summary.precision is None else in_words(summary.precision)


def thresholds(summary: Summary) -> str | None:
    """Returns how many thresholds were met, and which were missed; None without one."""
    if not summary.thresholds:
        return None
    missed = [each.told for each in summary.missed]
    met = len(summary.thresholds) - len(missed)
    return "; ".join([*missed, *([f"{met} met"] if met else [])])

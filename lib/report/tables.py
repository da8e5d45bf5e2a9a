"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from ..latency import LATENCIES, SHOWN_PERCENTILES, Latency
from ..options.times import shown_setting
from ..pages.command_line import option
from ..pages.tables import Mark, Number, table
from ..results.sample import Sample
from ..results.summary import Herds, Step, Summary
from .events import EventSeries
from .timeline import merged

# The table of intervals has at most this many; the intervals of a longer run are merged.
_MOST_INTERVALS = 60


def _latency(latency: Latency | None, name: str) -> Number:
    return Number(latency.value(name) if latency else None, ",.1f")


def steps(summary: Summary) -> str:
    """Returns the table of the steps. `low` and `high` are the ends of the rate's confidence interval.

    A run with a schedule also has the offered rate.
    """
    scheduled = summary.is_scheduled
    heads = (
        "step",
        "direction",
        "workers",
        "seconds",
        "pulled",
        "failed",
        "pulls/s",
        "low",
        "high",
        *(["offered"] if scheduled else []),
        *(f"{name} ms" for name in SHOWN_PERCENTILES),
    )
    return table(
        heads,
        (
            (
                Number(place),
                each.direction,
                Number(each.workers),
                Number(each.seconds, ",.1f"),
                Number(each.pulled),
                Number(each.failed),
                *(Number(value, ",.2f") for value in (each.rate, each.low, each.high)),
                *([Number(each.offered, ",.2f")] if scheduled else []),
                *(_latency(each.latency_ms, name) for name in SHOWN_PERCENTILES),
            )
            for place, each in enumerate(summary.steps, 1)
        ),
    )


def intervals(summary: Summary) -> str:
    """Returns the table of a run with one step: the whole step, then its tally intervals over time."""
    samples = merged(summary.samples, _MOST_INTERVALS)
    ends = accumulate(each.seconds for each in samples)
    heads = ("interval", "end, s", "seconds", "pulled", "failed", "pulls/s", "low", "high")
    whole = [_interval("all", each.seconds, each, each.low, each.high) for each in summary.steps]
    parts = [
        _interval(str(place), end, each)
        for place, (end, each) in enumerate(zip(ends, samples, strict=True), 1)
    ]
    return table((*heads, *(f"{name} ms" for name in SHOWN_PERCENTILES)), (*whole, *parts))


def _interval(
    name: str, end: float, each: Step | Sample, low: float | None = None, high: float | None = None
) -> list[object]:
    return [
        name,
        Number(end, ",.1f"),
        Number(each.seconds, ",.1f"),
        Number(each.pulled),
        Number(each.failed),
        *(Number(value, ",.2f") for value in (each.rate, low, high)),
        *(_latency(each.latency_ms, percentile) for percentile in SHOWN_PERCENTILES),
    ]


def workers(summary: Summary) -> str:
    """Returns the table of the workers."""
    counts = ("images", "passes", "pulled", "failed", "pruned")
    return table(
        ("worker", "pattern", *counts),
        (
            (Number(place), each.pattern, *(Number(getattr(each, name)) for name in counts))
            for place, each in enumerate(summary.workers)
        ),
    )


def image_sets(summary: Summary) -> str:
    """Returns the table of the image sets."""
    counts = ("images", "pulled", "failed")
    return table(
        ("pattern", *counts, "mean ms", *(f"{name} ms" for name in SHOWN_PERCENTILES)),
        (
            (
                each.pattern,
                *(Number(getattr(each, name)) for name in counts),
                *(_latency(each.latency_ms, name) for name in ("mean", *SHOWN_PERCENTILES)),
            )
            for each in summary.image_sets
        ),
    )


def latencies(summary: Summary) -> str:
    """Returns the latencies of all, first and repeat pulls, in milliseconds."""
    kinds = (
        ("all pulls", summary.latency_ms),
        ("first pulls", summary.first_latency_ms),
        ("repeat pulls", summary.repeat_latency_ms),
    )
    return table(
        ("ms", *LATENCIES),
        ((kind, *(_latency(latency, name) for name in LATENCIES)) for kind, latency in kinds),
    )


def herds(found: Herds) -> str:
    """Returns the table of the herds, in milliseconds."""
    kinds = (
        ("spread of the starts", found.spread_ms),
        ("until every worker had the image", found.latency_ms),
    )
    return table(
        ("ms", *LATENCIES),
        ((kind, *(_latency(latency, name) for name in LATENCIES)) for kind, latency in kinds),
    )


def errors(counts: Mapping[str, int]) -> str:
    """Returns the table of failures by error class."""
    return table(("class", "failed"), ((name, Number(count)) for name, count in counts.items()))


def thresholds(summary: Summary) -> str:
    """Returns the table of the thresholds with their verdicts."""
    return table(
        ("threshold", "measured", "verdict"),
        (
            (
                each.expression,
                each.value_shown if each.value is None else Number(each.value, text=each.value_shown),
                Mark("passed" if each.passed else "missed", each.passed),
            )
            for each in summary.thresholds
        ),
    )


def slowest(events: EventSeries) -> str:
    """Returns the table of the slowest images."""
    return table(
        ("image", "slowest ms", "mean ms", "pulled", "failed"),
        (
            (
                each.name,
                Number(each.slowest * 1000, ",.1f"),
                Number(each.total / each.pulled * 1000, ",.1f"),
                Number(each.pulled),
                Number(each.failed),
            )
            for each in events.slowest()
        ),
    )


def settings(summary: Summary) -> str:
    """Returns the table of the run's options."""
    return table(
        ("setting", "value"),
        ((option(name), _shown(shown_setting(name, value))) for name, value in summary.settings.items()),
    )


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

"""The end of a run in six to eleven lines, the same on a terminal and in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..clean import clean
from ..streams import LINE_LENGTH
from . import headline
from .hosts import trouble
from .limit import limit
from .summary import Summary

_WIDTH = 11


def ending(summary: Summary, files: Mapping[str, str]) -> list[str]:
    """Returns the lines. `files` are those that were written, by what they hold."""
    return [f"{name:<{_WIDTH}}{clean(text, LINE_LENGTH)}" for name, text in answers(summary, files)]


def answers(summary: Summary, files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields each answer of a run, with what it is about. `files` are those that were written, by what they hold."""
    yield "tested", headline.tested(summary)
    yield "peak", headline.peak(summary)
    knee = headline.knee(summary)
    if knee is not None:
        yield "knee", knee
    yield "latency", headline.latency_at_peak(summary)
    yield "failed", headline.failed(summary)
    if summary.in_herds is not None:
        yield "herds", headline.herds(summary.in_herds)
    yield "limit", limit(summary)
    hosts = trouble(summary)
    if hosts is not None:
        yield "hosts", hosts
    yield "average", headline.average(summary)
    thresholds = headline.thresholds(summary)
    if thresholds is not None:
        yield "thresholds", thresholds
    if files:
        yield "files", ", ".join(f"{path} ({what})" for what, path in files.items())

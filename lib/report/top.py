"""The top of the report: missed thresholds, the verdict, and the tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ..errors import UsageError
from ..latency import LATENCIES
from ..options.thresholds import KNEE, PEAK, PEAK_FIELDS, parse_threshold
from ..pages import document
from ..pages.tables import Mark, Tile, tiles
from ..results import headline
from ..results.answer import Answer
from ..results.limit import limit
from ..results.summary import Summary, ThresholdResult
from ..results.verdict import verdict

PEAK_TILE, LATENCY_TILE, FAILED_TILE, KNEE_TILE, AVERAGE_TILE = "peak", "latency", "failed", "knee", "average"
# The quantities of thresholds that concern the average: the others that are no latency concern failed pulls.
_OF_AVERAGE: Final = ("rate", "pulled")


def top(summary: Summary) -> Iterator[str]:
    """Yields the HTML of the missed thresholds, the verdict and the tiles."""
    for each in summary.missed:
        yield document.alarm(f"Threshold missed: {each.told}")
    yield document.verdict(verdict(summary))
    yield tiles(shown_tiles(summary))


def shown_tiles(summary: Summary) -> list[Tile]:
    """Returns the tiles in their order. Those that a missed threshold concerns are marked as bad."""
    missed = set(map(concerned, summary.missed))
    return [
        Tile(Mark(answer.figure, good=False) if name in missed else answer.figure, label, answer.more)
        for name, label, answer in answers(summary)
    ]


def answers(summary: Summary) -> Iterable[tuple[str, str, Answer]]:
    """Yields (name, label, answer) of each tile. A load has tiles of its form, such as those of herds."""
    yield PEAK_TILE, "peak", headline.peak(summary)
    yield LATENCY_TILE, headline.latency_name(summary), headline.latency_at_peak(summary)
    if summary.in_herds is not None:
        yield "herds", "until every worker had the image", headline.herds(summary.in_herds)
    yield FAILED_TILE, "failed and retried", headline.failed(summary)
    knee = headline.knee(summary)
    if knee is not None:
        yield KNEE_TILE, "knee", knee
    yield "limit", "what limited the rate", limit(summary)
    yield AVERAGE_TILE, headline.average_name(summary), headline.average(summary)


def concerned(threshold: ThresholdResult) -> str:
    """Returns the name of the tile that a threshold concerns."""
    try:
        quantity = parse_threshold(threshold.expression).quantity
    except UsageError:  # the summary is from a file, and its expression from elsewhere
        return ""
    if quantity.startswith(KNEE):
        return KNEE_TILE
    if quantity.removeprefix(PEAK) in PEAK_FIELDS and quantity.startswith(PEAK):
        return PEAK_TILE
    if quantity in _OF_AVERAGE:
        return AVERAGE_TILE
    return LATENCY_TILE if quantity.rpartition(".")[2] in LATENCIES else FAILED_TILE

"""Describes the herds of a run in words."""

from __future__ import annotations

from ..counted import counted
from ..latency import shown
from ..load.herd_tally import HerdTally


def in_words(herds: HerdTally) -> str:
    """Returns how far the starts of herds lay apart, and how long it took until all workers had the image."""
    spread, whole = herds.spread.result(), herds.latencies.result()
    words = counted(herds.count, "herd")
    if spread is not None:
        words += f": starts within {shown(spread, 'p50')} ms (median), at most {shown(spread, 'max')} ms"
    if whole is not None:
        words += (
            f"; every worker had the image after {shown(whole, 'p50')} ms (median), "
            f"at most {shown(whole, 'max')} ms"
        )
    return words

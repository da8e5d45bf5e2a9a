"""Summaries in, all there is to say of each pair of runs out; how it is written is another's business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..options.thresholds import Threshold
from .quantities import RATE, Comparison, Quantity, compare
from .recorded_run import read_run
from .settings_changed import Difference, differences
from .thresholds import Judgement, judge


@dataclass(frozen=True, slots=True)
class Told:
    """All there is to say of one pair."""

    comparison: Comparison
    differences: tuple[Difference, ...]
    judgements: tuple[Judgement, ...]

    @property
    def rate(self) -> Quantity:
        return next(each for each in self.comparison.quantities if each.name == RATE)

    @property
    def measured(self) -> list[Quantity]:
        """Those that one run has at least."""
        return [each for each in self.comparison.quantities if each.a is not None or each.b is not None]


def tell(
    files: Sequence[Path], events: Sequence[Path], limits: Sequence[Threshold], *, seed: int, margin: float
) -> list[Told]:
    """Each further run against the first; `events` has a file for each run, or none."""
    first, *others = (read_run(file, events[index] if events else None) for index, file in enumerate(files))
    told = []
    for other in others:
        comparison = compare(first, other, seed=seed, margin=margin)
        judgements = tuple(judge(limit, comparison.quantities) for limit in limits)
        told.append(Told(comparison, differences(first, other), judgements))
    return told

"""Compares the first run with each other run. `formats` and `page` write the result."""

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
    """The result for one pair of runs."""

    comparison: Comparison
    differences: tuple[Difference, ...]
    judgements: tuple[Judgement, ...]

    @property
    def rate(self) -> Quantity:
        return next(each for each in self.comparison.quantities if each.name == RATE)

    @property
    def measured(self) -> list[Quantity]:
        """The quantities that at least one of the runs has."""
        return [each for each in self.comparison.quantities if each.a is not None or each.b is not None]


def tell(
    files: Sequence[Path], events: Sequence[Path], limits: Sequence[Threshold], *, seed: int, margin: float
) -> list[Told]:
    """Compares each further run with the first. `events` has a file for each run, or is empty.

    Raises `UsageError` if a file cannot be read.
    """
    first, *others = (read_run(file, events[index] if events else None) for index, file in enumerate(files))
    told = []
    for other in others:
        comparison = compare(first, other, seed=seed, margin=margin)
        judgements = tuple(judge(limit, comparison.quantities) for limit in limits)
        told.append(Told(comparison, differences(first, other), judgements))
    return told

"""The plan of the ramp."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lib.load.ramp import plan_ramp


@pytest.mark.parametrize(
    ("workers", "counts"), [(1, [1, 1]), (2, [1, 2, 2, 1]), (5, [1, 2, 3, 4, 5, 5, 4, 3, 2, 1])]
)
def test_workers_of_each_step(workers: int, counts: list[int]) -> None:
    steps = plan_ramp(workers, 60)
    assert [step.workers for step in steps] == counts
    assert [step.direction for step in steps] == ["up"] * workers + ["down"] * workers


def test_five_patterns_at_a_minute_take_ten_minutes() -> None:
    steps = plan_ramp(5, 60)
    assert steps[0].start == 0
    assert steps[-1].end == 600
    assert all(one.end == other.start for one, other in pairwise(steps))

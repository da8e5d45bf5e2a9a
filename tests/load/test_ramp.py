"""The plan of the ramp."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lib.load.curve import Rate
from lib.load.ramp import plan_ramp, plan_schedule


@pytest.mark.parametrize(
    ("workers", "counts"), [(1, [1, 1]), (2, [1, 2, 2, 1]), (5, [1, 2, 3, 4, 5, 5, 4, 3, 2, 1])]
)
def test_workers_of_each_step(workers: int, counts: list[int]) -> None:
    steps = plan_ramp(workers, 60).steps
    assert [step.workers for step in steps] == counts
    assert [step.direction for step in steps] == ["up"] * workers + ["down"] * workers


def test_five_patterns_at_a_minute_take_ten_minutes() -> None:
    plan = plan_ramp(5, 60)
    steps = plan.steps
    assert steps[0].start == 0
    assert steps[-1].end == plan.end == 600
    assert all(one.end == other.start for one, other in pairwise(steps))


def test_the_workers_and_the_time_left_at_any_second_of_a_plan() -> None:
    plan = plan_ramp(2, 10.0)
    assert [plan.workers_at(at) for at in (0, 10, 10.1, 30, 35, 41)] == [1, 1, 2, 2, 1, 0]
    assert [plan.left(at) for at in (0, 30, 41)] == [40, 10, 0]
    assert plan.about == "ramp of 4 steps of 10s, 40s in all, up to 2 workers"


@pytest.mark.parametrize(
    ("rate", "direction"), [(Rate(5, 5), "up"), (Rate(5, 9), "up"), (Rate(9, 5), "down")]
)
def test_by_a_schedule_all_workers_run_in_every_step(rate: Rate, direction: str) -> None:
    plan = plan_schedule(3, 2.0, rate)
    assert [(step.workers, step.direction) for step in plan.steps] == [(3, direction)] * 6
    assert plan.curve is not None
    assert (plan.end, plan.curve.rates, plan.passes) == (12, ((rate, 12),), None)

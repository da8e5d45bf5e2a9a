"""The ramp for any number of workers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.load.ramp import plan_ramp

WORKERS = st.integers(1, 300)
SECONDS = st.floats(0.001, 86400)


@given(WORKERS, SECONDS)
def test_2n_steps_that_follow_each_other(workers: int, seconds: float) -> None:
    steps = plan_ramp(workers, seconds).steps
    assert len(steps) == 2 * workers
    assert steps[0].start == 0
    assert all(one.end == other.start for one, other in pairwise(steps))
    assert all(step.end - step.start == pytest.approx(seconds) for step in steps)
    assert steps[-1].end == pytest.approx(2 * workers * seconds)


@given(WORKERS, SECONDS)
def test_it_goes_up_by_one_and_down_by_one_and_the_peak_lasts_two_steps(workers: int, seconds: float) -> None:
    steps = plan_ramp(workers, seconds).steps
    counts = [step.workers for step in steps]
    assert counts == counts[::-1]
    assert counts[:workers] == list(range(1, workers + 1))
    assert [step.direction for step in steps] == ["up"] * workers + ["down"] * workers


@given(WORKERS, SECONDS)
def test_the_load_adds_up(workers: int, seconds: float) -> None:
    """Worker k of N, from 0, runs for 2·(N − k) steps: N·(N + 1) in all."""
    total = sum(step.workers for step in plan_ramp(workers, seconds).steps)
    assert total == workers * (workers + 1)
    for k in {0, workers // 2, workers - 1}:
        running = sum(1 for step in plan_ramp(workers, seconds).steps if step.workers > k)
        assert running == 2 * (workers - k)

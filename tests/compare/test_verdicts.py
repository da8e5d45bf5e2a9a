"""A small, fixed part of `benchmarks/verdicts.py`: equal runs get few verdicts, and slower runs do not pass a gate."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.made_runs import PROCESSES, Process
from benchmarks.verdicts import Cell, errs, image_coverage, passing, power, rates
from lib.compare.quantities import RATE

PAIRS, SEED = 100, 17
NAMED = {each.name: each for each in PROCESSES}
# An interval that errs in 7 % of all pairs errs in more of these in one of a thousand tests.
MOST = 0.07 + 3.1 * (0.07 * 0.93 / PAIRS) ** 0.5


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("independent", False),
        ("AR(1) 0.3", False),
        ("AR(1) 0.3", True),
        ("bursts of failures", True),
        ("drains", False),
        ("drains", True),
        ("two modes", True),
    ],
)
def test_equal_runs_get_few_verdicts(name: str, events: bool) -> None:
    found = errs(Cell(NAMED[name], 24, events), PAIRS, SEED)
    assert found.judged[RATE] == PAIRS
    assert {"error_rate", "errors.timeout", "retry_rate", "mean"} <= set(found.false)
    assert events == ({"p50", "p90", "p95", "p99"} <= set(found.false))
    assert {row: share for row, share in found.false.items() if share > MOST} == {}
    assert sum(found.false.values()) / len(found.false) < 0.07


@pytest.mark.parametrize(("slow", "row"), [(0.05, "p95"), (0.1, "p90"), (0.5, "p50")])
def test_a_percentile_between_two_modes_gets_few_verdicts(slow: float, row: str) -> None:
    """Percentiles of intervals do not say where latencies lie between them. A verdict from them was false in half of
    these pairs. Single pulls say it."""
    modes = Process("two modes", slow=slow)
    assert errs(Cell(modes, 24, True), 40, SEED).false[row] <= 0.1
    without = errs(Cell(modes, 24, False), 5, SEED)
    assert set(without.false) & {"p50", "p90", "p95", "p99"} == set()
    assert without.judged["mean"] == 5


def test_bursts_of_one_class_do_not_mislead() -> None:
    """Intervals for independent failures called four of five equal pairs different."""
    found = errs(Cell(NAMED["bursts of failures"], 24, False), PAIRS, SEED)
    assert found.judged["errors.reset"] > 0.9 * PAIRS
    assert found.false["errors.reset"] <= MOST


@pytest.mark.parametrize("intervals", [6, 12, 24])
@pytest.mark.parametrize("name", ["independent", "noisy AR(1) 0.3", "AR(1) 0.6"])
def test_runs_that_are_a_tenth_slower_do_not_pass_a_gate_of_five_percent(name: str, intervals: int) -> None:
    assert passing(rates(Cell(NAMED[name], intervals, False), -0.1, 200, SEED)) <= 0.05


def test_long_runs_show_what_short_ones_do_not() -> None:
    short, long = (power(rates(Cell(Process("steady"), count, False), -0.1, 40, SEED)) for count in (6, 60))
    assert short < 0.5 < 0.8 < long


def test_the_interval_over_few_images_is_students() -> None:
    student, bootstrap = image_coverage(4, 300, np.random.default_rng(SEED))
    assert student < 0.09 < bootstrap

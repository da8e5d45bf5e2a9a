"""Quantiles of Student's t, against printed tables."""

from __future__ import annotations

import pytest

from lib.student import reach


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        (1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (10, 2.22814), (30, 2.04227), (100, 1.98397),
        (1e6, 1.95997),
    ],
)  # fmt: skip
def test_it_is_that_of_the_tables(free: float, expected: float) -> None:
    assert reach(free) == pytest.approx(expected, rel=2e-6)


def test_fractions_lie_between() -> None:
    assert reach(2) > reach(2.3) > reach(2.6) > reach(3)

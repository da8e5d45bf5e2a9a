"""The scalability law: it is fitted, its knee and its peak are reported only if they are sure."""

from __future__ import annotations

import random

import pytest

from lib.results.usl import Fit, Point, fit


def law(lam: float, sigma: float, kappa: float, workers: range) -> list[Point]:
    return [Point(n, lam * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))) for n in workers]


def fitted(points: list[Point]) -> Fit:
    found = fit(points)
    assert found is not None
    return found


def noisy(rate: float, noise: float, chance: random.Random) -> float:
    return rate * chance.gauss(1, noise)


@pytest.mark.parametrize(
    ("lam", "sigma", "kappa", "most"),
    [
        (50, 0.05, 0.002, 20),
        (30, 0.3, 0.01, 12),
        (1000, 0.01, 0.0001, 40),
        (5, 0.9, 0.1, 6),
        (100, 0.1, 0, 10),
    ],
)
def test_the_fit_recovers_the_law(lam: float, sigma: float, kappa: float, most: int) -> None:
    found = fitted(law(lam, sigma, kappa, range(1, most + 1)) * 2)
    assert found.lam == pytest.approx(lam, rel=1e-3)
    assert found.sigma.value == pytest.approx(sigma, rel=2e-3)
    assert found.kappa.value == pytest.approx(kappa, rel=2e-3, abs=1e-5)
    for n in (1, most):
        assert found.rate(n) == pytest.approx(lam * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)), rel=1e-3)


@pytest.mark.parametrize(("capacity", "most"), [(2, 8), (3, 6), (4, 8), (4, 16), (8, 24), (16, 48)])
def test_knee_and_plateau_of_a_server_with_a_hard_limit(capacity: int, most: int) -> None:
    chance = random.Random(capacity * most)
    found = fitted(
        [Point(n, noisy(10 * min(n, capacity), 0.02, chance), 0.2) for n in [*range(1, most + 1)] * 2]
    )
    assert found.plateau == pytest.approx(10 * capacity, rel=0.15)
    assert found.knee is not None
    assert found.knee.value == pytest.approx(capacity, abs=1)
    assert found.knee.low <= found.knee.value <= found.knee.high
    assert found.peak is None


@pytest.mark.parametrize("most", [6, 8, 12])
def test_a_plateau_has_a_knee_and_no_peak(most: int) -> None:
    """10, 20, 30, 40, 40, 40, …"""
    found = fitted([Point(n, 10.0 * min(n, 4)) for n in range(1, most + 1)])
    assert found.knee is not None
    assert found.knee.value == pytest.approx(4, abs=0.5)
    assert found.peak is None


def test_a_rate_that_falls_has_a_peak() -> None:
    chance = random.Random(5)
    points = [
        point._replace(rate=noisy(point.rate, 0.01, chance), error=0.5)
        for point in law(10, 0, 0.02, range(1, 17)) * 2
    ]
    found = fitted(points)
    assert found.peak is not None
    assert found.peak.low <= 0.02**-0.5 <= found.peak.high


@pytest.mark.parametrize("noise", [0.05, 0.1])
def test_linear_truth_with_noise_has_no_knee(noise: float) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        most = 6 + seed % 10
        levels = [*range(1, most + 1), *range(most, 0, -1)]
        found = fitted([Point(n, noisy(10.0 * n, noise, chance)) for n in levels])
        assert (found.knee, found.peak) == (None, None), seed


def test_workers_with_slower_images_are_no_contention() -> None:
    """Four workers have 10 pulls per second alone, four others 3.3: the server scales perfectly."""
    demand = [10.0 * min(n, 4) + 10 / 3 * max(0, n - 4) for n in range(1, 9)]
    points = [Point(n, rate, 0.1, rate) for n, rate in enumerate(demand, 1)] * 2
    assert fitted(points).knee is None
    assert fitted([point._replace(demand=None) for point in points]).knee is not None


@pytest.mark.parametrize(
    "points",
    [[], [Point(1, 5.0)], law(10, 0.1, 0, range(1, 6)) * 2, [Point(n, 0.0) for n in range(1, 9)]],
)
def test_too_few_points_have_no_fit(points: list[Point]) -> None:
    assert fit(points) is None

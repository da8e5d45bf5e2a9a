"""The scalability law: it is fitted, its knee and its peak are reported only if they are sure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

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
    assert found.usl
    assert found.peak.low <= 0.02**-0.5 <= found.peak.high


@pytest.mark.statistics
@pytest.mark.parametrize("noise", [0.05, 0.1])
def test_linear_truth_with_noise_has_no_knee(noise: float) -> None:
    for seed in range(30):
        chance = random.Random(seed)
        most = 6 + seed % 10
        levels = [*range(1, most + 1), *range(most, 0, -1)]
        found = fitted([Point(n, noisy(10.0 * n, noise, chance)) for n in levels])
        assert (found.knee, found.peak) == (None, None), seed


def test_workers_with_slower_images_are_no_contention() -> None:
    """Four workers have 10 pulls per second alone, four others 2: the server scales perfectly."""
    demand = [10.0 * min(n, 4) + 2 * max(0, n - 4) for n in range(1, 9)]
    points = [Point(n, rate, 0.1, rate) for n, rate in enumerate(demand, 1)] * 2
    assert fitted(points).knee is None
    assert fitted([point._replace(demand=None) for point in points]).knee is not None


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("limit", "most"),
    [(4, 6), (4, 16), (4, 32), (4, 64), (4, 128), (3, 200), (1, 16), (8, 16), (5, 12), (100, 120), (2.5, 12)],
)
@pytest.mark.parametrize("error", [0.0, 0.01, 0.02])
def test_the_knee_of_a_hard_limit_is_right_for_any_number_of_workers(
    limit: float, most: int, error: float
) -> None:
    """10, 20, 30, 40, 40 … to 128 workers: however long the plateau is, the knee is 4."""
    rates = [10.0 * min(n, limit) for n in range(1, most + 1)]
    found = fitted([Point(n, rate, error * rate) for n, rate in enumerate(rates, 1)] * 2)
    assert found.knee is not None
    assert found.knee.value == pytest.approx(limit, rel=0.02)
    assert found.knee.low <= limit * 1.001
    assert found.knee.high >= limit * 0.999
    assert found.peak is None


SERVERS: dict[str, tuple[Callable[[int], float], int]] = {
    "hard limit 4 of 64": (lambda n: 10 * min(n, 4), 64),
    "hard limit 8 of 16": (lambda n: 10 * min(n, 8), 16),
    "hard limit 5 of 12": (lambda n: 10 * min(n, 5), 12),
    "hard limit 1 of 16": (lambda n: 10 * min(n, 1), 16),
    "USL": (lambda n: 10 * n / (1 + 0.05 * (n - 1) + 0.002 * n * (n - 1)), 20),
    "USL that falls": (lambda n: 10 * n / (1 + 0.02 * (n - 1) + 0.01 * n * (n - 1)), 16),
    "contention, then a hard limit": (lambda n: min(10 * n / (1 + 0.03 * (n - 1)), 60), 20),
    "hard limit, then a fall": (lambda n: 10 * min(n, 6) / (1 + 0.02 * max(0, n - 6)), 16),
}


@pytest.mark.statistics
@pytest.mark.parametrize("server", SERVERS)
def test_the_interval_covers_the_true_knee(server: str) -> None:
    """The true knee is the highest rate, divided by that of one worker; each rate has noise of 4 %."""
    rate, most = SERVERS[server]
    true = max(map(rate, range(1, most + 1))) / rate(1)
    chance = random.Random(server)
    covered = 0
    for _ in range(20):
        levels = [*range(1, most + 1)] * 2
        found = fitted([Point(n, noisy(rate(n), 0.04, chance), 0.04 * rate(n)) for n in levels])
        assert found.knee is not None
        assert found.knee.value == pytest.approx(true, rel=0.15)
        covered += found.knee.low <= true <= found.knee.high
    assert covered >= 17


@pytest.mark.statistics
def test_a_law_that_does_not_fit_has_a_wider_interval() -> None:
    """The rates go up and down around a hard limit, as no law does."""

    def width(bend: float) -> float:
        rates = [10 * min(n, 8) * (1 + bend * math.sin(n)) for n in range(1, 17)]
        found = fitted([Point(n, rate, 0.01 * rate) for n, rate in enumerate(rates, 1)] * 2)
        assert found.knee is not None
        return found.knee.high - found.knee.low

    assert width(0.05) > 2 * width(0)


@pytest.mark.parametrize(
    "points",
    [
        [],
        [Point(1, 5.0)],
        law(10, 0.1, 0, range(1, 6)) * 2,
        [Point(n, 0.0) for n in range(1, 9)],
        [Point(n, 10.0 * n) for n in range(1000, 1007)],
    ],
)
def test_too_few_points_have_no_fit(points: list[Point]) -> None:
    assert fit(points) is None

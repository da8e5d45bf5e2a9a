"""Checks how often the interval of the knee covers the true knee, and compares ways to compute it.

    python -m benchmarks.knees [--runs N] [--other-runs N]

The rates of a ramp up and down are made from a known law, with noise. The true knee is the highest rate up to the most
workers, divided by the rate of one worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

import click
import numpy as np

from lib.results.usl import Point, best_law, fit

# Standard errors of a 95 % interval; draws of the bootstrap; the step of a derivative, as a share of a standard error.
REACH, DRAWS, STEP = 1.96, 20, 0.1


class Truth(NamedTuple):
    """A server: its rate with N workers, and the most workers of the ramp."""

    name: str
    rate: Callable[[int], float]
    most: int

    @property
    def knee(self) -> float:
        return max(self.rate(n) for n in range(1, self.most + 1)) / self.rate(1)


class Interval(NamedTuple):
    low: float
    high: float


def hard(limit: float, most: int) -> Truth:
    return Truth(f"hard limit {limit:g}, to {most}", lambda n: 10 * min(n, limit), most)


def law(sigma: float, kappa: float, most: int) -> Truth:
    return Truth(
        f"USL σ {sigma:g} κ {kappa:g}, to {most}",
        lambda n: 10 * n / (1 + sigma * (n - 1) + kappa * n * (n - 1)),
        most,
    )


def queue(servers: int, think: float, most: int) -> Truth:
    """A queue with so many servers; each worker thinks for `think` service times between its pulls (M/M/c//N)."""

    def rate(n: int) -> float:
        shares = [1.0]
        for busy in range(1, n + 1):
            shares.append(shares[-1] * (n - busy + 1) / think / min(busy, servers))
        return sum(min(busy, servers) * share for busy, share in enumerate(shares)) / sum(shares)

    return Truth(f"queue of {servers}, thinks {think:g}, to {most}", rate, most)


TRUTHS = (
    *(hard(4, most) for most in (8, 16, 64, 128)),
    *(hard(3, 200), hard(1, 16), hard(8, 16), hard(5, 12), hard(3.5, 12)),
    *(law(0.05, 0.002, 20), law(0.2, 0, 16), law(0.02, 0.01, 16), law(0.3, 0.01, 12)),
    Truth("contention 0.03, hard limit 6, to 20", lambda n: min(10 * n / (1 + 0.03 * (n - 1)), 60), 20),
    Truth("hard limit 6, falls, to 16", lambda n: 10 * min(n, 6) / (1 + 0.02 * max(0, n - 6)), 16),
    *(queue(1, 4, 16), queue(1, 9, 24), queue(2, 9, 40)),
    *(Truth(f"linear, to {most}", lambda n: 10 * n, most) for most in (6, 12, 40)),
)


def measured(truth: Truth, noise: float, chance: np.random.Generator) -> list[Point]:
    levels = [*range(1, truth.most + 1), *range(truth.most, 0, -1)]
    return [
        Point(n, truth.rate(n) * (1 + noise * chance.standard_normal()), noise * truth.rate(n))
        for n in levels
    ]


def by_profile(points: Sequence[Point], _: np.random.Generator) -> Interval | None:
    """The method in use: the knees of all laws that fit hardly worse than the best."""
    found = fit(points)
    return None if found is None or found.knee is None else Interval(found.knee.low, found.knee.high)


def by_bootstrap(points: Sequence[Point], chance: np.random.Generator) -> Interval | None:
    """The rates are drawn again with their errors, and fitted each time."""
    drawn = [
        knee([each._replace(rate=each.rate + each.error * chance.standard_normal()) for each in points])
        for _ in range(DRAWS)
    ]
    half = REACH * stdev(drawn)
    return Interval(knee(points) - half, knee(points) + half)


def by_delta(points: Sequence[Point], _: np.random.Generator) -> Interval | None:
    """The delta method: the errors of the rates, times the derivative of the knee by each rate."""
    at = knee(points)
    changes = []
    for place, point in enumerate(points):
        others = list(points)
        others[place] = point._replace(rate=point.rate + STEP * point.error)
        changes.append((knee(others) - at) / STEP)
    half = REACH * math.hypot(*changes)
    return Interval(at - half, at + half)


def knee(points: Sequence[Point]) -> float:
    found = best_law(points)
    return math.nan if found is None else found.plateau / found.lam


METHODS = {"profile": by_profile, "bootstrap": by_bootstrap, "delta": by_delta}


def row(truth: Truth, method: str, runs: int, noise: float) -> Iterator[str]:
    """Yields how often there is a knee, how often its interval covers the true one, and how wide it is."""
    chance = np.random.default_rng(1)
    found = [METHODS[method](measured(truth, noise, chance), chance) for _ in range(runs)]
    knees = [each for each in found if each is not None]
    yield f"{100 * len(knees) / max(1, runs):.0f}"
    yield f"{100 * fmean(k.low <= truth.knee <= k.high for k in knees):.0f}" if knees else "-"
    yield f"{median(k.high - k.low for k in knees):.2f}" if knees else "-"


@click.command()
@click.option("--runs", default=200, show_default=True, help="Runs for each truth.")
@click.option("--other-runs", default=40, show_default=True, help="Runs with each of the methods not in use.")
@click.option(
    "--noise", default=0.04, show_default=True, help="Standard deviation of a rate, as a share of it."
)
def main(runs: int, other_runs: int, noise: float) -> None:
    """Print how often each method finds a knee, covers the true one (in percent), and how wide its interval is."""
    print("| server | true knee | found | covered | width |\n|---|--:|--:|--:|--:|")
    for truth in TRUTHS:
        cells = " | ".join(row(truth, "profile", runs, noise))
        print(f"| {truth.name} | {truth.knee:.2f} | {cells} |", flush=True)
    for method in METHODS if other_runs else ():
        print(f"\n{method}:\n| server | true knee | found | covered | width |\n|---|--:|--:|--:|--:|")
        for truth in (hard(4, 8), hard(8, 16), hard(5, 12), law(0.05, 0.002, 20), law(0.02, 0.01, 16)):
            cells = " | ".join(row(truth, method, other_runs, noise))
            print(f"| {truth.name} | {truth.knee:.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

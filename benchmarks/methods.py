"""Compares ways to compute the confidence interval of a change of the rate: which one `compare` uses, and why.

    python -m benchmarks.methods [--pairs N]

prints how often each interval excludes the true change, and its median width, in percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import click
import numpy as np

from benchmarks.made_runs import PROCESSES, levels
from lib.compare.bootstrap import draws, spread
from lib.compare.pulls import Floats
from lib.student import reach

INTERVALS = (6, 7, 8, 12, 24, 60, 120)
Ends = tuple[float, float]


def by_blocks(length: Callable[[int], float]) -> Callable[[Floats, Floats], Ends]:
    """Returns the block bootstrap with blocks of `length(n)` of n intervals, at least one."""

    def ends(a: Floats, b: Floats) -> Ends:
        count = len(a)
        block = max(1.0, length(count))
        weights = draws(count, 1, block)
        values = np.log(weights @ b) - np.log(weights @ a)
        away = spread(values, count, block)
        assert away is not None
        return values[0] + away[0], values[0] + away[1]

    return ends


def by_cosines(a: Floats, b: Floats) -> Ends:
    """Returns the interval of the equally weighted cosine estimator, with its Student's t.

    E. Lazarus, D. Lewis, J. Stock and M. Watson, "HAR inference: recommendations for practice" (Journal of Business &
    Economic Statistics, 2018).
    """
    count = len(a)
    terms = max(3, round(0.4 * count ** (2 / 3)))
    away = b / b.mean() - a / a.mean()
    times = (np.arange(count) + 0.5) / count
    waves = math.sqrt(2) * np.cos(math.pi * np.outer(np.arange(1, terms + 1), times))
    variance = float(((waves @ away) ** 2).sum()) / count / terms
    change, half = math.log(b.sum() / a.sum()), reach(terms) * math.sqrt(variance / count)
    return change - half, change + half


METHODS: Mapping[str, Callable[[Floats, Floats], Ends]] = {
    "blocks of n^0.6 − 0.93": by_blocks(lambda count: count**0.6 - 0.93),
    "whole blocks of n^0.57": by_blocks(lambda count: int(count**0.57)),
    "blocks of √n": by_blocks(lambda count: int(count**0.5 + 0.5)),
    "cosines": by_cosines,
}


@click.command()
@click.option("--pairs", "count", default=400, show_default=True, help="Pairs for each figure.")
@click.option("--seed", default=1, show_default=True)
def main(count: int, seed: int) -> None:
    """Print how often each method errs, and the median width of its interval, in percent."""
    print(f"| runs | intervals | {' | '.join(METHODS)} |\n|---|--:|{'--:|' * len(METHODS)}")
    for process in PROCESSES[:3]:
        for intervals in INTERVALS:
            rates = np.exp(
                process.unsteady * levels(process, 2 * count, intervals, np.random.default_rng(seed))
            )
            cells = []
            for ends in METHODS.values():
                found = np.array([ends(a, b) for a, b in zip(rates[::2], rates[1::2], strict=True)])
                errs = np.mean((found[:, 0] > 0) | (found[:, 1] < 0))
                cells.append(f"{100 * errs:.1f} ({100 * np.median(found[:, 1] - found[:, 0]):.1f})")
            print(f"| {process.name} | {intervals} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

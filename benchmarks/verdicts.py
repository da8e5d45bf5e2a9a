"""Measures how often `compare` errs: false verdicts on equal runs, and its power to find true changes.

    python -m benchmarks.verdicts [--pairs N] [--seed N]

makes pairs of runs at random whose true difference is known, compares them with the code of `compare`, and prints the
tables of docs/explanation/what-the-figures-mean.md. With 50 pairs for each cell, this takes about two minutes.

A verdict on equal runs is false if the confidence interval excludes zero. The margin is left out: it would hide how
often the interval errs. Power uses the margin: the share of pairs whose rate is called slower.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

import click
import numpy as np

from benchmarks.made_runs import PROCESSES, Process, pairs, run_of
from lib.compare.comparison import Rules, compare
from lib.compare.mixes import weighted_ratio
from lib.compare.pair import Pair
from lib.compare.quantities import RATE, SLOWER, Quantity, is_share
from lib.compare.thresholds import MET, judge, parse_limit
from lib.student import CONFIDENCE

# With events, short runs are cut into 24 intervals anyway.
INTERVALS = {False: (6, 12, 24, 60, 120), True: (6, 24, 60)}
CHANGES = (-0.03, -0.05, -0.10)
GATE = parse_limit("rate>-5%")
IMAGES = (2, 4, 8, 20, 100)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of runs: how they vary, how many intervals they have, whether there are events."""

    process: Process
    intervals: int
    events: bool


@dataclass(frozen=True, slots=True)
class Errs:
    """False verdicts by row, as shares of the pairs that had an interval. `judged` has the number of those pairs."""

    false: Mapping[str, float]
    judged: Mapping[str, int]

    def worst(self, *, shares: bool) -> float:
        """Returns the highest share of the latencies, or of errors and retries. Without events, it is the mean's."""
        rows = [name for name in self.false if name != RATE and is_share(name) == shares]
        return max((self.false[name] for name in rows), default=0.0)


def errs(cell: Cell, count: int, seed: int) -> Errs:
    """Compares equal runs."""
    false, judged = Counter[str](), Counter[str]()
    for one, other in pairs(cell.process, count, cell.intervals, 0.0, np.random.default_rng(seed)):
        runs = (run_of(made, cell.intervals, events=cell.events) for made in (one, other))
        a, b = ((run,) for run in runs)
        for each in compare(a, b, Rules()).quantities:
            if each.low is not None and each.high is not None:
                judged[each.name] += 1
                false[each.name] += each.low > 0 or each.high < 0
    return Errs({name: false[name] / of for name, of in judged.items()}, judged)


def rates(cell: Cell, change: float, count: int, seed: int) -> list[Quantity]:
    """Compares runs whose rates differ by `change`."""
    rules, found = Rules(), []
    for one, other in pairs(cell.process, count, cell.intervals, change, np.random.default_rng(seed)):
        a, b = (run_of(made, cell.intervals, events=cell.events) for made in (one, other))
        found.append(next(Pair(a, b, seed=rules.seed, margins=rules.margins).quantities()))
    return found


def power(found: Sequence[Quantity]) -> float:
    return sum(each.verdict == SLOWER for each in found) / len(found)


def passing(found: Sequence[Quantity]) -> float:
    """Returns the share that meets the gate of -5 %."""
    return sum(judge(GATE, [each]).verdict == MET for each in found) / len(found)


def _rows(count: int, seed: int, *, events: bool) -> Iterator[str]:
    heads = [
        "runs",
        "intervals",
        "rate",
        "latencies" if events else "mean",
        "errors",
        *(f"power {100 * c:+.0f} %" for c in CHANGES),
    ]
    yield f"| {' | '.join((*heads, 'passes -5 %'))} |"
    yield f"|---|{'--:|' * (len(heads))}"
    for process in PROCESSES:
        for intervals in INTERVALS[events]:
            cell = Cell(process, intervals, events)
            found = errs(cell, count, seed)
            changed = [rates(cell, change, count, seed + 1) for change in CHANGES]
            figures = [
                *(found.false[RATE], found.worst(shares=False), found.worst(shares=True)),
                *map(power, changed),
                passing(changed[-1]),
            ]
            yield f"| {process.name} | {intervals} | {' | '.join(f'{100 * each:.1f}' for each in figures)} |"


def image_coverage(images: int, count: int, chance: np.random.Generator) -> tuple[float, float]:
    """Returns how often the interval of the equally weighted ratio excludes the true one: Student's, the bootstrap's.

    The images' ratios are lognormal, with a standard deviation of 0.3.
    """
    away = np.zeros(2)
    for _ in range(count):
        logs = 0.3 * chance.standard_normal(images)
        found = weighted_ratio("images", [*logs])
        drawn = logs[chance.integers(0, images, (1000, images))].mean(axis=1)
        tail = (1 - CONFIDENCE) / 2
        for place, (low, high) in enumerate(
            ((log(found.low or 0.1), log(found.high or 10.0)), np.quantile(drawn, (tail, 1 - tail)))
        ):
            away[place] += low > 0 or high < 0
    student, bootstrap = away / count
    return float(student), float(bootstrap)


@click.command()
@click.option("--pairs", "count", default=50, show_default=True, help="Pairs for each cell of the tables.")
@click.option("--seed", default=1, show_default=True)
def main(count: int, seed: int) -> None:
    """Print the tables of false verdicts and of power, in percent."""
    for events in (False, True):
        print(f"\n{'With' if events else 'Without'} events, {count} pairs for each figure:\n")
        for row in _rows(count, seed, events=events):
            print(row)
            sys.stdout.flush()
    print("\nEqually weighted ratio, intervals that exclude the true one:\n")
    print("| images | Student's t | bootstrap |\n|--:|--:|--:|")
    for images in IMAGES:
        student, bootstrap = image_coverage(images, 20 * count, np.random.default_rng(seed))
        print(f"| {images} | {100 * student:.1f} | {100 * bootstrap:.1f} |")


if __name__ == "__main__":
    main()

"""Compares ways to compute the rate of a step, and checks how often its confidence interval covers the true rate.

    python -m benchmarks.steps [--runs N]

Simulated workers pull one image after the other, from a server that they do not slow down. So a step with N workers has
a true rate of N / mean latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from statistics import fmean
from typing import NamedTuple

import click

from lib.load.shares import Shares

WORKERS, SECONDS = 6, 10.0
# Mean latencies in seconds, and the spread of a latency: the shape of a gamma distribution.
LATENCIES, SHAPE = (0.1, 0.5, 2.0, 5.0), 4.0
COVERED = (0.05, 0.2, 0.5)


class Span(NamedTuple):
    began: float
    ended: float


class Level(NamedTuple):
    """A step of the ramp: from `start` to `end`, with this number of workers."""

    start: float
    end: float
    workers: int
    up: bool


def ramp() -> Iterator[Level]:
    levels = [*range(1, WORKERS + 1), *range(WORKERS, 0, -1)]
    for place, workers in enumerate(levels):
        yield Level(place * SECONDS, (place + 1) * SECONDS, workers, place < WORKERS)


def pulls(latency: float, chance: Random) -> list[Span]:
    """Returns the pulls of a ramp. A stopped worker finishes its pull."""
    found = []
    for worker in range(WORKERS):
        at, stop = worker * SECONDS, (2 * WORKERS - worker) * SECONDS
        while at < stop:
            ended = at + chance.gammavariate(SHAPE, latency / SHAPE)
            found.append(Span(at, ended))
            at = ended
    return found


def by_ends(level: Level, spans: list[Span]) -> float:
    return sum(level.start <= span.ended < level.end for span in spans) / (level.end - level.start)


def by_shares(level: Level, spans: list[Span]) -> float:
    shares = Shares(level.start)
    shares.close(level.end)
    for span in spans:
        shares.add(*span)
    return shares.total / (level.end - level.start)


def by_little(level: Level, spans: list[Span]) -> float:
    """Returns N / mean latency of the pulls that ended in the step (J. Little, 1961)."""
    ended = [span.ended - span.began for span in spans if level.start <= span.ended < level.end]
    return level.workers / fmean(ended) if ended else 0.0


METHODS: Mapping[str, Callable[[Level, list[Span]], float]] = {
    "ends": by_ends,
    "shares of time": by_shares,
    "Little's law": by_little,
}


def _bias(latency: float, runs: int, chance: Random) -> Iterator[str]:
    """Yields for each method how far the steps up and down are from the true rate, in percent."""
    ran = [pulls(latency, chance) for _ in range(runs)]
    for method in METHODS.values():
        for up in (True, False):
            away = [
                method(level, spans) * latency / level.workers - 1
                for spans in ran
                for level in ramp()
                if level.up == up
            ]
            yield f"{100 * fmean(away):+.1f}"


def _misses(latency: float, runs: int, chance: Random) -> tuple[float, float]:
    """Returns how often the interval of a step of 10 s with 6 workers misses the true rate, and its mean half width."""
    missed, widths = 0, []
    for _ in range(runs):
        shares = Shares(0.0)
        shares.close(SECONDS)
        for _ in range(WORKERS):
            at = -latency * (5 + chance.random())
            while at < SECONDS:
                ended = at + chance.gammavariate(SHAPE, latency / SHAPE)
                shares.add(at, ended)
                at = ended
        interval = shares.interval()
        if interval is not None:
            missed += not interval.low <= WORKERS / latency <= interval.high
            widths.append((interval.high - interval.low) / 2 * latency / WORKERS)
    return missed / max(1, len(widths)), fmean(widths) if widths else 0.0


@click.command()
@click.option("--runs", default=100, show_default=True, help="Runs for each figure.")
@click.option("--seed", default=1, show_default=True)
def main(runs: int, seed: int) -> None:
    """Print the bias of each method, and how often the intervals of steps miss the true rate, in percent."""
    chance = Random(seed)
    heads = [f"{name}, {way}" for name in METHODS for way in ("up", "down")]
    print(f"| mean latency | {' | '.join(heads)} |\n|--:|{'--:|' * len(heads)}")
    for latency in LATENCIES:
        print(f"| {latency:g} s | {' | '.join(_bias(latency, runs, chance))} |", flush=True)
    print("\n| mean latency | misses | half width |\n|--:|--:|--:|")
    for latency in COVERED:
        missed, half = _misses(latency, 10 * runs, chance)
        print(f"| {latency:g} s | {100 * missed:.1f} | {100 * half:.1f} |", flush=True)


if __name__ == "__main__":
    main()

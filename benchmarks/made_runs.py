"""Makes pairs of runs at random, many at a time, whose true difference is known. Nothing is pulled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import msgspec
import numpy as np

from lib.compare.pulls import Flags, Floats, Numbers, Pulls
from lib.compare.recorded_run import Recorded, recorded
from lib.latency import LATENCIES, LEAST, PERCENTILES, Latency
from lib.results.sample import Sample
from lib.results.summary import Drain, Step, Summary

BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
# Of a run: seconds and mean pulls of an interval, the usual latency, and the spread of both from pull to pull.
SECONDS, PULLS, MILLISECONDS, SPREAD = 15.0, 50, 400.0, 0.3
# With two modes: the latency of each, in milliseconds.
FAST, SLOW = 50.0, 500.0
FAILING, RETRYING, FIRST = 0.02, 0.05, 0.3
CLASSES = ("timeout", "reset")
# Bursts of failures: mean number of bursts and intervals between, and failures in each.
BETWEEN_BURSTS, IN_A_BURST = 12, 40
HANGING_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """How runs vary.

    `likeness` is the correlation of the speed in neighbouring intervals, `unsteady` the standard deviation of its
    logarithm. `slow` is the share of pulls that take ten times as long as the others, with nothing in between.
    """

    name: str
    likeness: float = 0.0
    unsteady: float = 0.1
    heavy: bool = False
    slow: float = 0.0
    bursts: bool = False
    drains: bool = False


PROCESSES = (
    Process("independent"),
    Process("AR(1) 0.3", likeness=0.3),
    Process("AR(1) 0.6", likeness=0.6),
    Process("noisy AR(1) 0.3", likeness=0.3, unsteady=0.3),
    Process("bursts of failures", bursts=True),
    Process("heavy tails", heavy=True),
    Process("two modes", slow=0.1),
    Process("drains", drains=True),
)


@dataclass(frozen=True, slots=True)
class Made:
    """The pulls of one run as columns, with the interval of each. Pulls of the drain have the number of intervals."""

    interval: Numbers
    milliseconds: Floats
    error: Numbers
    retries: Floats
    first: Flags
    at: Floats


def pairs(
    process: Process, count: int, intervals: int, change: float, chance: np.random.Generator
) -> Iterator[tuple[Made, Made]]:
    """Yields pairs of runs. The rate of the second is `change` more, and its latencies are less by that factor."""
    speeds = np.exp(process.unsteady * levels(process, 2 * count, intervals, chance))
    speeds[1::2] *= 1 + change
    # workers pull one image after another, so their number varies less than Poisson's
    pulls = PULLS * speeds + SPREAD * np.sqrt(PULLS) * chance.standard_normal(speeds.shape)
    pulled = np.maximum(0, np.rint(pulls)).astype(np.intp)
    for place in range(count):
        yield tuple(_made(process, speeds[k], pulled[k], chance) for k in (2 * place, 2 * place + 1))  # type: ignore[misc]


def levels(process: Process, runs: int, intervals: int, chance: np.random.Generator) -> Floats:
    """Returns an AR(1) process with variance 1 for each run, shape (runs, intervals)."""
    shape = (runs, intervals)
    shocks = chance.standard_t(3, shape) / math.sqrt(3) if process.heavy else chance.standard_normal(shape)
    levels = shocks
    for k in range(1, intervals):
        levels[:, k] = process.likeness * levels[:, k - 1] + math.sqrt(1 - process.likeness**2) * shocks[:, k]
    return levels


def _made(process: Process, speeds: Floats, pulled: Numbers, chance: np.random.Generator) -> Made:
    intervals, count = len(speeds), int(pulled.sum())
    failed = chance.binomial(pulled, FAILING)
    bursts = chance.poisson(1 / BETWEEN_BURSTS if process.bursts else 0.0, intervals)
    burst = IN_A_BURST * bursts.astype(np.intp)
    drained = int(chance.integers(0, 4)) if process.drains else 0
    every = np.arange(intervals)
    interval = np.concatenate([np.repeat(every, part) for part in (pulled, failed, burst)])
    error = np.repeat((-1, 0, 1), (count, int(failed.sum()), int(burst.sum())))
    taken = MILLISECONDS / speeds[interval] * np.exp(SPREAD * chance.standard_normal(len(interval)))
    if process.slow:
        modes = np.where(chance.random(len(taken)) < process.slow, SLOW, FAST)
        taken = modes * chance.uniform(0.9, 1.1, len(taken)) / speeds[interval]
    if process.heavy:
        taken *= np.where(chance.random(len(taken)) < 0.05, 1 + chance.pareto(1.5, len(taken)), 1.0)
    at = SECONDS * (interval + chance.random(len(interval)))
    return Made(
        interval=np.append(interval, np.full(drained, intervals)),
        milliseconds=np.append(taken, np.full(drained, 1000 * HANGING_SECONDS)),
        error=np.append(error, np.full(drained, -1)),
        retries=chance.poisson(RETRYING, len(interval) + drained).astype(np.float64),
        first=chance.random(len(interval) + drained) < FIRST,
        at=np.append(at, SECONDS * intervals + HANGING_SECONDS * chance.random(drained)),
    )


def run_of(made: Made, intervals: int, *, events: bool) -> Recorded:
    """Returns the run as `compare` reads it."""
    ok = made.error < 0
    inside = made.interval < intervals
    failed, retried = (np.bincount(made.interval[rows], made.retries[rows] if retries else None, intervals)
                       for rows, retries in ((~ok, False), (inside, True)))  # fmt: skip
    by_class = [np.bincount(made.interval[made.error == k], minlength=intervals) for k in range(len(CLASSES))]
    latencies = _by_interval(made, intervals)
    pulled = np.bincount(made.interval[ok & inside], minlength=intervals)
    seconds, drained = SECONDS * intervals, int((~inside).sum())
    totals = {name: int(part.sum()) for name, part in zip(CLASSES, by_class, strict=True) if part.any()}
    summary = Summary(
        started=BEGAN, elapsed_seconds=seconds, interrupted=False, settings={}, client=None, images=10,
        pulled=int(ok.sum()), failed=int(failed.sum()), interrupted_pulls=0,
        retried=int(made.retries.sum()), error_rate=float(failed.sum() / len(ok)),
        rate=float(pulled.sum()) / seconds, errors=totals,
        latency_ms=_latency(np.sort(made.milliseconds[ok])),
        first_latency_ms=_latency(np.sort(made.milliseconds[ok & made.first])),
        repeat_latency_ms=_latency(np.sort(made.milliseconds[ok & ~made.first])),
        workers=(), thresholds=(), limited_by=None,
        drain=Drain(seconds=HANGING_SECONDS, pulled=drained, failed=0) if drained else None,
        steps=(
            Step(
                workers=8, direction="hold", seconds=seconds, pulled=int(pulled.sum()), rate=0.0, latency_ms=None
            ),
        ),
        samples=tuple(
            Sample(
                time=BEGAN + timedelta(seconds=SECONDS * (k + 1)), seconds=SECONDS, rate=0.0,
                pulled=int(pulled[k]), failed=int(failed[k]), retried=int(retried[k]),
                errors={name: int(part[k]) for name, part in zip(CLASSES, by_class, strict=True) if part[k]},
                latency_ms=latencies[k],
            )
            for k in range(intervals)
        ),
    )  # fmt: skip
    return recorded("made", summary, _pulls(made) if events else None)


def _pulls(made: Made) -> Pulls:
    return Pulls(
        at=made.at,
        milliseconds=made.milliseconds,
        first=made.first,
        timed=np.ones(len(made.at), dtype=bool),
        error=made.error,
        errors=CLASSES,
        image=np.full(len(made.at), -1),
        images=(),
        retries=made.retries,
    )


def _by_interval(made: Made, intervals: int) -> list[Latency | None]:
    ok = made.error < 0
    order = np.lexsort((made.milliseconds[ok], made.interval[ok]))
    taken, ends = made.milliseconds[ok][order], np.cumsum(np.bincount(made.interval[ok], minlength=intervals))
    return [
        _latency(taken[start:end])
        for start, end in zip((0, *ends[: intervals - 1]), ends[:intervals], strict=True)
    ]


def _latency(ordered: Floats) -> Latency | None:
    """Returns the distribution of sorted latencies, with the nearest rank."""
    count = len(ordered)
    if not count:
        return None
    found = {name: ordered[math.ceil(count * percent / 100) - 1] for name, percent in PERCENTILES.items()}
    found |= {"min": ordered[0], "mean": ordered.mean(), "max": ordered[-1]}
    figures = {name: float(found[name]) if count >= LEAST.get(name, 0) else None for name in LATENCIES}
    return msgspec.convert({"count": count, **figures}, Latency)

"""The scalability law of a run: fitted to its steps, with allowance for image sets of different speed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from .hosts import whole_steps
from .summary import ImageSetCounts, Step, Summary
from .usl import Fit, Law, Point, best_law, fit

# Half a 95 % interval has so many standard errors.
_ERRORS: Final = NormalDist().inv_cdf(0.975)
# Rounds of fitting and correcting the demand of the image sets; it settles within two or three.
_ROUNDS: Final = 3


def law(summary: Summary) -> Fit | None:
    """Returns the fitted law; None if the steps do not support one.

    A schedule and fixed work have no steps in which a known number of workers pulled as fast as they could. In herds,
    workers wait for each other: the rate would level off even if the server had no limit.
    """
    if summary.is_scheduled or summary.settings.get("passes") or summary.in_herds is not None:
        return None
    steps, sets = known_steps(summary), summary.image_sets
    if not sets:  # a summary of an earlier version
        return fit(_points(steps, None))
    sets = sets[: max((step.workers for step in steps), default=0)]
    speeds = _speeds(sets, steps, None)
    for _ in range(_ROUNDS):
        found = best_law(_points(steps, speeds))
        if found is None:
            return None
        speeds = _speeds(sets, steps, found)
    return fit(_points(steps, speeds))


def steps_of(summary: Summary) -> list[Step]:
    """Returns the steps that all hosts carried out. A last step that was interrupted is left out."""
    steps = whole_steps(summary)
    if summary.interrupted and steps and steps[-1] is summary.steps[-1]:
        steps = steps[:-1]
    return [each for each in steps if each.seconds > 0 and each.workers > 0]


def known_steps(summary: Summary) -> list[Step]:
    """Returns the steps in which the speed of each worker's image set is known. Only they are fitted."""
    unknown = unknown_set(summary)
    return [each for each in steps_of(summary) if unknown is None or each.workers <= unknown]


def unknown_set(summary: Summary) -> int | None:
    """Returns the index of the first image set of unknown speed that a step needs; None if there is none.

    The speed of a set is known by its successful pulls. If most pulls failed, they say little about its worker.
    """
    sets = summary.image_sets
    most = max((step.workers for step in steps_of(summary)), default=0)
    if not sets:
        return None
    known = [
        each.latency_ms is not None and each.latency_ms.mean > 0 and each.failed <= each.pulled
        for each in sets[:most]
    ]
    return next(
        (index for index, sure in enumerate([*known, *[False] * (most - len(sets))]) if not sure), None
    )


def _points(steps: Sequence[Step], speeds: Sequence[float] | None) -> list[Point]:
    """Returns the throughput of each step. Worker k pulls the images of set k."""
    return [
        Point(
            workers=each.workers,
            rate=each.rate,
            error=0.0 if each.high is None or each.low is None else (each.high - each.low) / 2 / _ERRORS,
            demand=None if speeds is None else sum(speeds[: each.workers]),
        )
        for each in steps
    ]


def _speeds(sets: Sequence[ImageSetCounts], steps: Sequence[Step], fitted: Law | None) -> list[float]:
    """Returns the rate of one worker alone for each image set.

    The rate is 1 / mean latency, times the mean slowdown while the set was pulled, by the law that was fitted before:
    the worker of a set that only runs at the peak was slowed down by all the others.
    """
    return [
        _slowdown(index, steps, fitted) * 1000 / each.latency_ms.mean
        for index, each in enumerate(sets)
        if each.latency_ms is not None
    ]


def _slowdown(index: int, steps: Sequence[Step], fitted: Law | None) -> float:
    """Returns how much slower, on average over its pulls, the worker with this index was than alone."""
    if fitted is None:
        return 1.0
    shared = [
        (step.seconds, step.seconds * fitted.rate(step.workers) / fitted.perfect(step.workers))
        for step in steps
        if step.workers > index
    ]
    working = sum(worked for _, worked in shared)
    return sum(seconds for seconds, _ in shared) / working if working > 0 else 1.0

"""The scalability law of a run: fitted to its steps, with allowance for image sets of different speed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from .summary import ImageSetCounts, Step, Summary
from .usl import Fit, Point, fit

# Half a 95 % interval has so many standard errors.
_ERRORS: Final = NormalDist().inv_cdf(0.975)
# Rounds of fitting and correcting the demand of the image sets; it settles within two or three.
_ROUNDS: Final = 3


def law(summary: Summary) -> Fit | None:
    """Returns the fitted law; None if the steps do not support one.

    A schedule and fixed work have no steps in which a known number of workers pulled as fast as they could.
    """
    if summary.is_scheduled or summary.settings.get("passes"):
        return None
    steps = steps_of(summary)
    speeds = _speeds(summary.image_sets, steps, None)
    fitted = fit(_points(steps, speeds))
    for _ in range(_ROUNDS):
        if fitted is None or speeds is None:
            break
        speeds = _speeds(summary.image_sets, steps, fitted)
        fitted = fit(_points(steps, speeds))
    return fitted


def steps_of(summary: Summary) -> list[Step]:
    """Returns the steps that were carried out. A last step that was interrupted is left out."""
    steps = summary.steps[:-1] if summary.interrupted else summary.steps
    return [each for each in steps if each.seconds > 0 and each.workers > 0]


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


def _speeds(
    image_sets: Sequence[ImageSetCounts], steps: Sequence[Step], fitted: Fit | None
) -> list[float] | None:
    """Returns the rate of one worker alone for each image set; None if they cannot be told apart.

    The rate is 1 / mean latency, times the mean slowdown while the set was pulled, by the law that was fitted before:
    the worker of a set that only runs at the peak was slowed down by all the others.
    """
    latencies = [each.latency_ms for each in image_sets]
    if len(image_sets) < max((step.workers for step in steps), default=0):
        return None
    speeds = []
    for index, latency in enumerate(latencies):
        if latency is None or latency.mean <= 0:
            return None
        speeds.append(_slowdown(index, steps, fitted) * 1000 / latency.mean)
    return speeds


def _slowdown(index: int, steps: Sequence[Step], fitted: Fit | None) -> float:
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

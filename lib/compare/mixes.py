"""Finds out whether two sides pulled different mixes of images, and compares them as if they had not.

In a closed run, a worker whose images are slow pulls fewer of them. So the server's speed changes the mix, and a rate
or latency over all pulls can hide that some images became much slower.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist, fmean, stdev

from ..student import reach
from .recorded_run import Recorded

# Mixes differ if the share of any images differs by more than this, of all pulls or of its own share.
_DIFFERENT, _ROUNDING = 0.05, 1e-9
# A difference of its own share must not be chance: the probability that any of the shares exceeds it.
_CHANCE = 0.01
Runs = Sequence[Recorded]


@dataclass(frozen=True, slots=True)
class Part:
    """The successful pulls of an image or of an image set. `mean` is the mean latency in milliseconds."""

    pulled: int
    mean: float | None


Parts = Mapping[str, Part]


@dataclass(frozen=True, slots=True)
class Weighted:
    """The geometric mean of the ratios of mean latencies, b to a, over `count` images or image sets.

    `low` and `high` are the ends of its confidence interval. They are None with one image.
    """

    ratio: float
    low: float | None
    high: float | None
    count: int
    what: str


@dataclass(frozen=True, slots=True)
class Mix:
    """The share of the pulls that differs most between the two sides."""

    what: str
    name: str
    a: float
    b: float


def different_mixes(a: Runs, b: Runs) -> Mix | None:
    """Returns how the mixes of both sides differ most; None if they do not differ by more than 5 %."""
    found = [mix for what, one, other in _divisions(a, b) for mix in _differing(what, one, other)]
    return max(found, key=lambda mix: abs(mix.b - mix.a), default=None)


def equally_weighted(a: Runs, b: Runs) -> Weighted | None:
    """Returns the ratio of latencies if all images weigh the same: by image with events, else by image set."""
    for what, one, other in _divisions(a, b):
        pairs = [(one[name].mean, other[name].mean) for name in one if name in other]
        logs = [log(y / x) for x, y in pairs if x and y]
        if logs:
            return weighted_ratio(what, logs)
    return None


def weighted_ratio(what: str, logs: Sequence[float]) -> Weighted:
    """Student's interval over the images: the bootstrap over them is too narrow if there are few."""
    count, middle = len(logs), fmean(logs)
    if count < 2:
        return Weighted(ratio=exp(middle), low=None, high=None, count=count, what=what)
    half = reach(count - 1) * stdev(logs) / sqrt(count)
    return Weighted(
        ratio=exp(middle), low=exp(middle - half), high=exp(middle + half), count=count, what=what
    )


def _divisions(a: Runs, b: Runs) -> Iterator[tuple[str, Parts, Parts]]:
    """Yields the ways to divide the pulls that both sides know, the finest first."""
    images = [_by_image(side) for side in (a, b)]
    if all(images):
        yield "images", images[0], images[1]
    sets = [_by_set(side) for side in (a, b)]
    if all(sets):
        yield "image sets", sets[0], sets[1]


def _by_image(runs: Runs) -> Parts:
    """Returns the pulls by image; nothing if a run has no events."""
    if any(run.pulls is None for run in runs):
        return {}
    return _together(
        (name, Part(*found)) for run in runs if run.pulls for name, found in run.pulls.means().items()
    )


def _by_set(runs: Runs) -> Parts:
    return _together(
        (each.pattern, Part(each.pulled, each.latency_ms.mean if each.latency_ms else None))
        for run in runs
        for each in run.summary.image_sets
    )


def _together(parts: Iterator[tuple[str, Part]]) -> Parts:
    found: dict[str, Part] = {}
    for name, part in parts:
        found[name] = _merged(found[name], part) if name in found else part
    return found


def _merged(one: Part, other: Part) -> Part:
    timed = [part for part in (one, other) if part.mean is not None and part.pulled]
    pulled = sum(part.pulled for part in timed)
    mean = sum(part.pulled * (part.mean or 0.0) for part in timed) / pulled if pulled else None
    return Part(one.pulled + other.pulled, mean)


def _differing(what: str, a: Parts, b: Parts) -> Iterator[Mix]:
    all_a, all_b = (sum(part.pulled for part in side.values()) for side in (a, b))
    if not all_a or not all_b:
        return
    names = {**a, **b}
    far = NormalDist().inv_cdf(1 - _CHANCE / 2 / len(names))
    for name in names:
        some_a, some_b = (side[name].pulled if name in side else 0 for side in (a, b))
        mix = Mix(what, name, some_a / all_a, some_b / all_b)
        away, larger = abs(mix.b - mix.a), max(mix.a, mix.b)
        chance = sqrt(some_a / all_a**2 + some_b / all_b**2)
        if away > _DIFFERENT + _ROUNDING or (away > _DIFFERENT * larger and away > far * chance):
            yield mix

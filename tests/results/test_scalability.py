"""The law of a run: rates per image set, and what has no law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from lib.latency import Latency
from lib.results.precision import in_words, peak, precision
from lib.results.scalability import law
from lib.results.summary import ImageSetCounts, Precision, Step, Summary
from tests.support.summaries import a_summary


def latency(ms: float) -> Latency:
    return Latency(count=500, min=ms, mean=ms, p50=ms, p90=ms, p95=ms, p99=ms, max=ms)


def ramp(most: int, rate: Callable[[int], float], **changes: Any) -> tuple[Step, ...]:
    levels = [(n, "up") for n in range(1, most + 1)] + [(n, "down") for n in range(most, 0, -1)]
    return tuple(
        Step(
            workers=n,
            direction=direction,
            seconds=60.0,
            pulled=0,
            rate=rate(n),
            low=rate(n) * 0.98,
            high=rate(n) * 1.02,
            latency_ms=None,
            **changes,
        )
        for n, direction in levels
    )


def a_run(steps: Sequence[Step], latencies: Sequence[float] = (), **settings: Any) -> Summary:
    sets = tuple(
        ImageSetCounts(pattern=f"{k}", images=1, pulled=100, failed=0, latency_ms=latency(ms))
        for k, ms in enumerate(latencies)
    )
    return msgspec.structs.replace(a_summary(), steps=tuple(steps), image_sets=sets, settings=settings)


def test_a_server_that_scales_perfectly_has_no_knee_whatever_the_images() -> None:
    """Four image sets take 0.1 s, four others 0.3 s."""
    demand = lambda n: 10 * min(n, 4) + 10 / 3 * max(0, n - 4)  # noqa: E731
    found = law(a_run(ramp(8, demand), [100.0] * 4 + [300.0] * 4))
    assert found is not None
    assert found.knee is None


def slowdown(n: int) -> float:
    return 1 + 0.2 * (n - 1)


def test_contention_is_told_from_slow_images() -> None:
    """Every other worker has images that take three times as long, and all are slowed down by contention."""
    most = 12

    def alone(worker: int) -> float:
        return 10.0 if worker % 2 == 0 else 10 / 3

    def mean_latency(worker: int) -> float:
        levels = range(worker + 1, most + 1)
        return 1000 / alone(worker) * len(levels) / sum(1 / slowdown(n) for n in levels)

    steps = ramp(most, lambda n: sum(map(alone, range(n))) / slowdown(n))
    found = law(a_run(steps, [mean_latency(k) for k in range(most)]))
    assert found is not None
    assert found.sigma.value == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("settings", [{"rate": "50"}, {"passes": 3}])
def test_a_schedule_and_fixed_work_have_no_law(settings: dict[str, Any]) -> None:
    assert law(a_run(ramp(8, lambda n: 10.0 * n), **settings)) is None


def test_the_peak_is_the_highest_rate_among_the_steps_with_an_interval() -> None:
    steps = list(ramp(3, lambda n: 10.0 * n))
    steps[2] = msgspec.structs.replace(steps[2], rate=99.0, low=None, high=None)
    found = peak(steps)
    assert found is not None
    assert (found.rate, found.workers) == (30.0, 3)
    assert [found.low, found.high] == pytest.approx([29.4, 30.6])
    assert peak([msgspec.structs.replace(each, low=None, high=None) for each in steps]) is None


def test_precision_shrinks_with_the_root_of_the_time() -> None:
    steps = ramp(2, lambda n: 100.0)  # 4 steps of 60 s, each 100 +- 2
    found = precision(steps)
    assert found is not None
    assert found.percent == pytest.approx(1.0)
    assert found.seconds_for_2_percent == pytest.approx(60.0)
    assert precision([*steps, msgspec.structs.replace(steps[0], low=None)]) is None


@pytest.mark.parametrize(
    ("percent", "seconds", "words"),
    [
        (4.0, 480.0, "±4 % now; ±2 % needs about 8 minutes"),
        (4.04, 421.0, "±4 % now; ±2 % needs about 8 minutes"),
        (2.1, 33.5, "±2.1 % now; ±2 % needs about 34 seconds"),
        (23.0, 5_401.0, "±23 % now; ±2 % needs about 2 hours"),
        (23.0, 3 * 86_400.0, "±23 % now; ±2 % needs about 3 days"),
        (123.0, None, "±123 % now; ±2 % needs more than a year"),
        (2.0, 60.0, "±2 %"),
        (0.314, 1.0, "±0.31 %"),
    ],
)
def test_precision_in_words(percent: float, seconds: float | None, words: str) -> None:
    assert in_words(Precision(percent=percent, seconds_for_2_percent=seconds)) == words

"""The law of a run: rates per image set, and what has no law."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from lib.latency import Latency
from lib.options.thresholds import parse_threshold
from lib.report.scalability import scalability
from lib.results.precision import in_words, peak, precision, why_no_peak
from lib.results.quantity import judge
from lib.results.scalability import known_steps, law
from lib.results.summary import Herds, ImageSetCounts, Precision, Step, Summary
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


def test_herds_have_no_law() -> None:
    """A server without a limit, whose latencies vary: each further worker adds to the wait for the slowest pull."""
    harmonic = [sum(1 / k for k in range(1, n + 1)) for n in range(1, 11)]
    run = a_run(ramp(10, lambda n: 10 * n / harmonic[n - 1]), [100.0] * 10)
    assert law(run) is not None
    in_herds = msgspec.structs.replace(run, herds=Herds(count=9, spread_ms=None, latency_ms=None, late=0))
    assert law(in_herds) is None
    assert "workers wait for each other" in scalability(in_herds).note


@pytest.mark.parametrize("settings", [{"rate": "50"}, {"passes": 3}])
def test_a_schedule_and_fixed_work_have_no_law(settings: dict[str, Any]) -> None:
    assert law(a_run(ramp(8, lambda n: 10.0 * n), **settings)) is None


SLOW_HALF = [100.0] * 4 + [300.0] * 4


@pytest.mark.statistics
@pytest.mark.parametrize(
    ("latencies", "failing", "judged"),
    [
        (SLOW_HALF, {7}, 7),
        (SLOW_HALF, {4}, 4),
        ([100.0] * 8, {4, 5, 6, 7}, 4),
        ([100.0] * 10, {4, 5, 6, 7, 8, 9}, 4),
        ([100.0] * 12, {11}, 11),
        ([100.0] * 12, {0}, 0),
    ],
)
@pytest.mark.parametrize("pulled", [0, 3])
def test_an_image_set_that_fails_is_no_knee(
    latencies: list[float], failing: set[int], judged: int, pulled: int
) -> None:
    """The server scales perfectly. A set that fails adds nothing to the rate, and its speed is unknown."""
    alone = [0.0 if k in failing else 1000 / ms for k, ms in enumerate(latencies)]
    run = a_run(ramp(len(latencies), lambda n: sum(alone[:n])), latencies)
    sets = tuple(
        msgspec.structs.replace(
            each, pulled=pulled, failed=100, latency_ms=each.latency_ms if pulled else None
        )
        if k in failing
        else each
        for k, each in enumerate(run.image_sets)
    )
    run = msgspec.structs.replace(run, image_sets=sets)
    found = law(run)
    assert found is None or found.knee is None
    assert {step.workers for step in known_steps(run)} == set(range(1, judged + 1))
    assert (found is not None) == (judged >= 6)
    shown = scalability(run).note
    assert f"Most pulls of image set {min(failing) + 1} failed, so its speed is unknown." in shown


@pytest.mark.statistics
def test_the_knee_before_an_image_set_that_fails_is_found() -> None:
    """A hard limit of 4: pulls take 0.1 s with up to four workers, and then longer."""
    most = 12

    def mean_latency(worker: int) -> float:
        levels = range(worker + 1, most + 1)
        return 100 * len(levels) / sum(1 / max(1, n / 4) for n in levels)

    run = a_run(ramp(most, lambda n: 10.0 * min(n, 4)), [mean_latency(k) for k in range(most)])
    whole = law(run)
    last = msgspec.structs.replace(run.image_sets[-1], pulled=0, failed=9, latency_ms=None)
    found = law(msgspec.structs.replace(run, image_sets=(*run.image_sets[:-1], last)))
    for each in (whole, found):
        assert each is not None
        assert each.knee is not None
        assert each.knee.value == pytest.approx(4, abs=0.2)


def test_the_peak_is_the_step_with_the_highest_rate() -> None:
    steps = ramp(3, lambda n: 10.0 * n)
    found = peak(steps)
    assert found is not None
    assert (found.rate, found.workers) == (30.0, 3)
    assert [found.low, found.high] == pytest.approx([29.4, 30.6])
    assert why_no_peak(steps, {}) is None


def without_interval(step: Step, **changes: Any) -> Step:
    return msgspec.structs.replace(step, low=None, high=None, **changes)


def test_a_step_that_is_too_short_may_be_the_peak() -> None:
    """9.25 pulls per second with one worker, about 10.9 with more, in steps that are too short to judge."""
    rates = {1: 9.25, 2: 10.6, 3: 10.9}
    one, *others = ramp(3, lambda n: rates[n])
    steps = [one, *map(without_interval, others)]
    assert peak(steps) is None
    told = "the steps are too short to tell the peak; give a longer --iteration-seconds"
    assert why_no_peak(steps, {}) == told
    slower = [one, *(without_interval(each, rate=9.2) for each in others)]
    assert peak(slower) is not None
    assert peak([without_interval(each) for each in others]) is None
    assert why_no_peak([without_interval(one, rate=0.0)], {}) is None
    run = msgspec.structs.replace(a_run(steps), peak=None)
    assert f"The highest rate is not known: {told}." in scalability(run).note
    for expression in ("peak.rate>1", "peak.workers>=1", "peak.p99<9s"):
        judged = judge(parse_threshold(expression), run)
        assert (judged.value, judged.passed) == (None, False)
        assert "was not measured, must be " in judged.told
        assert judged.told.endswith(f" ({told})")


@pytest.mark.parametrize(
    ("settings", "direction", "longer"),
    [
        ({"iteration_seconds": 60.0}, "up", "a longer --iteration-seconds"),
        ({"iteration_seconds": 60.0, "rate": "10:50"}, "up", "a longer --iteration-seconds"),
        ({"iteration_seconds": 60.0, "hold": 5.0}, "hold", "a longer --hold"),
        ({"iteration_seconds": 1.0, "hold": 5.0}, "down", "a longer --iteration-seconds"),
        ({"iteration_seconds": None, "duration": 5.0}, "hold", "a longer --duration"),
        ({"iteration_seconds": None, "stage": ["1s:4"]}, "up", "longer stages (--stage)"),
        ({"iteration_seconds": None, "stage": ["1s:4", "1s:4"]}, "hold", "longer stages (--stage)"),
        ({"iteration_seconds": 2.0, "passes": 2}, "up", "more --passes"),
        ({"iteration_seconds": None, "passes": 2}, "hold", "more --passes"),
    ],
)
def test_the_advice_for_a_peak_is_an_option_of_the_run(
    settings: dict[str, Any], direction: str, longer: str
) -> None:
    one = without_interval(ramp(1, lambda n: 10.0 * n)[0], direction=direction)
    told = f"the steps are too short to tell the peak; give {longer}"
    assert why_no_peak([one], settings) == told


def test_precision_shrinks_with_the_root_of_the_time() -> None:
    steps = ramp(2, lambda n: 100.0)  # 4 steps of 60 s, each 100 +- 2
    found = precision(steps)
    assert found is not None
    assert found.percent == pytest.approx(1.0)
    assert found.seconds_for_2_percent == pytest.approx(60.0)
    assert precision([*steps, msgspec.structs.replace(steps[0], low=None)]) is None
    idle = without_interval(steps[0], workers=0, rate=0.0)
    not_due = without_interval(steps[0], offered=0.0, rate=0.0)
    for more in ([idle], [not_due], [idle, not_due]):
        longer = precision([*more, *steps])
        assert longer is not None
        assert longer.percent == found.percent
    assert precision([idle, not_due]) is None


def test_steps_without_load_need_no_interval() -> None:
    """Stages begin with no workers, or with a schedule of no pulls."""
    steps = ramp(2, lambda n: 100.0)
    idle = without_interval(steps[0], rate=0.0, seconds=60.0)
    for each in (msgspec.structs.replace(idle, workers=0), msgspec.structs.replace(idle, offered=0.0)):
        found = precision([each, *steps])
        assert found is not None
        assert found.percent == pytest.approx(1.0)
        assert found.seconds_for_2_percent == pytest.approx(75.0)
    stalled = msgspec.structs.replace(idle, offered=5.0)
    assert precision([*steps, idle]) is None
    assert precision([*steps, stalled]) is None


@pytest.mark.parametrize(
    ("percent", "seconds", "words"),
    [
        (4.0, 480.0, "±4 %; ±2 % takes a run of about 8 minutes"),
        (4.04, 421.0, "±4 %; ±2 % takes a run of about 8 minutes"),
        (2.1, 33.5, "±2.1 %; ±2 % takes a run of about 34 seconds"),
        (23.0, 5_401.0, "±23 %; ±2 % takes a run of about 2 hours"),
        (23.0, 3 * 86_400.0, "±23 %; ±2 % takes a run of about 3 days"),
        (123.0, None, "±123 %; ±2 % takes a run of more than a year"),
        (2.0, 60.0, "±2 %"),
        (0.314, 1.0, "±0.31 %"),
    ],
)
def test_precision_in_words(percent: float, seconds: float | None, words: str) -> None:
    assert in_words(Precision(percent=percent, seconds_for_2_percent=seconds)) == words

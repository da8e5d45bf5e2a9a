"""The shares of pulls in a step, and the interval of their rate."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.load.shares import Shares

SPANS = st.tuples(st.floats(-50, 150), st.floats(1e-4, 100)).map(lambda span: (span[0], span[0] + span[1]))


@given(st.lists(SPANS, max_size=40), st.floats(0.5, 90))
def test_each_pull_counts_by_the_share_of_its_time(spans: list[tuple[float, float]], end: float) -> None:
    shares = Shares(0.0)
    for began, ended in spans[: len(spans) // 2]:
        shares.add(began, min(ended, 1e9))
    shares.close(end)
    for began, ended in spans[len(spans) // 2 :]:
        shares.add(began, ended)
    # pulls that were added while the step was open may reach beyond its end, which its first half never does here
    inside = [
        max(0.0, min(ended, end if index >= len(spans) // 2 else 1e9) - max(began, 0.0)) / (ended - began)
        for index, (began, ended) in enumerate(spans)
    ]
    assert shares.total == pytest.approx(sum(inside), abs=1e-6)


def test_a_pull_without_duration_counts_where_it_ended() -> None:
    first, second = Shares(0.0), Shares(1.0)
    first.close(1.0)
    for at in (0.0, 0.5, 1.0, 1.5):
        first.add(at, at)
        second.add(at, at)
    assert (first.total, second.total) == (2.0, 2.0)


def test_equal_pulls_have_an_interval_without_width() -> None:
    shares = Shares(10.0)
    for k in range(100):
        shares.add(9.95 + k * 0.1, 10.05 + k * 0.1)
    shares.close(20.0)
    interval = shares.interval()
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((10.0, 10.0), rel=0.02)


@pytest.mark.parametrize(("seconds", "pull"), [(10.0, 2.0), (1.0, 0.5), (10.0, 20.0)])
def test_a_step_that_is_too_short_has_no_interval(seconds: float, pull: float) -> None:
    shares = Shares(0.0)
    at = 0.0
    while at < seconds:
        shares.add(at, at + pull)
        at += pull
    shares.close(seconds)
    assert shares.interval() is None


@pytest.mark.statistics
def test_the_interval_covers_the_true_rate_as_often_as_it_says() -> None:
    """Four workers whose pulls take random times of 0.1 s on average: 40 per second."""
    chance = random.Random(7)
    covered, widths = 0, []
    for _ in range(200):
        shares = Shares(5.0)
        for _ in range(4):
            at = 4.0 + chance.random()
            while at < 25.0:
                ended = at + chance.gammavariate(4.0, 0.025)
                shares.add(at, min(ended, 25.0) if ended >= 25.0 else ended)
                at = ended
        shares.close(25.0)
        interval = shares.interval()
        assert interval is not None
        covered += interval.low <= 40.0 <= interval.high
        widths.append(interval.high - interval.low)
    assert 0.9 <= covered / 200 <= 0.99
    assert statistics.median(widths) < 4.0


@pytest.mark.statistics
@pytest.mark.parametrize("sloped", [True, False])
def test_a_planned_slope_does_not_widen_the_interval(sloped: bool) -> None:
    """Pulls arrive at random, at a rate that goes from 0 to 80 per second."""
    chance = random.Random(11)
    covered, halves = 0, []
    for _ in range(200):
        shares = Shares(0.0)
        pulls = 0.0
        while (pulls := pulls + chance.expovariate(1.0)) < 20 * 40:
            at = 20 * (pulls / (20 * 40)) ** 0.5
            shares.add(at, at + 0.01)
        shares.close(20.0, sloped=sloped)
        interval = shares.interval()
        assert interval is not None
        covered += interval.low <= 40.0 <= interval.high
        halves.append((interval.high - interval.low) / 2)
    if sloped:
        assert 0.9 <= covered / 200 <= 0.99
        assert statistics.median(halves) == pytest.approx(2.1 * (40 / 20) ** 0.5, rel=0.1)
    else:
        assert statistics.median(halves) > 10  # the slope itself


@given(st.lists(st.tuples(SPANS, st.none() | st.integers(0, 10**9), st.integers(0, 3)), max_size=40))
def test_parts_of_a_step_add_up_to_the_whole(
    pulls: list[tuple[tuple[float, float], int | None, int]],
) -> None:
    """Whoever counted which pull, before the step was closed or later."""
    whole, merged = Shares(0.0), Shares(0.0)
    for each in (whole, merged):
        each.close(90.0)
    parts = [merged.part() for _ in range(4)]
    for span, size, number in pulls:
        whole.add(*span, size)
        parts[number].add(*span, size)
    for part in parts:
        merged.merge(part)
    assert merged.total == pytest.approx(whole.total, abs=1e-9)
    assert merged.sized == whole.sized
    assert merged.bytes == pytest.approx(whole.bytes)
    assert (merged.interval() is None) == (whole.interval() is None)
    if (one := merged.interval()) is not None and (other := whole.interval()) is not None:
        assert tuple(one) == pytest.approx(tuple(other), abs=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parts_with_bins_of_different_widths_add_up(order: tuple[int, int]) -> None:
    """The first second has most pulls, and one part has only these."""
    whole, merged = Shares(0.0), Shares(0.0)
    parts = [merged.part(), merged.part()]
    for k in range(600):
        at = 0.002 * k if k < 400 else 0.4 * (k - 400)
        for shares in (whole, parts[k >= 400]):
            shares.add(at, at + 0.01, None)
    for place in order:
        merged.merge(parts[place])
    whole.close(80.0)
    merged.close(80.0)
    assert merged.interval() == pytest.approx(whole.interval())
    assert merged.interval() is not None

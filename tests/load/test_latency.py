"""The histogram: exact ends, close percentiles, merging."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from lib.load.latency import COARSE, DECODED_COUNT_BYTES, Latencies, Packed


def test_nothing_measured() -> None:
    assert Latencies().result() is None


def test_percentiles_of_a_thousand() -> None:
    latencies = Latencies()
    for millisecond in range(1, 1001):
        latencies.add(millisecond / 1000)
    result = latencies.result()
    assert result is not None
    assert (result.min, result.max, result.mean) == pytest.approx((1, 1000, 500.5))
    for percentile, value in ((result.p50, 500), (result.p90, 900), (result.p95, 950), (result.p99, 990)):
        assert percentile == pytest.approx(value, rel=0.002)


def test_one_value_is_every_percentile() -> None:
    latencies = Latencies()
    latencies.add(0.0123456)
    result = latencies.result()
    assert result is not None
    assert asdict(result.rounded()) == {
        "count": 1, **dict.fromkeys(("min", "mean", "p50", "max"), 12.346), **dict.fromkeys(("p90", "p95", "p99")),
    }  # fmt: skip


def test_one_slow_pull_of_sixty_is_no_percentile_but_the_maximum() -> None:
    latencies = Latencies()
    for seconds in (*[0.1] * 59, 10.0):
        latencies.add(seconds)
    result = latencies.result()
    assert result is not None
    assert (result.count, result.p99, result.max) == (60, None, 10_000)
    assert [result.p50, result.p95] == pytest.approx([100, 100], rel=0.001)
    for seconds in [0.1] * 39 + [10.0]:
        latencies.add(seconds)
    result = latencies.result()
    assert result is not None
    assert result.count == 100
    assert result.p99 == pytest.approx(10_000, rel=0.001)


def test_merging_is_as_if_added_here() -> None:
    one, other, both = Latencies(), Latencies(), Latencies()
    for index in range(500):
        (one if index % 3 else other).add(index / 7 + 0.001)
        both.add(index / 7 + 0.001)
    one.merge(other)
    one.merge(Latencies())
    merged, expected = one.result(), both.result()
    assert merged is not None
    assert expected is not None
    assert asdict(merged.rounded()) == pytest.approx(asdict(expected.rounded()))


def test_days_do_not_break_it() -> None:
    latencies = Latencies()
    latencies.add(0.0)
    latencies.add(1e6)
    result = latencies.result()
    assert result is not None
    assert (result.min, result.max) == (0, 1e9)


@given(st.lists(st.floats(1e-6, 1000), min_size=1, max_size=50), st.sampled_from([3, COARSE]))
def test_latencies_are_the_same_after_they_were_text(seconds: list[float], digits: int) -> None:
    before, merged = Latencies(digits), Latencies(digits, DECODED_COUNT_BYTES)
    for each in seconds:
        before.add(each)
    packed = before.packed()
    assert packed is not None
    after = Latencies.unpacked(packed, digits)
    merged.merge(after)
    assert after.result() == before.result() == merged.result()


def test_no_latencies_are_no_text() -> None:
    assert Latencies().packed() is None


@pytest.mark.parametrize("text", ["", "AAAA", "x" * 50, "é", "HISTFAAAABl42", "A" * 300_000])
def test_a_text_that_is_no_histogram(text: str) -> None:
    with pytest.raises(ValueError, match="the histogram"):
        Latencies.unpacked(Packed(text, 1, 0.1, 0.1, 0.1))


def test_a_histogram_of_another_shape_or_number_is_refused() -> None:
    coarse = Latencies(COARSE)
    coarse.add(0.1)
    packed = coarse.packed()
    assert packed is not None
    with pytest.raises(ValueError, match="digits"):
        Latencies.unpacked(packed)
    with pytest.raises(ValueError, match="another number"):
        Latencies.unpacked(packed._replace(number=2), COARSE)


def filled() -> Latencies:
    """With one latency."""
    found = Latencies()
    found.add(0.1)
    return found


def packed(latencies: Latencies) -> Packed:
    found = latencies.packed()
    assert found is not None
    return found


@pytest.mark.parametrize("make", [filled, lambda: Latencies.unpacked(packed(filled()))])
def test_a_histogram_is_freed_with_its_last_reference(make: Callable[[], Latencies]) -> None:
    """Not by the garbage collector, which may come long after a hundred others."""
    gc.disable()
    try:
        latencies = make()
        alive = weakref.ref(latencies._histogram)
        del latencies
        assert alive() is None
    finally:
        gc.enable()

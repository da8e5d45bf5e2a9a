"""Histograms of any latencies: exact ends and mean, percentiles within their bound, merging in any order."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.latency import Latency
from lib.load.latency import BOUNDS, Buckets, Latencies

# From a microsecond to a day, what the histogram holds.
SECONDS = st.floats(1e-6, 86400.0)
SOME = st.lists(SECONDS, max_size=60)


def filled(seconds: list[float]) -> Latencies:
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    return latencies


def check_alike(one: Latency | None, other: Latency | None) -> None:
    """The same but for the last digits of a sum of floats."""
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.mean == pytest.approx(other.mean)
        for name in ("min", "p50", "p90", "p95", "p99", "max"):
            assert getattr(one, name) == getattr(other, name)


@given(SOME, SOME, SOME)
def test_merging_is_associative_and_is_the_histogram_of_the_union(
    a: list[float], b: list[float], c: list[float]
) -> None:
    union = filled(a + b + c).result()
    left = filled(a)
    left.merge(filled(b))
    left.merge(filled(c))
    inner = filled(b)
    inner.merge(filled(c))
    right = filled(a)
    right.merge(inner)
    check_alike(left.result(), union)
    check_alike(right.result(), union)


@given(SOME, SOME)
def test_merging_is_commutative_and_leaves_the_other_as_it_was(a: list[float], b: list[float]) -> None:
    one, other = filled(a), filled(b)
    before = other.result()
    one.merge(other)
    assert other.result() == before
    turned = filled(b)
    turned.merge(filled(a))
    check_alike(one.result(), turned.result())


@given(st.lists(SECONDS, min_size=1, max_size=200))
def test_every_percentile_is_within_a_thousandth(seconds: list[float]) -> None:
    """Of the value at its nearest rank; those that few latencies cannot show are missing."""
    result = filled(seconds).result()
    assert result is not None
    ordered = sorted(seconds)
    assert result.min == ordered[0] * 1000
    assert result.max == ordered[-1] * 1000
    assert result.mean == pytest.approx(sum(seconds) / len(seconds) * 1000)
    for percent, value in ((50, result.p50), (90, result.p90), (95, result.p95), (99, result.p99)):
        if len(ordered) < {50: 1, 90: 20, 95: 20, 99: 100}[percent]:
            assert value is None
            continue
        rank = max(1, math.ceil(Fraction(percent, 100) * len(ordered)))
        assert value == pytest.approx(ordered[rank - 1] * 1000, rel=0.001, abs=0.001)  # in whole microseconds


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=60))
def test_whatever_was_added_the_percentiles_are_in_order(seconds: list[float]) -> None:
    result = filled(seconds).result()
    assert result is not None
    figures = [result.min, result.p50, result.p90, result.p95, result.p99, result.max]
    in_order = [each for each in figures if each is not None]
    assert result.count == len(seconds)
    assert in_order == sorted(in_order)
    assert result.min <= result.mean * (1 + 1e-9)
    assert result.mean <= result.max * (1 + 1e-9)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 1000), max_size=60))
def test_buckets_count_each_once_and_their_bounds_are_inclusive(seconds: list[float]) -> None:
    buckets = Buckets()
    for each in seconds:
        buckets.add(each)
    assert sum(buckets.counts) == len(seconds)
    assert buckets.sum == pytest.approx(sum(seconds))
    for number, bound in enumerate(BOUNDS):
        assert sum(buckets.counts[: number + 1]) == sum(1 for each in seconds if each <= bound)

"""The set of percentiles: the fields of Latency, and no other list beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.latency import GROUPS, LATENCIES, PERCENTILES, SHOWN_PERCENTILES, Latency, cells, rank
from lib.options.thresholds import parse_threshold
from lib.schema import summary_schema

LIB = Path(__file__).resolve().parents[1] / "lib"
LATENCY = Latency(count=200, min=1.0, mean=2.0, p50=3.04, p90=4.0, p95=5.06, p99=6.0, max=7.00049)


def test_the_percentiles_are_the_fields() -> None:
    assert LATENCIES == ("min", "mean", "p50", "p90", "p95", "p99", "max")
    assert PERCENTILES == {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
    assert set(SHOWN_PERCENTILES) <= set(PERCENTILES)


def test_all_of_them_are_quantities_and_in_the_schema() -> None:
    for name in LATENCIES:
        for group in GROUPS:
            assert parse_threshold(f"{group}{name}<1ms").quantity == group + name
    assert tuple(summary_schema()["$defs"]["Latency"]["properties"]) == ("count", *LATENCIES)


def test_no_other_file_lists_them() -> None:
    """A file may name one percentile that it looks at, but has no set of its own."""
    listing = re.compile(r"""["']p\d+["'][^\n]{0,20}["']p\d+["']""")
    found = [path for path in LIB.rglob("*.py") if listing.search(path.read_text(encoding="utf-8"))]
    assert found == [LIB / "latency.py"]


def test_figures_that_few_latencies_cannot_show_are_missing() -> None:
    few = Latency(count=60, min=1.0, mean=2.0, p50=3.0, p90=4.0, p95=5.0, p99=None, max=9.0)
    assert cells(few) == ["3.0", "5.0", "-"]
    assert few.rounded() == few


@pytest.mark.parametrize(
    ("percent", "count", "place"),
    [(50, 1, 1), (99, 100, 99), (99, 101, 100), (95, 20, 19), (90, 21, 19), (50, 3, 2)],
)
def test_nearest_ranks(percent: int, count: int, place: int) -> None:
    assert rank(percent, count) == place


def test_shown_and_rounded() -> None:
    assert cells(LATENCY) == ["3.0", "5.1", "6.0"]
    assert cells(None) == ["-", "-", "-"]
    assert LATENCY.rounded() == Latency(
        count=200, min=1.0, mean=2.0, p50=3.04, p90=4.0, p95=5.06, p99=6.0, max=7.0
    )

"""The set of percentiles: the fields of Latency, and no other list beside them."""

from __future__ import annotations

import re
from pathlib import Path

from lib.latency import GROUPS, LATENCIES, PERCENTILES, SHOWN_PERCENTILES, Latency, cells
from lib.options.thresholds import parse_threshold
from lib.results.schema import summary_schema

LIB = Path(__file__).resolve().parents[1] / "lib"
LATENCY = Latency(1.0, 2.0, 3.04, 4.0, 5.06, 6.0, 7.00049)


def test_the_percentiles_are_the_fields() -> None:
    assert LATENCIES == ("min", "mean", "p50", "p90", "p95", "p99", "max")
    assert PERCENTILES == {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
    assert set(SHOWN_PERCENTILES) <= set(PERCENTILES)
    assert list(LATENCY.points()) == [
        (0, 1.0),
        (0.5, 3.04),
        (0.9, 4.0),
        (0.95, 5.06),
        (0.99, 6.0),
        (1, 7.00049),
    ]


def test_all_of_them_are_quantities_and_in_the_schema() -> None:
    for name in LATENCIES:
        for group in GROUPS:
            assert parse_threshold(f"{group}{name}<1ms").quantity == group + name
    assert tuple(summary_schema()["$defs"]["Latency"]["properties"]) == LATENCIES


def test_no_other_file_lists_them() -> None:
    """A file may name one percentile that it looks at, but has no set of its own."""
    listing = re.compile(r"""["']p\d+["'][^\n]{0,20}["']p\d+["']""")
    found = [path for path in LIB.rglob("*.py") if listing.search(path.read_text(encoding="utf-8"))]
    assert found == [LIB / "latency.py"]


def test_shown_and_rounded() -> None:
    assert cells(LATENCY) == ["3.0", "5.1", "6.0"]
    assert cells(None) == ["-", "-", "-"]
    assert LATENCY.rounded() == Latency(1.0, 2.0, 3.04, 4.0, 5.06, 6.0, 7.0)

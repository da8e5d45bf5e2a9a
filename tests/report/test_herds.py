"""Herds in the report: the series from the events, the chart and the table."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lib.report.herd_series import HerdSeries, Spread
from lib.report.page import page
from lib.report.run_data import find
from lib.results.summary_file import summary_of
from tests.support.browser import draw
from tests.support.summaries import DOCUMENT, LATENCY

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def herds(**changes: Any) -> dict[str, Any]:
    return {
        "count": 3, "spread_ms": LATENCY, "latency_ms": LATENCY, "late": 7, "upstream_fetches_per_herd": None, **changes
    }  # fmt: skip


def event(herd: int, at: float, **changes: Any) -> dict[str, Any]:
    return {
        "time": (BEGIN + timedelta(seconds=at + 0.1)).isoformat(), "op": "pull", "worker": 0, "pass": 1,
        "image": "a:v1", "outcome": "ok", "class": None, "seconds": 0.1, "first": True, "retries": 0, "message": None,
        "herd": herd, "started": (BEGIN + timedelta(seconds=at)).isoformat(), **changes,
    }  # fmt: skip


def page_of(folder: Path, document: dict[str, Any], *events: dict[str, Any]) -> str:
    path = folder / "events"
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return page(find(summary_of(document), path if events else None))


def test_each_herd_has_the_spread_of_its_starts() -> None:
    series = HerdSeries()
    for herd, started in ((1, 10.2), (1, 10.0), (2, 11.0), (1, 10.1), (2, 11.0), (4, 12.5), (4, 12.0)):
        series.add(herd, started)
    assert [(each.first, each.last) for each in series.spreads()] == [(1, 1), (2, 2), (4, 4)]
    assert [each.seconds for each in series.spreads()] == pytest.approx([0.2, 0.0, 0.5])


@pytest.mark.parametrize("count", [10, 100, 1000, 12345])
def test_memory_is_bounded_and_no_peak_is_lost(count: int) -> None:
    series = HerdSeries(most=50)
    for herd in range(1, count + 1):
        series.add(herd, 100.0 * herd)
        series.add(herd, 100.0 * herd + (9.0 if herd == count // 2 else 1.0))
    spreads = list(series.spreads())
    assert len(spreads) <= 50 + 8
    assert max(each.seconds for each in spreads) == 9.0
    assert (spreads[0].first, spreads[-1].last) == (1, count)
    assert [each for each in spreads if each.first <= count // 2 <= each.last and each.seconds == 9.0]
    for before, after in pairwise(spreads):
        assert after.first == before.last + 1


def test_a_pull_that_comes_much_too_late_changes_nothing() -> None:
    series = HerdSeries()
    for herd in range(1, 100):
        series.add(herd, float(herd))
    before = list(series.spreads())
    series.add(1, 500.0)
    assert list(series.spreads())[: len(before)] == [Spread(1, 1, 0.0), *before[1:]]


def test_the_page_of_a_run_in_herds(tmp_path: Path) -> None:
    events = [event(herd, herd + worker / 100) for herd in (1, 2, 3) for worker in range(3)]
    text = page_of(tmp_path, {**DOCUMENT, "herds": herds(), "first_pulls": "cold"}, *events)
    assert "Spread of the starts of each herd" in text
    assert "until every worker had the image" in text
    assert "3 herds. " in text
    assert "7 pulls started more than 50 ms after the first pull of the herd." in text
    assert "because the images were pruned before their herds" in text
    draw(text, tmp_path, dark=False)


@pytest.mark.parametrize("spread", [LATENCY, None])
def test_without_events_the_chart_says_so(tmp_path: Path, spread: dict[str, Any] | None) -> None:
    text = page_of(tmp_path, {**DOCUMENT, "herds": herds(spread_ms=spread, latency_ms=None, count=0)})
    assert "Give the events file to see the spread of each herd." in text


def test_a_run_without_herds_shows_none(tmp_path: Path) -> None:
    assert "herd" not in page_of(tmp_path, DOCUMENT).partition("</style>")[2].rpartition("<script")[0]

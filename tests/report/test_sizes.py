"""Latency by image size in the report: the series from the events, and the chart."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lib.report.page import page
from lib.report.run_data import find
from lib.report.size_series import MOST_LATENCIES, SizeSeries
from lib.results.summary_file import summary_of
from tests.support.browser import HOSTILE, charts_in, draw
from tests.support.summaries import DOCUMENT

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def event(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "time": (BEGIN + timedelta(seconds=number / 10)).isoformat(), "op": "pull", "worker": 0, "pass": 1,
        "image": f"app-{number}:v1", "outcome": "ok", "class": None, "seconds": 0.1, "first": False, "retries": 0,
        "message": None, **changes,
    }  # fmt: skip


def page_of(folder: Path, *events: dict[str, Any], **changes: Any) -> str:
    path = folder / "events"
    path.write_text("".join(json.dumps(each) + "\n" for each in events))
    return page(find(summary_of({**DOCUMENT, **changes}), path))


def test_each_image_has_the_median_of_its_first_and_of_its_repeat_pulls() -> None:
    series = SizeSeries()
    for name, size, seconds, first in (("a", 10, 5.0, True), ("a", 10, 1.0, False), ("a", 10, 3.0, False),
                                       ("a", 10, 2.0, False), ("b", 30, 4.0, False)):  # fmt: skip
        series.add(name, size, seconds, first=first)
    found = {
        first: [
            (image.name, image.size, pulls.seen, middle)
            for image, pulls, middle in series.medians(first=first)
        ]
        for first in (True, False)
    }
    assert found == {True: [("a", 10, 1, 5.0)], False: [("a", 10, 3, 2.0), ("b", 30, 1, 4.0)]}


def test_memory_is_bounded_and_the_choice_of_images_is_the_same_each_time() -> None:
    def chosen(order: list[int]) -> set[str]:
        series = SizeSeries(most=50)
        for number in order:
            for _ in range(2):
                series.add(f"app-{number}", 1 + number, 0.1, first=False)
        assert series.dropped
        assert all(pulls.seen == 2 for _, pulls, _ in series.medians(first=False))
        return {image.name for image, _, _ in series.medians(first=False)}

    forwards, backwards = chosen(list(range(5000))), chosen(list(range(4999, -1, -1)))
    assert 50 <= len(forwards) <= 100
    assert len(forwards & backwards) >= 50
    numbers = sorted(int(name.removeprefix("app-")) for name in forwards)
    assert numbers[0] < 1000
    assert numbers[-1] > 4000
    one = SizeSeries()
    for k in range(100 * MOST_LATENCIES):
        one.add("a", 1, float(k), first=False)
    ((_, pulls, middle),) = one.medians(first=False)
    assert (len(pulls.items), pulls.seen) == (MOST_LATENCIES, 100 * MOST_LATENCIES)
    assert 20 * MOST_LATENCIES < middle < 80 * MOST_LATENCIES


@pytest.mark.parametrize("dark", [False, True])
def test_the_chart(dark: bool, tmp_path: Path) -> None:
    events = [
        event(number, bytes=1000 * 4**number, seconds=0.05 * 2**number, first=first)
        for number in range(8)
        for first in (True, False)
    ]
    empty = event(9, bytes=0)
    text = page_of(tmp_path, *events, empty, event(10), event(11, bytes=5000, image=f"{HOSTILE}:v1"))
    drawn = charts_in(text)["size"]
    assert [trace["name"] for trace in drawn["data"]] == ["repeat pulls", "first pulls"]
    repeat, first = drawn["data"]
    assert first["x"] == [1000 * 4**number for number in range(8)]
    assert first["y"] == [50.0 * 2**number for number in range(8)]
    assert repeat["text"][0] == "app-0:v1: 1 kB, 1 pull"
    assert len(repeat["x"]) == 9
    assert (drawn["layout"]["xaxis"]["type"], drawn["layout"]["yaxis"]["type"]) == ("log", "log")
    assert {"1 kB", "1 MB"} <= set(drawn["layout"]["xaxis"]["ticktext"])
    draw(text, tmp_path, dark=dark)


@pytest.mark.parametrize(
    ("events", "changes"),
    [
        ([event(1)], {}),
        ([event(1, outcome="failed", **{"class": "timeout"})], {}),
        ([event(1, bytes=1000, launch=1, timed=True, repulled=False)], {"latency_unit": "launch"}),
    ],
)
def test_there_is_no_chart_without_sizes_nor_of_batches(
    events: list[dict[str, Any]], changes: dict[str, Any], tmp_path: Path
) -> None:
    assert "size" not in charts_in(page_of(tmp_path, *events, **changes))

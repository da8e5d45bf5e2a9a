"""The page in a browser: nothing overflows, charts over time lie below one another and zoom together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.report.page import page
from lib.report.run_data import find
from lib.results.summary_file import summary_of
from tests.report.test_page import run_of, written
from tests.support.browser import probed
from tests.support.summaries import DOCUMENT, a_host

_OVERFLOWING = """
  const wide = (each) => each.scrollWidth > each.clientWidth + 1;
  const beyond = (each) => each.getBoundingClientRect().right > innerWidth + 1;
  const parts = [...document.querySelectorAll("table, .tile, .chart, .chart .main-svg, pre, .wide, details, h1, p")];
  for (const each of document.querySelectorAll("details")) { each.open = true; }
  return [innerWidth, [document.documentElement, ...document.querySelectorAll(".wide, .tile, pre, p")].filter(wide)
    .concat(parts.filter(beyond)).map((each) => each.outerHTML.slice(0, 200))];
"""
_PLACES = """
  const places = [...document.querySelectorAll(".over-time")];
  const shown = () => places.map((each) => [each.id, each._fullLayout._size.l, each._fullLayout._size.w,
    each._fullLayout.xaxis.range.map(String)]);
  const [before, zoomed] = [shown(), ["2026-01-31 12:00:10", "2026-01-31 12:00:20"]];
  return Plotly.relayout(places[1], {"xaxis.range": zoomed}).then(() => new Promise((go) => setTimeout(go, 500)))
    .then(() => [before, shown()]);
"""


def a_page(folder: Path, **changes: Any) -> str:
    """The page of a run with everything that can be shown: failures, retries, an outage, thresholds, the machine."""
    document, events = run_of(3000, failures=True)
    for place, sample in enumerate(document["samples"]):
        sample |= {
            "retried": place, "machine": {"idle": 0.2, "steal": 0.05, "pressure": 0.5}, "client_cpu_seconds": 1.5,
            "limited_by": "client" if place == 3 else None,
        }  # fmt: skip
    document["samples"][5] |= {"pulled": 0, "failed": 40, "errors": {"refused": 40}}
    document |= {
        "retried": 45,
        "thresholds": [{"expression": "p95<1ms", "value": 90.0, "passed": False}],
        **changes,
    }
    paths = written(folder, document, events)
    return page(find(summary_of(document), paths[1]))


@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_overflows(width: int, tmp_path: Path) -> None:
    assert probed(a_page(tmp_path), tmp_path, width, _OVERFLOWING) == [width, []]


@pytest.mark.parametrize("hosts", [2, 20, 100])
@pytest.mark.parametrize("width", [1400, 420])
def test_nothing_overflows_with_many_hosts(width: int, hosts: int, tmp_path: Path) -> None:
    lost = {"at": 10.0, "reason": "the worker is gone, because its machine was shut down"}
    found = [
        a_host(
            number, hosts, name=f"ip-10-1-2-{number}.eu-central-1.compute.internal", limited_by="client",
            clock_error_ms=0.41, start_error_ms=0.08, rates=[1.0 * number, None, 2.0],
            lost=lost if number == 2 else None,
        )
        for number in range(1, hosts + 1)
    ]  # fmt: skip
    made = a_page(tmp_path, hosts=found, complete=False)
    assert probed(made, tmp_path, width, _OVERFLOWING) == [width, []]


@pytest.mark.parametrize("width", [1400, 420])
def test_charts_over_time_lie_below_one_another_and_zoom_together(width: int, tmp_path: Path) -> None:
    before, after = probed(a_page(tmp_path), tmp_path, width, _PLACES)
    assert [name for name, *_ in before] == [
        f"chart-{name}" for name in ("rate", "latency", "errors", "retries", "machine")
    ]
    assert len({str(place) for _, *place in before}) == 1
    assert {str(place[2]) for _, *place in after} == {str(["2026-01-31 12:00:10", "2026-01-31 12:00:20"])}
    assert [place[:2] for _, *place in after] == [place[:2] for _, *place in before]


def test_a_long_run_of_many_workers_stays_small(tmp_path: Path) -> None:
    document, events = run_of(20_000, failures=True)
    sample = {**DOCUMENT["samples"][0], "retried": 1}
    document["samples"] = [
        {**sample, "time": each["time"]} for each in document["samples"] for _ in range(300)
    ]
    step = {**document["steps"][0], "low": 1.234567, "high": 2.345678}
    document["steps"] = [{**step, "workers": min(n, 201 - n)} for n in range(1, 201)]
    document["workers"] *= 100
    paths = written(tmp_path, document, events)
    assert len(page(find(summary_of(document), paths[1])).encode()) < 1_500_000

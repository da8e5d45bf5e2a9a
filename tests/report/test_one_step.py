"""The report of a load with one step: one total and its intervals over time; and the charts of stages and schedules."""

from __future__ import annotations

from typing import Any

import pytest

from lib.pages.chart import Chart
from lib.report.charts import charts
from lib.report.page import page
from lib.report.rate import offered_over_time
from lib.report.run_data import find
from lib.results.summary_file import summary_of
from tests.support.held import held
from tests.support.made import Made

RATES = [30, 60, 45, 45]


def drawn(document: dict[str, Any]) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(find(summary_of(document), None))}


def constant(**step: Any) -> dict[str, Any]:
    document = held(RATES)
    document["steps"][0] |= step
    return document


def test_a_constant_load_has_its_mean_in_place_of_a_scalability_law() -> None:
    found = drawn(constant(low=2.8, high=3.2))
    assert "scalability" not in found
    rate = found["rate"]
    (mean,) = [trace for trace in rate.data if trace["name"] == "mean"]
    assert mean["y"] == [3.0, 3.0]
    assert [(shape["y0"], shape["y1"]) for shape in rate.layout["shapes"]] == [(2.8, 3.2)]
    assert "the mean, 3.00 pulls/s. Coloured band: its 95 % confidence interval, 2.80 to 3.20." in rate.note
    assert "Shaded" not in rate.note
    assert drawn(constant())["rate"].layout["shapes"] == []
    assert found["latency"].data


def test_the_table_has_the_whole_and_then_the_intervals() -> None:
    text = page(find(summary_of(constant(low=2.8, high=3.2)), None))
    assert "<h2>Steps</h2>" not in text
    table = text.partition("The whole run, and its intervals")[2].partition("</table>")[0]
    rows = [row.split("</td>") for row in table.partition("<tbody>")[2].split("<tr>")[1:]]
    cells = [[cell.rpartition(">")[2] for cell in row[:8]] for row in rows]
    assert cells[0] == ["all", "60.0", "60.0", "180", "0", "3.00", "2.80", "3.20"]
    assert [row[:6] for row in cells[1:]] == [
        ["1", "15.0", "15.0", "30", "0", "2.00"],
        ["2", "30.0", "15.0", "60", "0", "4.00"],
        ["3", "45.0", "15.0", "45", "0", "3.00"],
        ["4", "60.0", "15.0", "45", "0", "3.00"],
    ]


def test_a_long_run_has_its_intervals_merged() -> None:
    text = page(find(summary_of(held([10] * 240)), None))
    table = text.partition("The whole run, and its intervals")[2].partition("</table>")[0]
    assert table.count("<tr>") == 1 + 1 + 60


def test_a_rate_that_changes_within_one_step_has_no_mean() -> None:
    document = constant(offered=3.0)
    document["settings"] |= {"rate": "1:5", "duration": 60.0}
    found = drawn(document)
    assert "scalability" not in found
    assert [trace["name"] for trace in found["rate"].data] == ["pulls/s", "workers", "offered"]
    assert found["rate"].data[-1]["y"] == [1.0, 5.0]


def test_a_ramp_has_its_steps_as_before() -> None:
    document = Made(workers=2).document
    assert "scalability" in drawn(document)
    assert [trace["name"] for trace in drawn(document)["rate"].data] == ["pulls/s", "workers"]
    assert "<h2>Steps</h2>" in page(find(summary_of(document), None))


def test_steps_of_every_direction_are_drawn() -> None:
    document = Made(workers=2).document
    for step, direction in zip(document["steps"], ["up", "hold", "hold", "down"], strict=True):
        step["direction"] = direction
    shown = [
        trace["name"] for trace in drawn(document)["scalability"].data if trace["name"].startswith("steps")
    ]
    assert shown == ["steps up", "steps hold", "steps down"]


def staged(*stages: str) -> dict[str, Any]:
    document = Made(workers=2, step=10.0).document  # 40 s
    document["settings"] |= {"stage": list(stages)}
    for step in document["steps"]:
        step["offered"] = 2.0
    return document


@pytest.mark.parametrize(
    ("stages", "points"),
    [
        (["10s:4/s", "20s:4/s", "10s:0/s"], [(0, 0), (10, 4), (10, 4), (30, 4), (30, 4), (40, 0)]),
        (["20s:4/s", "40s:0/s"], [(0, 0), (20, 4), (20, 4), (40, 2)]),  # ended early
        (["nonsense"], [(k * 10 + at, 2.0) for k in range(4) for at in (0, 10)]),
    ],
)
def test_stages_of_rates_are_drawn_as_they_were_offered(
    stages: list[str], points: list[tuple[float, float]]
) -> None:
    document = staged(*stages)
    assert offered_over_time(summary_of(document)) == [pytest.approx(point) for point in points]
    found = drawn(document)
    assert found["rate"].data[-1]["name"] == "offered"
    assert "With a schedule" in found["scalability"].note
    assert "its scheduled start" in found["latency"].note


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"first_pulls": "warm"}, "First pulls were cached, because a warm-up had pulled each image"),
        ({"first_pulls": "cold"}, "First pulls were cold"),
        ({}, "First pulls may have been cached"),
    ],
)
def test_first_pulls_are_explained(changes: dict[str, Any], told: str) -> None:
    assert told in page(find(summary_of(held(RATES, **changes)), None))

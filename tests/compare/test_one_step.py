"""The comparison of runs with one step: rate over time with its mean, and no charts by workers."""

from __future__ import annotations

from typing import Any

import pytest

from lib.compare.charts import charts
from lib.compare.comparison import Rules, Told, compare
from lib.compare.run_styles import sides
from lib.compare.settings_changed import differences
from lib.compare.wording import note_lines
from lib.pages.chart import Chart
from tests.support.held import held, run
from tests.support.made import Made


def drawn(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Chart]:
    comparison = compare((run(a, "a.json"),), (run(b, "b.json"),), Rules())
    return {chart.name: chart for chart in charts(sides([Told(comparison, (), ())]))}


def test_constant_loads_have_their_means_over_time() -> None:
    a, b = held([30, 60]), held([45, 90])
    a["steps"][0] |= {"low": 2.8, "high": 3.2}
    found = drawn(a, b)
    assert list(found) == ["rate", "errors"]
    means = {trace["name"]: trace["y"] for trace in found["rate"].data if "mean" in trace["name"]}
    assert list(means.values()) == [[3.0, 3.0], [4.5, 4.5]]
    assert [(shape["y0"], shape["y1"]) for shape in found["rate"].layout["shapes"]] == [(2.8, 3.2)]
    assert "the mean of a constant load" in found["rate"].note


def test_a_ramp_keeps_its_charts_by_workers() -> None:
    found = drawn(Made(1).document, Made(2).document)
    assert list(found) == ["rate", "rate-by-workers", "latency-by-workers", "errors"]
    assert "mean" not in found["rate"].note
    assert "rate-by-workers" in drawn(Made(1).document, held([30, 60]))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"rate": "5:50", "duration": 30.0}, {"rate": "5:50", "duration": 30.0}, True),
        ({"rate": "5:50", "duration": 30.0}, {"rate": "5:50", "duration": 60.0}, False),
        ({"rate": "5:50", "hold": 30.0}, {"rate": "5:50", "hold": 60.0}, False),
        ({"rate": "5", "duration": 30.0}, {"rate": "5", "duration": 60.0}, True),
        ({"stage": ["30s:5/s"]}, {"stage": ["30s:5/s"]}, True),
        ({"stage": ["30s:5/s"]}, {"stage": ["30s:9/s"]}, False),
    ],
)
def test_only_equal_schedules_are_paired(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    keys = []
    for settings in (one, other):
        document = held([30, 60])
        document["settings"] |= settings
        document["steps"][0]["offered"] = 3.0
        keys.append(run(document).steps[0].key)
    assert (keys[0] == keys[1]) == same


def test_times_that_differ_have_units() -> None:
    a, b = held([30, 60]), held([30, 60])
    a["settings"] |= {"pull_timeout": 300.0}
    b["settings"] |= {"pull_timeout": 90.0}
    one, other = run(a), run(b)
    told = Told(compare((one,), (other,), Rules()), differences(one, other), ())
    assert "warning: a setting differs: --pull-timeout (A 5m, B 1m30s)" in list(note_lines(told))

"""The charts of the report that compare the figures of the summary and of the events with what is drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lib.latency import PERCENTILES
from lib.load.latency import Latencies
from lib.pages.chart import Chart
from lib.report.charts import charts
from lib.report.failing import Failing
from lib.report.run_data import find
from lib.report.timeline import merged
from lib.results.summary_file import summary_of
from tests.support.held import held
from tests.support.made import BEGAN, Made
from tests.support.summaries import LATENCY, a_host


def drawn(document: dict[str, Any], events: Path | None = None) -> dict[str, Chart]:
    return {chart.name: chart for chart in charts(find(summary_of(document), events))}


def events_of(folder: Path, *pulls: dict[str, Any]) -> Path:
    path = folder / "events"
    lines = [
        {"time": (BEGAN + timedelta(seconds=place % 60)).isoformat(), "op": "pull", "image": "a:v1", "outcome": "ok",
         "class": None, "seconds": 0.1, "first": False, **each}
        for place, each in enumerate(pulls)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("count", [1, 2, 19, 100, 250, 10_000])
def test_a_spectrum_has_the_percentiles_of_the_summary(count: int) -> None:
    latencies = Latencies()
    for place in range(count):
        latencies.add(0.001 * (1 + place * 7919 % 9973))
    found, spectrum = latencies.result(), latencies.spectrum()
    assert found is not None
    shares = [share for share, _ in spectrum]
    assert shares == sorted(shares)
    assert shares[0] >= 0
    assert shares[-1] < 1
    assert [value for _, value in spectrum] == sorted(value for _, value in spectrum)
    assert spectrum[0][1] == pytest.approx(found.min, rel=1e-3)
    assert spectrum[-1][1] == found.max
    for name in ("p90", "p99"):  # these are among the points
        if found.value(name) is not None and PERCENTILES[name] / 100 < shares[-1]:
            (at,) = (value for share, value in spectrum if share == pytest.approx(PERCENTILES[name] / 100))
            assert at == found.value(name)
    assert Latencies().spectrum() == []


def test_the_spectrum_of_events_has_a_line_for_each_kind(tmp_path: Path) -> None:
    document = held([30, 30])
    pulls = [{"seconds": 0.1 + place / 1000, "first": place < 20} for place in range(60)]
    spectrum = drawn(document, events_of(tmp_path, *pulls))["spectrum"]
    assert [trace["name"] for trace in spectrum.data] == ["all pulls", "repeat pulls", "first pulls"]
    assert [trace["y"][-1] for trace in spectrum.data] == [159.0, 159.0, 119.0]
    assert spectrum.data[0]["x"][-1] == 60.0  # 1 / (1 - share) of the longest of sixty
    assert "99 %" in spectrum.layout["xaxis"]["ticktext"]


def test_without_events_the_spectrum_has_what_the_summary_has() -> None:
    document = {**held([30, 30]), "latency_ms": LATENCY, "repeat_latency_ms": None, "first_latency_ms": None}
    spectrum = drawn(document)["spectrum"]
    (trace,) = spectrum.data
    assert list(zip(trace["customdata"], trace["y"], strict=True)) == [
        ("0", 1.0), ("50", 2.04), ("90", 3.0), ("95", 4.0), ("99", 5.0),
    ]  # fmt: skip
    assert "only the marked percentiles are known" in spectrum.note


def test_latency_by_workers_has_the_percentiles_of_each_step() -> None:
    document = Made(workers=3).document
    for place, step in enumerate(document["steps"]):
        step["latency_ms"] = {**LATENCY, "p50": 100.0 + place}
    chart = drawn(document)["latency-by-load"]
    p50 = chart.data[0]
    assert (p50["name"], p50["x"], p50["y"]) == ("p50", [1, 2, 3, 3, 2, 1], [100, 101, 102, 103, 104, 105])
    assert p50["marker"]["symbol"] == ["circle"] * 3 + ["diamond-open"] * 3
    for step in document["steps"]:
        step["offered"] = 4.5
    chart = drawn(document)["latency-by-load"]
    assert chart.title == "Latency by offered rate"
    assert set(chart.data[0]["x"]) == {4.5}
    assert "latency-by-load" not in drawn(held([30, 30]))
    document["settings"]["passes"] = 3
    assert not drawn(document)["latency-by-load"].data


def with_samples(document: dict[str, Any], *changes: dict[str, Any]) -> dict[str, Any]:
    for sample, each in zip(document["samples"], changes, strict=True):
        sample |= each
    return document


def test_retries_over_time() -> None:
    document = {
        **with_samples(held([30, 30, 30]), *({"retried": count} for count in (0, 5, 2))),
        "retried": 7,
    }
    (trace,) = drawn(document)["retries"].data
    assert trace["y"] == [0, 5, 2]
    assert drawn({**held([30, 30]), "retried": 0})["retries"].note == "No client retried."
    assert "does not report" in drawn({**held([30, 30]), "retried": None})["retries"].note


def test_the_machine_over_time_and_what_limited_it() -> None:
    use = {"idle": 0.25, "steal": 0.0, "pressure": 0.5}
    document = with_samples(
        held([30, 30, 30]),
        {"machine": use, "driver_cpu_seconds": 3.0, "client_cpu_seconds": 12.0},
        {"machine": {**use, "idle": 0.05}, "limited_by": "client"},
        {"machine": {**use, "steal": 0.3}, "limited_by": "machine"},
    )
    chart = drawn(document)["machine"]
    traces = {trace["name"]: trace for trace in chart.data}
    assert traces["busy"]["y"] == [75.0, 75.0, 95.0, 75.0]
    assert traces["processes waited for CPU"]["y"] == [50.0] * 4
    assert traces["taken by the hypervisor"]["y"] == [0.0, 0.0, 0.0, 30.0]
    assert traces["driver and clients, cores"]["y"] == [1.0, 1.0, 0.0, 0.0]
    ends = [trace["x"] for name, trace in traces.items() if name.startswith("limit: ")]
    assert ends == [[traces["busy"]["x"][2]], [traces["busy"]["x"][3]]]
    assert "throttled by a CPU limit" not in traces
    assert len(chart.layout["shapes"]) == 1
    assert not drawn(held([30, 30]))["machine"].data


def test_an_outage_is_marked_in_every_chart_over_time() -> None:
    document = held([30, 0, 0, 30], {"refused": [0, 40, 33, 0], "timeout": [0, 0, 30, 0]}, retried=4)
    with_samples(document, *({"retried": 1, "machine": {"idle": 0.5, "steal": 0.0}},) * 4)
    for name in ("rate", "latency", "errors", "retries", "machine"):
        chart = drawn(document)[name]
        spans = [(shape["x0"][-12:], shape["x1"][-12:]) for shape in chart.layout["shapes"]]
        assert ("12:00:15.000", "12:00:45.000") in spans, name
        assert "Red: no pull succeeded." in chart.note


def test_failed_pulls_have_their_classes_also_without_events() -> None:
    document = held([30, 5, 5, 30], {"refused": [0, 40, 33, 0], "timeout": [0, 0, 30, 0]})
    assert {trace["name"]: trace["y"] for trace in drawn(document)["errors"].data} == {
        "refused": [0, 40, 33, 0], "timeout": [0, 0, 30, 0],
    }  # fmt: skip
    for sample in document["samples"]:
        del sample["errors"]  # as an earlier version wrote it
    assert [trace["name"] for trace in drawn(document)["errors"].data] == ["failed"]


def test_failed_pulls_by_image(tmp_path: Path) -> None:
    document = held([30, 5], {"refused": [0, 4], "timeout": [0, 2]})
    failures = [("b:v1", "refused"), ("b:v1", "refused"), ("b:v1", "timeout"), ("a:v1", "timeout"), ("c:v1", "refused"),
                ("c:v1", "refused")]  # fmt: skip
    path = events_of(
        tmp_path, {}, *({"image": image, "outcome": "failed", "class": name} for image, name in failures)
    )
    chart = drawn(document, path)["failed-images"]
    *bars, names = chart.data
    assert names["text"] == ["b:v1", "c:v1", "a:v1"]
    assert {trace["name"]: trace["x"] for trace in bars} == {"refused": [2, 2, 0], "timeout": [1, 0, 1]}
    assert chart.note == "All 3 images that have failed pulls."
    assert "Give the events file" in drawn(document)["failed-images"].note
    assert "failed-images" not in drawn(held([30, 5]))


def test_the_memory_for_failing_images_is_bounded() -> None:
    failing = Failing(most=2)
    for image in ("a", "b", "c", "b", "c"):
        failing.add(image, "timeout")
    assert (failing.known, failing.dropped) == (2, 2)
    assert [(name, dict(counts)) for name, counts in failing.worst(5)] == [
        ("b", {"timeout": 2}),
        ("a", {"timeout": 1}),
    ]


def test_merged_intervals_keep_their_counts() -> None:
    document = with_samples(
        held([30, 30], {"reset": [1, 0], "dns": [1, 3]}),
        {"retried": 2, "machine": {"idle": 0.2, "steal": 0.1, "pressure": 0.4}, "client_cpu_seconds": 1.0},
        {
            "retried": 3,
            "machine": {"idle": 0.4, "steal": 0.0},
            "client_cpu_seconds": 2.0,
            "paused_seconds": 0.5,
        },
    )
    (one,) = merged(summary_of(document).samples, 1)
    assert (one.retried, dict(one.errors), one.client_cpu_seconds, one.paused_seconds) == (
        5,
        {"dns": 4, "reset": 1},
        3.0,
        0.5,
    )
    assert one.machine is not None
    assert (one.machine.idle, one.machine.steal, one.machine.pressure) == pytest.approx((0.3, 0.05, 0.4))
    assert one.machine.throttled is None
    (none,) = merged(summary_of(held([30, 30])).samples, 1)
    assert (none.retried, none.machine) == (None, None)


def test_the_formula_is_folded() -> None:
    from lib.pages.document import place_of

    chart = drawn(Made(workers=7, step=60.0).document)["scalability"]
    assert "Universal Scalability Law" in chart.folded
    assert "Universal" not in chart.note
    before, _, folded = place_of(chart).partition("<details>")
    assert "λ" not in before
    assert "λ" in folded


def with_hosts(*rates: Sequence[float | None]) -> dict[str, Any]:
    document = Made().document
    hosts = [a_host(number, len(rates), rates=each) for number, each in enumerate(rates, 1)]
    return {**document, "hosts": hosts, "complete": True}


def test_hosts_have_a_band_and_lines() -> None:
    assert "host-rates" not in drawn(Made().document)
    count = len(Made().document["samples"])
    chart = drawn(with_hosts([2.0] * count, [3.0] * (count - 1), [1.0, None, 5.0]))["host-rates"]
    low, high, *lines = chart.data
    assert low["y"][:4] == [1.0, 1.0, 2.0, 2.0]  # the first value also stands at the beginning
    assert high["y"][:4] == [3.0, 3.0, 3.0, 5.0]
    assert (low["y"][-1], high["y"][-1]) == (2.0, 2.0)
    assert [line["name"] for line in lines] == ["host-3", "host-2", "host-1"]
    assert lines[0]["y"][:4] == [1.0, 1.0, None, 5.0]
    assert {len(each["x"]) for each in chart.data} == {len(each["y"]) for each in chart.data} == {count + 1}
    assert "Lines: each host." in chart.note


def test_many_hosts_have_the_band_alone() -> None:
    count = len(Made().document["samples"])
    assert len(drawn(with_hosts(*[[1.0] * count] * 20))["host-rates"].data) == 22
    assert len(drawn(with_hosts(*[[1.0] * count] * 21))["host-rates"].data) == 2


def test_the_rates_of_a_long_run_are_means() -> None:
    document = with_hosts([], [])
    sample = document["samples"][0]
    document["samples"] = [
        {**sample, "time": (BEGAN + timedelta(seconds=5.0 * (place + 1))).isoformat()}
        for place in range(1000)
    ]
    document["hosts"][0]["rates"] = [1.0, 3.0] * 500
    document["hosts"][1]["rates"] = [1.0, None] * 500
    other, one = drawn(document)["host-rates"].data[2:]
    assert set(one["y"]) == {2.0}
    assert set(other["y"]) == {1.0}
    assert len(one["y"]) == 501


def test_the_loss_of_hosts_is_marked_in_every_chart_over_time() -> None:
    document = with_hosts([1.0], [2.0], [3.0], [4.0])
    for host, at in zip(document["hosts"], (None, 30.2, 30.4, 1e6), strict=True):
        host["lost"] = at and {"at": at, "reason": "worker gone"}
    end = sum(each["seconds"] for each in document["samples"])
    for name in ("rate", "host-rates", "latency"):
        chart = drawn(document)[name]
        assert "a host was lost" in chart.note
        lines = [each["x0"] for each in chart.layout["shapes"] if each["type"] == "line"]
        assert lines == [
            (BEGAN + timedelta(seconds=second)).replace(tzinfo=None).isoformat(" ", "milliseconds")
            for second in (30.2, end)
        ]

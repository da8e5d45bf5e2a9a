"""The top of the report: every figure is the summary's, in the order of the questions that people ask."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from lib.figures import milliseconds, percent, rate, three
from lib.pages.tables import Mark, Tile
from lib.report.page import page
from lib.report.run_data import find
from lib.report.top import shown_tiles, top
from lib.results import headline
from lib.results.limit import limit
from lib.results.summary import Summary
from lib.results.verdict import verdict
from tests.support.held import held
from tests.support.summaries import DOCUMENT as OF_ONE
from tests.support.summaries import LATENCY, a_summary

PEAK = {"rate": 29.66, "low": 28.93, "high": 30.51, "workers": 6, "offered": None, "latency_ms": LATENCY}
STEP = {"workers": 1, "direction": "up", "seconds": 60.0, "pulled": 100, "failed": 0, "rate": 1.7,
        "latency_ms": LATENCY, "low": 1.5, "high": 1.9, "offered": None}  # fmt: skip
PLAIN = {"interrupted_pulls": 0, "pruned": 0, "prune_failed": 0}


def a_ramp(**changes: Any) -> Summary:
    steps = [{**STEP, "workers": n, "direction": way} for way in ("up", "down") for n in range(1, 7)]
    return a_summary(**{
        **PLAIN, "peak": PEAK, "knee": {"workers": 4.2, "low": 3.81, "high": 4.57}, "steps": steps, "retried": 36,
        "errors": {"refused": 50, "timeout": 23}, "failed": 73, "pulled": 2672, "error_rate": 73 / 2745, "rate": 24.31,
        "precision": {"percent": 4.0, "seconds_for_2_percent": 480.0}, "thresholds": [], **changes,
    })  # fmt: skip


def missed(expression: str, value: float = 1.0) -> dict[str, Any]:
    return {"expression": expression, "value": value, "passed": False}


def figures(tiles: list[Tile]) -> dict[str, tuple[str, str]]:
    return {
        each.label: (each.figure.text if isinstance(each.figure, Mark) else str(each.figure), each.more)
        for each in tiles
    }


def test_every_figure_of_the_tiles_is_the_summarys() -> None:
    run = a_ramp()
    assert run.peak is not None
    assert run.peak.latency_ms is not None
    assert run.knee is not None
    assert run.error_rate is not None
    (use,) = [each.machine for each in run.samples]
    assert use is not None
    p50, p95, p99 = run.peak.latency_ms.p50, run.peak.latency_ms.p95, run.peak.latency_ms.p99
    assert p95 is not None
    assert p99 is not None
    assert figures(shown_tiles(run)) == {
        "peak": (
            rate(run.peak.rate), f"{three(run.peak.low)} to {three(run.peak.high)} (95 % confidence), at 6 workers"
        ),
        "latency at the peak": (f"p95 {milliseconds(p95)}", f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"),
        "failed and retried": (
            f"{run.failed} failed, {run.retried} retried",
            f"{percent(run.error_rate)} of 2,745 pulls: 50 refused, 23 timeout",
        ),
        "knee": (
            f"near {three(run.knee.workers)} workers",
            f"{three(run.knee.low)} to {three(run.knee.high)} (95 % confidence); more workers gain little",
        ),
        "what limited the rate": (
            "the server or network",
            f"the rate levelled off near {three(run.knee.workers)} workers, and this machine's CPU was at most "
            f"{percent(1 - use.idle)} busy",
        ),
        "average over the ramp": (rate(run.rate), "±4 %; ±2 % takes a run of about 8 minutes"),
    }  # fmt: skip


def test_the_page_shows_the_tiles_and_the_verdict_before_all_charts() -> None:
    before = page(find(a_ramp(), None)).partition("<body>")[2].partition("<section")[0]
    before = re.sub("</?i>", "", before)
    for figure, more in figures(shown_tiles(a_ramp())).values():
        assert html.escape(figure) in before
        assert html.escape(more) in before.replace("\u00a0", " ")
    # a number and its unit stay on one line
    assert "The server served 29.7\u00a0pulls/s (28.9 to 30.5) at 6\u00a0workers." in before
    assert "2.66\u00a0% of all pulls failed: 50 refused, 23 timeout; clients retried 36 times." in before
    assert "What limited the rate: the server or network." in before


ALWAYS = ["peak", "latency at the peak", "failed and retried"]


def labels(run: Summary) -> list[str]:
    return [each.label for each in shown_tiles(run)]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (a_ramp(), [*ALWAYS, "knee", "what limited the rate", "average over the ramp"]),
        (a_ramp(steps=[{**STEP, "direction": "hold"}]),
         ["peak", "latency", "failed and retried", "what limited the rate", "average over the whole run"]),
        (a_ramp(steps=[{**STEP, "offered": 30.0}, STEP], peak={**PEAK, "offered": 30.0}),
         ["peak", "latency at the peak", "failed and retried", "what limited the rate", "average over the whole run"]),
        (a_ramp(settings={**OF_ONE["settings"], "passes": 3}, peak=None),
         ["peak", "latency of all pulls", "failed and retried", "what limited the rate", "average over the ramp"]),
        (a_ramp(herds={"count": 3, "spread_ms": LATENCY, "latency_ms": LATENCY, "late": 0}),
         ["peak", "latency at the peak", "until every worker had the image", "failed and retried",
          "what limited the rate", "average over the ramp"]),
    ],
    ids=["ramp", "constant", "schedule", "passes", "herds"],
)  # fmt: skip
def test_each_load_has_tiles_of_its_form(run: Summary, expected: list[str]) -> None:
    assert labels(run) == expected


@pytest.mark.parametrize(
    ("expression", "label"),
    [
        ("peak.rate>50", "peak"), ("peak.workers>=8", "peak"), ("peak.p95<1ms", "latency at the peak"),
        ("p95<1ms", "latency at the peak"), ("first.max<1s", "latency at the peak"), ("knee.workers>=8", "knee"),
        ("error_rate<1%", "failed and retried"), ("retried<1", "failed and retried"),
        ("retry_rate<1%", "failed and retried"), ("errors.timeout<1", "failed and retried"),
        ("rate>50", "average over the ramp"), ("pulled>5000", "average over the ramp"),
    ],
)  # fmt: skip
def test_a_missed_threshold_colours_the_tile_that_it_concerns(expression: str, label: str) -> None:
    tiles = shown_tiles(a_ramp(thresholds=[missed(expression), {**missed("p50<9s"), "passed": True}]))
    assert [each.label for each in tiles if isinstance(each.figure, Mark)] == [label]


def test_the_latency_of_a_constant_load_is_that_of_all_pulls_which_thresholds_judge() -> None:
    run = a_ramp(steps=[{**STEP, "direction": "hold"}], latency_ms={**LATENCY, "p95": 87.0})
    assert figures(shown_tiles(run))["latency"][0] == "p95 87 ms"
    assert "p95 87 ms" in headline.latency_at_peak(run)


def test_the_rate_of_a_constant_load_is_the_rate_that_a_threshold_concerns() -> None:
    (tile,) = (
        each
        for each in shown_tiles(a_ramp(steps=[{**STEP, "direction": "hold"}], thresholds=[missed("rate>50")]))
        if isinstance(each.figure, Mark)
    )
    assert tile.label == "average over the whole run"


def test_missed_thresholds_stand_on_top() -> None:
    shown = list(
        top(
            a_ramp(
                thresholds=[
                    missed("p95<1ms", 43.812),
                    missed("nonsense"),
                    {**missed("rate>1"), "passed": True},
                ]
            )
        )
    )
    assert [re.sub("<.*?>", "", each) for each in shown[:2]] == [
        "Threshold missed: p95 was 43.8 ms, must be under 1 ms", "Threshold missed: nonsense: missed",
    ]  # fmt: skip
    assert "verdict" in shown[2]


OUTAGE = held([30, 0, 0, 30], {"refused": [0, 40, 33, 0], "timeout": [0, 0, 30, 0]})


@pytest.mark.parametrize(
    ("run", "sentences"),
    [
        (a_ramp(errors={}, failed=0, retried=0),
         ["The server served 29.7 pulls/s (28.9 to 30.5) at 6 workers.", "No pull failed.",
          "What limited the rate: the server or network."]),
        (a_ramp(peak=None, errors={}, failed=0, retried=None, knee=None),
         ["The run was too short to tell the peak; give a longer --iteration-seconds.",
          "No pull failed.", "What limited the rate: unknown, but not this machine."]),
        (a_ramp(limited_by="client", errors={}, failed=0, retried=1),
         ["The server can serve at least 29.7 pulls/s (28.9 to 30.5) at 6 workers.",
          "No pull failed; clients retried 1 time.", "What limited the rate: this machine."]),
        (a_ramp(peak={**PEAK, "offered": 40.0}, steps=[{**STEP, "offered": 40.0}], errors={}, failed=0, retried=0,
                late_no_worker=50, unstarted=300),
         ["The server served 29.7 pulls/s (28.9 to 30.5) of 40 offered, with 6 workers.",
          "No pull failed; 300 pulls never started.",
          "What limited the rate: the server, or too few workers."]),
        (a_ramp(errors={"rate-limited": 73}, retried=0),
         ["The server served 29.7 pulls/s (28.9 to 30.5) at 6 workers.", "2.66 % of all pulls failed: 73 rate-limited.",
          "What limited the rate: the server's rate limit."]),
        (a_ramp(errors={"not-found": 73}, retried=0, knee=None,
                steps=[{**STEP, "rate": 1.0}, {**STEP, "pulled": 75, "failed": 25}]),
         ["The highest rate of successful pulls was 29.7 pulls/s (28.9 to 30.5) at 6 workers; "
          "25 % of the pulls failed there.",
          "2.66 % of all pulls failed: 73 not-found.", "What limited the rate: unknown, but not this machine."]),
        (a_ramp(errors={"not-found": 73}, retried=0, steps=[{**STEP, "pulled": 75, "failed": 25}], knee=None),
         ["The rate of successful pulls was 29.7 pulls/s (28.9 to 30.5) at 6 workers.",
          "2.66 % of all pulls failed: 73 not-found.", "What limited the rate: unknown, but not this machine."]),
        (a_ramp(pulled=0, error_rate=1.0, peak=None),
         ["No pull succeeded.", "100 % of all pulls failed: 50 refused, 23 timeout; clients retried 36 times."]),
        (a_ramp(pulled=0, failed=0, errors={}, peak=None), ["No pull ended."]),
        (a_ramp(samples=OUTAGE["samples"]),
         ["From 12:00:15 to 12:00:45 no pull succeeded: refused (73), timeout (30); recovered 15 s later.",
          "The server served 29.7 pulls/s (28.9 to 30.5) at 6 workers.", "Outside the outage, 2 pulls/s.",
          "2.66 % of all pulls failed: 50 refused, 23 timeout; clients retried 36 times."]),
    ],
    ids=["cached", "short", "client", "overload", "rate limit", "failing", "failing, one step", "no success",
         "nothing", "outage"],
)  # fmt: skip
def test_the_verdict(run: Summary, sentences: list[str]) -> None:
    assert verdict(run) == sentences


def test_without_the_use_of_the_machine_nothing_is_said_about_it() -> None:
    (sample,) = OF_ONE["samples"]
    told = limit(a_ramp(knee=None, samples=[{**sample, "machine": None}]))
    assert (
        told
        == "unknown, but not driver and clients: driver and clients did not use up the CPU of this machine"
    )


def test_a_dry_run_says_that_it_tested_no_server() -> None:
    run = a_ramp(settings={**OF_ONE["settings"], "dry_run": True})
    assert verdict(run)[0].startswith("This was a dry run.")


def test_a_schedule_that_the_server_kept_up_with() -> None:
    run = a_ramp(peak={**PEAK, "offered": 30.0}, steps=[{**STEP, "offered": 30.0}] * 2, errors={}, failed=0)
    assert limit(run).figure == "the offered rate"

"""The page of `ocidriver compare`: its figures, its charts in a real browser, and where it may be written."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.charts import charts
from lib.compare.recorded_run import read_run
from lib.compare.run_styles import Side
from tests.support.browser import HOSTILE, charts_in, check_that_it_asks_nobody, draw, own
from tests.support.made import Made

SHARED = {"rate", "rate-by-workers", "latency-by-workers", "errors"}
HOSTILE_FILE = "<img src=x onerror=alert(1)> \"b\" & 'c' \x1b[31m"


def empty(made: Made) -> Made:
    """As of a run that ended before its ramp began."""
    made.document.update(
        pulled=0, failed=0, error_rate=None, rate=0.0, elapsed_seconds=0.0, errors={}, steps=[], samples=[],
        latency_ms=None, first_latency_ms=None, repeat_latency_ms=None,
    )  # fmt: skip
    made.pulls = []
    return made


def one_pull(seed: int) -> Made:
    made = Made(seed, workers=1, step=0.5, tally=1.0)
    assert made.document["pulled"] == 1
    return made


def short_steps(seed: int) -> Made:
    """Steps of a few pulls, which have a median and no high percentiles."""
    made = Made(seed)
    for step in made.document["steps"]:
        if step["latency_ms"] is not None:
            step["latency_ms"].update(count=5, p90=None, p95=None, p99=None)
    return made


def hostile(seed: int) -> Made:
    """Something from outside wherever there can be any."""
    made = Made(seed, failing=0.2, filter=HOSTILE, patterns=[HOSTILE], pullthrough_url=HOSTILE)
    failed = made.document["failed"]
    made.document.update(
        client={"name": HOSTILE, "version": HOSTILE}, limited_by=HOSTILE,
        errors={HOSTILE: failed - 1, "<b>bold</b>": 1}, command=["./ocidriver.py", HOSTILE],
    )  # fmt: skip
    return made


Files = dict[str, Made]
RUNS: dict[str, Callable[[], Files]] = {
    "no ramp": lambda: {"a": empty(Made(1)), "b": empty(Made(2))},
    "no pulls": lambda: {"a": Made(1), "b": Made(2, failing=1.1)},
    "one pull": lambda: {"a": one_pull(1), "b": one_pull(2)},
    "many pulls with errors": lambda: {
        "a": Made(1, ms=20.0, workers=5, failing=0.01),
        "b": Made(2, ms=50.0, workers=5, failing=0.1),
    },
    "four runs": lambda: {
        "a": Made(1),
        "b": Made(2, ms=500.0),
        "c": Made(3, workers=3, prune=True),
        "d": Made(4, ms=8000.0, failing=0.5),
    },
    "short steps": lambda: {"a": short_steps(1), "b": short_steps(2)},
    "hostile names": lambda: {"a": Made(1, failing=0.1), HOSTILE_FILE: hostile(2)},
}
# The charts of a pair that have something to show.
DRAWN = {
    "no ramp": set(),
    "no pulls": {"rate", "rate-by-workers", "latency-by-workers", "errors", "change-B", "errors-B"},
    "one pull": {"rate", "rate-by-workers", "latency-by-workers", "change-B"},
    "many pulls with errors": {*SHARED, "change-B", "errors-B"},
    "four runs": {*SHARED, "runs", "change-B", "change-C", "change-D", "errors-D"},
    "short steps": {"rate", "rate-by-workers", "latency-by-workers", "change-B"},
    "hostile names": {*SHARED, "change-B", "errors-B"},
}


def written(folder: Path, made: Files) -> tuple[list[Path], list[object]]:
    """Summaries, and the options that name the events."""
    paths = [each.write(folder, name) for name, each in made.items()]
    events = [each.write_events(folder, name) for name, each in made.items()]
    return paths, [word for path in events for word in ("--events", path)]


def compared(capfd: pytest.CaptureFixture[str], page: Path, *words: object) -> tuple[int, str, str]:
    """(exit status, stdout, the page)."""
    status = main(["compare", *map(str, words), f"--report-file={page}"])
    return status, capfd.readouterr().out, page.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", RUNS)
def test_the_page_is_whole_and_asks_nobody(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = RUNS[kind]()
    paths, events = written(tmp_path, made)
    status, _, text = compared(capfd, tmp_path / "new" / "page.html", *paths, *events)
    assert status == (1 if kind in ("no ramp", "no pulls") else 0)
    check_that_it_asks_nobody(text)
    charts = charts_in(own(text))
    assert set(charts) == DRAWN[kind]
    for name, chart in charts.items():
        assert chart["data"], name
        assert all(trace["x"] and len(trace["x"]) == len(trace["y"]) for trace in chart["data"]), name
    if kind != "no ramp":
        assert len(charts["rate"]["data"]) == len(made)


@pytest.mark.parametrize(("kind", "dark"), [*((kind, False) for kind in RUNS), (max(RUNS), True)])
def test_a_browser_draws_every_chart_without_a_word_of_complaint(
    kind: str, dark: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, events = written(tmp_path, RUNS[kind]())
    draw(compared(capfd, tmp_path / "page.html", *paths, *events)[2], tmp_path, dark=dark)


CELL = re.compile(r'<td(?: class=[^ >]+)?(?: class="[^"]*")?(?: data-v="([^"]*)")?>(.*?)</td>')


def rows_of(text: str, title: str) -> dict[str, list[tuple[str, str]]]:
    """The rows of a section's table by their first cell, without its unit: (value or none, text) of the others."""
    section = own(text).split(f"<h2>{title}</h2>")[1].split("</section>")[0]
    rows = {}
    for row in re.findall(r"<tr>(.*)</tr>", section.split("<tbody>")[1]):
        (_, name), *cells = [(value, html.unescape(shown)) for value, shown in CELL.findall(row)]
        rows[name.split()[0]] = cells
    return rows


@pytest.mark.parametrize("kind", ["no pulls", "one pull", "many pulls with errors", "four runs"])
def test_the_table_has_the_values_of_the_json(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, events = written(tmp_path, RUNS[kind]())
    _, out, text = compared(capfd, tmp_path / "page.html", *paths, *events, "--format=json")
    for letter, told in zip("BCD", json.loads(out)["comparisons"], strict=False):
        rows = rows_of(text, f"Rate, latencies and errors, {letter} against A")
        measured = {
            name: each for name, each in told["quantities"].items()
            if name == "retry_rate" or each["a"] is not None or each["b"] is not None
        }  # fmt: skip
        assert list(rows) == list(measured)
        for name, each in measured.items():
            *values, (_, verdict) = rows[name]
            shown = [float(value) if value else None for value, _ in values]
            assert shown == [
                None if each[key] is None else pytest.approx(each[key])
                for key in ("a", "b", "change", "low", "high")
            ], name
            assert verdict == each["verdict"], name


def test_the_page_tells_of_what_the_text_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = {"a": Made(1), "b": Made(2, ms=500.0, prune=True, shuffle=True)}
    made["b"].document["interrupted"] = True
    paths, _ = written(tmp_path, made)
    words = ("--threshold=rate>-5%", "--threshold=mean<+90%", "--margin=3")
    status, _, text = compared(capfd, tmp_path / "page.html", *paths, *words)
    assert status == 3
    page = own(text)
    assert "b.json was interrupted" in page
    assert "The runs have different settings" in page
    differing = page.split("The runs have different settings")[1].split("</div>")[0]
    assert re.findall(r"<td class=\"s\">([^<]*)</td>", differing) == [
        "--prune", "false", "true", "--shuffle", "–", "true",
    ]  # fmt: skip
    assert "B against A: slower (rate -" in page
    assert (
        "Percentiles, and first and repeat latencies, have a confidence interval only if you give --events"
        in page
    )
    verdicts = [cells[0][1] for cells in rows_of(text, "Thresholds, B against A").values()]
    assert [verdict.split()[0] for verdict in verdicts] == ["missed", "met"]
    assert "the margin of ±3 %" in page
    assert "--iteration-seconds=20" in page


def test_an_inconclusive_threshold_is_told_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths, _ = written(tmp_path, {"a": Made(1), "b": Made(2)})
    text = compared(capfd, tmp_path / "page.html", *paths, "--threshold=rate>0%", "--inconclusive=pass")[2]
    told = rows_of(text, "Thresholds, B against A")["rate>0%"][0][1]
    assert told.startswith("inconclusive, which passes (")
    assert told.endswith(" times as long)")


def test_three_runs_have_all_changes_in_one_table(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths, _ = written(tmp_path, {"a": Made(1), "b": Made(2, ms=500.0), "c": Made(3)})
    _, out, text = compared(capfd, tmp_path / "page.html", *paths, "--format=json")
    verdicts = [told["quantities"]["rate"]["verdict"] for told in json.loads(out)["comparisons"]]
    shown = [cell[1].split()[-1] for cell in rows_of(text, "All changes")["rate"]]
    assert shown == verdicts == ["slower", "inconclusive"]


def test_verdicts_are_told_apart_without_colour(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths, _ = written(tmp_path, {"a": Made(1), "b": Made(2, ms=500.0)})
    data = [
        trace
        for files in (paths, paths[::-1], (paths[0], paths[0]))
        for trace in charts_in(own(compared(capfd, tmp_path / "page.html", *files)[2]))["change-B"]["data"]
    ]
    assert {trace["name"]: trace["marker"]["symbol"] for trace in data} == {
        "faster": "triangle-up", "slower": "triangle-down", "same": "circle", "inconclusive": "x-thin-open",
    }  # fmt: skip
    for trace in data:
        for reach in (trace["error_x"][side] for side in ("array", "arrayminus") if "error_x" in trace):
            assert len(reach) == len(trace["x"])
            assert min(reach) >= 0


@pytest.mark.parametrize(("ms", "kind"), [(500.0, "linear"), (8000.0, "log")])
def test_large_changes_have_an_axis_of_ratios(
    ms: float, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, events = written(tmp_path, {"a": Made(1), "b": Made(2, ms=ms)})
    text = compared(capfd, tmp_path / "page.html", *paths, *events)[2]
    chart = charts_in(own(text))["change-B"]
    axis = chart["layout"]["xaxis"]
    assert axis.get("type", "linear") == kind
    assert chart["layout"]["shapes"][1]["x0"] == (1 if kind == "log" else 0)
    if kind == "log":
        assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True))[10] == "+900"


def test_hostile_names_are_shown_as_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths, events = written(tmp_path, RUNS["hostile names"]())
    page = own(compared(capfd, tmp_path / "page.html", *paths, *events)[2])
    assert html.escape("<script>alert(1)</script>") in page
    assert html.escape("onerror=alert(1)> \"b\" & 'c' [31m.json") in page
    names: list[str] = [
        name
        for chart in charts_in(page).values()
        for name in (
            *(trace["name"] for trace in chart["data"]),
            *chart["layout"]["yaxis"].get("ticktext", ()),
        )
    ]
    assert "&lt;b&gt;bold&lt;/b&gt;" in names
    assert not [name for name in names if set(name) & set("<>\x1b\u202e")]


def test_long_runs_are_drawn_with_fewer_points_and_in_minutes(tmp_path: Path) -> None:
    made = Made(1, step=200.0, tally=0.4)
    assert len(made.document["samples"]) == 2000
    rate = charts([Side(0, read_run(made.write(tmp_path, "a")))])[0]
    (trace,) = rate.data
    assert len(trace["x"]) <= 801
    assert trace["x"][-1] == pytest.approx(800 / 60, abs=1e-3)
    assert rate.layout["xaxis"]["title"]["text"] == "minutes since the load began"
    seconds = [60 * (end - start) for start, end in pairwise(trace["x"])]
    pulled = sum(r * s for r, s in zip(trace["y"][1:], seconds, strict=True))
    assert pulled == pytest.approx(made.document["pulled"], rel=0.01)
    assert set(trace["customdata"]) == {1, 2}


def test_letters_go_on_after_z(tmp_path: Path) -> None:
    run = read_run(Made(1).write(tmp_path, "a"))
    assert [Side(place, run).letter for place in (0, 25, 26, 27, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AB",
        "ZZ",
        "AAA",
    ]


def refused(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """(exit status, the one line on stderr) of what prints nothing else."""
    status = main(["compare", *map(str, words)])
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return status, err


def test_the_page_takes_the_place_of_no_input(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By whatever name; told before anything is read, as the second file is no summary."""
    summary, events = Made(1).write(tmp_path, "a"), Made(1).write_events(tmp_path, "a")
    (tmp_path / "link").symlink_to(summary)
    os.link(events, tmp_path / "hard")
    before = summary.read_bytes(), events.read_bytes()
    words = (summary, tmp_path, "--events", events, "--events", events)
    for name in ("a.json", "a.jsonl", "link", "hard", "../" + tmp_path.name + "/a.json"):
        status, err = refused(capfd, *words, f"--report-file={tmp_path}/{name}")
        assert status == 2
        assert f"{name} is read as well (" in err
    assert (summary.read_bytes(), events.read_bytes()) == before
    assert "name a file" in refused(capfd, *words, "--report-file=-")[1]


def test_a_page_without_a_place_is_told_before_any_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths, _ = written(tmp_path, {"a": Made(1), "b": Made(2)})
    for place in (tmp_path, paths[0] / "page.html"):
        status, err = refused(capfd, *paths, f"--report-file={place}")
        assert status == 1
        assert f"--report-file: cannot write {place}: " in err
        assert "name a file in a folder that you may write to" in err


def test_a_full_disk_costs_the_page_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths, _ = written(tmp_path, {"a": Made(1), "b": Made(2)})
    assert main(["compare", *map(str, paths), "--report-file=/dev/full"]) == 1
    out, err = capfd.readouterr()
    assert out.startswith("The runs do not show whether B is faster or slower than A: ")
    assert err == (
        "ocidriver: --report-file: cannot write /dev/full: No space left on device; name a file in a folder that you "
        "may write to\n"
    )


@pytest.mark.parametrize(("module", "other"), [("compare", "report"), ("report", "compare")])
def test_comparison_and_report_need_nothing_of_each_other(module: str, other: str) -> None:
    program = f"import sys, lib.{module}.page, lib.{module}.command; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules: list[Any] = done.stdout.split()
    assert f"lib.{module}.page" in modules
    assert not [name for name in modules if name.startswith(f"lib.{other}")]

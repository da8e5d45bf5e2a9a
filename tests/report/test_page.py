"""The report: the fit, the series made of events, and the page, in a real browser where there is one."""

from __future__ import annotations

import html
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lib.errors import UsageError
from lib.report.charts import charts
from lib.report.events import DOTS, SLOWEST, EventSeries
from lib.report.page import page
from lib.report.ramp_time import Span
from lib.report.reservoir import Reservoir
from lib.report.run_data import Findings, find
from lib.results.event_line import EventLine
from lib.results.scalability import steps_of
from lib.results.summary_file import read_summary
from lib.results.summary_file import summary_of as as_read
from tests.support.browser import HOSTILE, charts_in, check_that_it_asks_nobody, draw, own
from tests.support.driving import command, drive, finish, start
from tests.support.waiting import wait_until

BEGIN = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
CLASSES = ("timeout", "server-error", "rate-limited")


def latency(*values: float) -> dict[str, float] | None:
    if not values:
        return None
    names = ("min", "mean", "p50", "p90", "p95", "p99", "max")
    ordered = sorted(values)
    chosen = (0, len(values) // 2, len(values) // 2, -1, -1, -1, -1)
    return dict(zip(names, (ordered[place] for place in chosen), strict=True))


def events_of(
    pulls: int, seconds: float, *, name: str = "a-0001:v1", failures: bool = False
) -> Iterator[dict[str, Any]]:
    """Pulls, evenly over the time; every tenth fails if any does."""
    for place in range(pulls):
        failed = failures and place % 10 == 9
        yield {
            "time": (BEGIN + timedelta(seconds=seconds * (place + 0.5) / pulls)).isoformat(
                timespec="microseconds"
            ),
            "op": "pull",
            "worker": place % 3,
            "pass": 1,
            "image": f"{name}{place % 40}",
            "outcome": "failed" if failed else "ok",
            "class": CLASSES[place // 10 % 3] if failed else None,
            "seconds": 0.01 + 0.001 * (place * 7919 % 97),
            "first": place < pulls / 10,
            "retries": 0,
            "message": HOSTILE if failed else None,
        }


def summary_of(
    events: list[dict[str, Any]], seconds: float, *, workers: int = 5, text: str = "-0001"
) -> dict[str, Any]:
    """As a run with these events would have written it; `text` stands wherever something comes from outside."""
    ok = [event for event in events if event["outcome"] == "ok"]
    failed = len(events) - len(ok)
    times = [event["seconds"] * 1000 for event in ok]
    levels = [*range(1, workers + 1), *range(workers, 0, -1)]
    part = len(ok) // len(levels) if levels else 0
    pulled = [part] * (len(levels) - 1) + [len(ok) - part * (len(levels) - 1)] if levels else []
    length = seconds / len(levels) if levels else 0
    return {
        "schema": 1, "started": BEGIN.isoformat(), "elapsed_seconds": seconds, "interrupted": False, "reason": None,
        "command": ["./ocidriver.py", f"--patterns={text}"],
        "settings": {"pullthrough_url": "http://cache:8080", "registry_url": f"http://{text}", "patterns": [text],
                     "dry_run": False, "prune": False, "filter": text},
        "client": {"name": "crane", "version": text}, "listed": 9, "images": 9, "pulled": len(ok), "failed": failed,
        "interrupted_pulls": 0, "pruned": 0, "prune_failed": 0, "retried": 0,
        "error_rate": failed / len(events) if events else None, "rate": len(ok) / seconds if seconds else 0.0,
        "errors": {text: failed} if failed else {}, "prune_errors": {}, "latency_ms": latency(*times),
        "first_latency_ms": latency(*times), "repeat_latency_ms": latency(*times),
        "workers": [{"pattern": text, "images": 3, "passes": 1, "pulled": len(ok), "failed": 0, "pruned": 0}],
        "steps": [{"workers": n, "direction": "up" if i < workers else "down", "seconds": length, "pulled": count,
                   "failed": 0, "rate": 10 * n / (1 + 0.2 * (n - 1)) if ok else 0.0, "latency_ms": latency(*times)}
                  for i, (n, count) in enumerate(zip(levels, pulled, strict=True))],
        "samples": [{"time": (BEGIN + timedelta(seconds=length * (i + 1))).isoformat(timespec="milliseconds"),
                     "seconds": length, "rate": count / length, "workers": n, "pulled": count, "failed": 0,
                     "latency_ms": latency(*times)}
                    for i, (n, count) in enumerate(zip(levels, pulled, strict=True))],
        "driver_cpu_seconds": 0.1, "client_cpu_seconds": 1.0, "limited_by": None,
        "thresholds": [{"expression": text, "value": None, "passed": False}],
    }  # fmt: skip


def as_line(event: dict[str, Any]) -> EventLine:
    return msgspec.convert(event, EventLine)


def written(folder: Path, summary: dict[str, Any], events: list[dict[str, Any]]) -> tuple[Path, Path]:
    paths = folder / "summary.json", folder / "events.jsonl"
    paths[0].write_text(json.dumps(summary))
    paths[1].write_text("".join(json.dumps(event) + "\n" for event in events))
    return paths


def report(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("report", *words), capture_output=True, text=True, timeout=100, check=False)


RUNS: dict[str, Callable[[], tuple[dict[str, Any], list[dict[str, Any]]]]] = {}


def run_of(pulls: int, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    text = options.pop("text", "-0001")
    events = list(events_of(pulls, 60.0, **options))
    return summary_of(events, 60.0, text=text), events


RUNS["no ramp"] = lambda: ({**summary_of([], 0.0, workers=0), "workers": []}, [])
RUNS["no pulls"] = lambda: run_of(0)
RUNS["one pull"] = lambda: run_of(1)
RUNS["many pulls"] = lambda: run_of(10_000, failures=True)
RUNS["hostile names"] = lambda: run_of(200, failures=True, name=HOSTILE, text=HOSTILE)


@pytest.mark.parametrize("kind", RUNS)
def test_the_page_is_whole_and_asks_nobody(kind: str, tmp_path: Path) -> None:
    paths = written(tmp_path, *RUNS[kind]())
    done = report(*paths, "-o", tmp_path / "r.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    check_that_it_asks_nobody(text)
    expected = {
        "no ramp": set(),
        "no pulls": {"rate"},
        "one pull": {"rate", "latency", "distribution", "spectrum", "scalability", "latency-by-load"},
    }
    everything = {*expected["one pull"], "errors", "failed-images"}
    assert set(charts_in(own(text))) == expected.get(kind, everything)


def test_a_run_that_ended_before_its_ramp_has_no_empty_tables() -> None:
    summary = RUNS["no ramp"]()[0]
    text = own(page(Findings(as_read(summary), Span(BEGIN, 0.0), None)))
    assert text.count("there is nothing to draw") == 1
    assert "<tbody></tbody>" not in text


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    summary, events = RUNS["hostile names"]()
    for event in events:
        event["class"] = event["class"] and HOSTILE
    paths = written(tmp_path, summary, events)
    text = own(page(find(read_summary(paths[0]), paths[1])))
    assert html.escape("<script>alert(1)</script>") in text
    names = [trace["name"] for trace in charts_in(text)["errors"]["data"]]
    assert names
    assert all("<" not in name for name in names)


def test_events_become_series() -> None:
    series = EventSeries(Span(BEGIN, 60.0))
    for event in events_of(1000, 60.0, failures=True):
        series.add(as_line(event))
    assert series.outcomes == {"ok": 900, "failed": 100}
    assert sum(series.first.histogram) + sum(series.repeat.histogram) == 900
    assert {name: sum(counts) for name, counts in series.errors.items()} == {
        "timeout": 34, "server-error": 33, "rate-limited": 33,
    }  # fmt: skip
    slowest = series.slowest()
    assert len(slowest) == SLOWEST
    assert slowest[0].slowest == max(
        event["seconds"] for event in events_of(1000, 60.0, failures=True) if event["outcome"] == "ok"
    )


def test_memory_is_bounded_whatever_the_names() -> None:
    series = EventSeries(Span(BEGIN, 60.0))
    event = next(events_of(1, 60.0))
    for place in range(120_000):
        series.add(as_line({**event, "image": f"i{place}", "seconds": 9.0 if place == 7 else 0.01}))
        if place < 100:
            series.add(as_line({**event, "outcome": "failed", "class": f"c{place}"}))
    assert series.images_dropped
    assert len(series.images) <= 100_000
    assert series.slowest()[0].name == "i7"
    assert len(series.errors) <= 31
    assert len(series.repeat.dots.items) + len(series.first.dots.items) <= 2 * DOTS


def test_a_reservoir_is_a_fair_choice() -> None:
    reservoir = Reservoir[tuple[float, float]](1000)
    for place in range(10_000):
        reservoir.add((float(place), 0.0))
    assert len(reservoir.items) == 1000
    assert 4500 < sum(at for at, _ in reservoir.items) / 1000 < 5500


def test_lines_that_are_no_events_are_told_of(tmp_path: Path) -> None:
    summary, events = run_of(20)
    paths = written(tmp_path, summary, events)
    with paths[1].open("a") as file:
        file.write('[]\n{"time": 3}\nnull\n{"time": "2026-01-3')
    findings = find(read_summary(paths[0]), paths[1])
    assert findings.events is not None
    assert findings.events.unreadable == 4
    assert "The events file has 4 lines without an event." in page(findings)


def test_events_of_another_run_are_warned_of(tmp_path: Path) -> None:
    paths = written(tmp_path, run_of(20)[0], run_of(30)[1])
    done = report(*paths, "--output", tmp_path / "r.html")
    assert done.returncode == 0
    assert "warning: the events file has 30 pulls and 0 failures, but the summary has 20 and 0" in done.stderr


@pytest.mark.parametrize(
    ("content", "word"),
    [("", "not JSON"), ("[]", "not a summary"), ('{"schema": 2}', "schema"),
     ('{"schema": 1}', ": started is missing; "),
     ('{"a": NaN}', "not JSON"),
     (json.dumps({**run_of(3)[0], "steps": [3]}), r": steps\[0\] is a whole number, not an object; "),
     (json.dumps({**run_of(3)[0], "started": "today"}), ": started is not an ISO 8601 time with a zone; "),
     (json.dumps({**run_of(3)[0], "elapsed_seconds": 1e9}), ": elapsed_seconds is out of range: "),
     (json.dumps({**run_of(3)[0], "elapsed_seconds": 1e300}), ": elapsed_seconds is out of range: "),
     (json.dumps({**run_of(3)[0], "pulled": True}), ": pulled is true or false, not a whole number; ")],
)  # fmt: skip
def test_what_is_no_summary_is_wrong_usage(content: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(content)
    with pytest.raises(UsageError, match=word):
        read_summary(tmp_path / "s")


def test_missing_files_are_wrong_usage(tmp_path: Path) -> None:
    done = report(tmp_path / "none.json")
    assert done.returncode == 2
    told = (
        f"cannot read {tmp_path}/none.json: No such file or directory; give a file that --summary-file wrote"
    )
    assert done.stderr == f"ocidriver: {told}\n"
    paths = written(tmp_path, *run_of(1))
    (tmp_path / "text").write_text("no event\n")
    assert "holds no events" in report(paths[0], tmp_path / "text").stderr


def test_without_a_summary_the_error_says_which_file_to_give(tmp_path: Path) -> None:
    done = report("-o", tmp_path / "r.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "ocidriver: report: no summary file is given; give the file that --summary-file wrote\n"
    )


def test_pages_are_told_apart_by_folder_file_and_title(tmp_path: Path) -> None:
    (tmp_path / "run-7").mkdir()
    summary, events = written(tmp_path / "run-7", *run_of(20))
    page_file = tmp_path / "r.html"
    assert report(summary, events, "-o", page_file).returncode == 0
    text = own(page_file.read_text(encoding="utf-8"))
    assert "<title>Load test of cache:8080 – run-7/summary.json</title>" in text
    assert "file run-7/summary.json" in text.partition("</header>")[0]
    assert report(summary, events, "-o", page_file, "--title", "Cold <b>").returncode == 0
    text = own(page_file.read_text(encoding="utf-8"))
    assert "<title>Cold &lt;b&gt; – run-7/summary.json</title>" in text
    assert "<h1>Cold &lt;b&gt;</h1>" in text


def test_too_few_points_are_told_and_an_interrupted_step_is_left_out() -> None:
    summary = summary_of(list(events_of(100, 60.0)), 60.0, workers=2)
    findings = Findings(as_read(summary), Span(BEGIN, 60.0), None)
    drawn = {chart.name: chart for chart in charts(findings)}
    assert drawn["scalability"].note.startswith(
        "There are too few points for a fit: 2 different numbers of workers"
    )
    summary["interrupted"] = True
    findings = Findings(as_read(summary), Span(BEGIN, 60.0), None)
    assert len(steps_of(findings.summary)) == 3
    assert "The run was interrupted" in page(findings)


def test_each_image_of_a_batch_is_counted_and_their_launch_is_one_latency() -> None:
    series = EventSeries(Span(BEGIN, 60.0))
    pull = {"time": BEGIN.isoformat(), "op": "pull", "outcome": "ok", "class": None, "first": False}
    for name, timed, repulled in (("a", True, False), ("b", False, False), ("c", False, True)):
        series.add(
            as_line(
                {**pull, "image": name, "seconds": 0.5, "launch": 1, "timed": timed, "repulled": repulled}
            )
        )
    assert [(each.name, each.pulled, each.slowest) for each in series.slowest()] == [
        ("a", 1, 0.5), ("b", 1, 0.5), ("c", 1, 0.5),
    ]  # fmt: skip
    assert sum(series.repeat.histogram) == series.repeat.dots.seen == 1


def test_many_samples_are_put_together() -> None:
    summary = summary_of(list(events_of(5000, 60.0)), 60.0, workers=1500)
    drawn = charts(Findings(as_read(summary), Span(BEGIN, 60.0), None))
    assert len(drawn[0].data[0]["x"]) <= 801


def test_a_run_writes_its_report(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.write_text("".join(f"app-{i}:v1\n" for i in range(8)))
    done = drive(
        tmp_path, "--dry-run", "--pullthrough-url=c:1", "--registry-url=u:1", f"--image-list={images}",
        "--workers=4", "--passes=2", "--tally-seconds=0.2", f"--report-file={tmp_path}/new/r.html",
    )  # fmt: skip
    assert done.status == 0
    assert done.stderr == f"ocidriver: --report-file: made the folder {tmp_path}/new, which did not exist\n"
    text = own((tmp_path / "new" / "r.html").read_text(encoding="utf-8"))
    assert "This was a dry run" in text
    assert "app-0:v1" in text
    assert f"--report-file={tmp_path}/new/r.html" in text
    assert done.summary["command"][-1] == f"--report-file={tmp_path}/new/r.html"
    report(tmp_path / "summary.json", tmp_path / "events", "-o", tmp_path / "again.html")
    assert own((tmp_path / "again.html").read_text(encoding="utf-8")) == text


def test_an_interrupted_run_has_its_report(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.write_text("app:v1\n")
    running = start(
        tmp_path, "--dry-run", "--pullthrough-url=c:1", "--registry-url=u:1", f"--image-list={images}",
        "--workers=1", "--iteration-seconds=60", f"--report-file={tmp_path}/r.html",
    )  # fmt: skip
    wait_until(lambda: (tmp_path / "events").exists() and (tmp_path / "events").stat().st_size)
    running.send_signal(signal.SIGINT)
    assert finish(running, tmp_path).status == 130
    assert "The run was interrupted" in own((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_a_report_that_cannot_be_made_does_not_cost_the_summary(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy here')")
    images = tmp_path / "images"
    images.write_text("app:v1\n")
    done = drive(
        tmp_path, "--dry-run", "--pullthrough-url=c:1", "--registry-url=u:1", f"--image-list={images}",
        "--workers=1", "--passes=3", f"--report-file={tmp_path}/r.html",
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.status, done.stderr) == (1, "ocidriver: cannot make the report: no numpy here\n")
    assert done.summary["pulled"] == 3


def test_a_run_without_numpy_has_a_summary_without_a_knee(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('no numpy here')")
    images = tmp_path / "images"
    images.write_text("".join(f"app-{k}:v1\n" for k in range(6)))
    done = drive(
        tmp_path, "--dry-run", "--pullthrough-url=c:1", "--registry-url=u:1", f"--image-list={images}",
        "--workers=6", "--iteration-seconds=0.1", environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert (done.status, done.stderr, done.summary["knee"]) == (0, "", None)
    assert len({each["workers"] for each in done.summary["steps"]}) == 6


def test_the_load_test_imports_nothing_of_the_report() -> None:
    program = "import sys, lib.cli, lib.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "lib.run" in modules
    assert not [
        name for name in modules if name.startswith(("lib.report", "lib.pages", "lib.compare", "numpy"))
    ]


@pytest.mark.parametrize(("kind", "dark"), [*((kind, False) for kind in RUNS), (max(RUNS), True)])
def test_a_browser_draws_every_chart_without_a_word_of_complaint(
    kind: str, dark: bool, tmp_path: Path
) -> None:
    paths = written(tmp_path, *RUNS[kind]())
    draw(page(find(read_summary(paths[0]), paths[1])), tmp_path, dark=dark)

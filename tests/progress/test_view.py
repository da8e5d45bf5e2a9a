"""What the live view looks like, in lines for a terminal of any size, and what remains of it at the end."""

from __future__ import annotations

import io
import os
import pty
import re
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import cast

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lib.finish import log_result
from lib.latency import Latency
from lib.load.closed import Sample, StepTally
from lib.load.constant import plan_constant
from lib.load.curve import Curve, Rate
from lib.load.pace import Schedule
from lib.load.plan import Step
from lib.load.ramp import plan_ramp, plan_schedule
from lib.load.shares import Shares
from lib.load.stages import parse_stages, plan_stages
from lib.load.tally import Tally
from lib.load.worker import PULLING, STOPPED, WAITING
from lib.options.settings import Settings
from lib.progress.about import cache_state
from lib.progress.closing import closing_lines, thinned
from lib.progress.painter import Painter, styled
from lib.progress.rows import Row, recent, table
from lib.progress.snapshot import Snapshot
from lib.progress.view import room, sparkline, view_lines
from lib.progress.worker_rows import WorkerRow
from lib.results.run_state import COLD, UNKNOWN, WARM, Run
from tests.support.terminal import resize

RAMP = plan_ramp(1, 10.0)
LATENCY = Latency(count=200, min=1.0, mean=2.0, p50=3.04, p90=4.0, p95=50.06, p99=1234.5, max=9999.0)


def worker(
    index: int, what: str = PULLING, name: str = "team/app-0001:v1", pattern: str = "-0001"
) -> WorkerRow:
    return WorkerRow(index, pattern, 12, 3, 10, 1234, index % 2, what, name, None)


WHOLE = Row("whole run", 80.0, None, 5000, 7, 12, LATENCY)
INTERVAL = Row("last interval", 89.55, None, 1343, 2, 4, LATENCY)
STEPS = tuple(Row(f"↑ {k} workers", 10.0 * k, None, 100 * k, 0, 1, LATENCY) for k in range(2, 5))


def snapshot(workers: int, height: int) -> Snapshot:
    fit = room(height, len(STEPS))
    shown = min(workers, fit.workers)
    return Snapshot(
        target="cache:8080 with crane 0.22.1, first pulls cold", load="ramp of 12 steps", done=0.425, elapsed=65.0,
        seconds=15.0, to_do="1:02:05 left", running=workers, planned=workers, peak=workers,
        whole=WHOLE, interval=INTERVAL, steps=STEPS[: fit.steps], rate=89.55, offered=None,
        bars=tuple(float(k) for k in range(100)), latency=LATENCY, p95_bars=tuple(float(k) for k in range(100)),
        errors=(("not-found", 5), ("timeout", 2)), late=None,
        limit="unknown, but not this machine: its CPU was at most 50 % busy", limited=False,
        driver_cpu=0.08, client_cpu=1.3, cores=2.0,
        rows=tuple(map(worker, range(shown))), more=workers - shown, doing=((PULLING, workers), (WAITING, 2)),
    )  # fmt: skip


def shown(lines: list[Text], width: int) -> list[str]:
    """As a terminal without colours shows them."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="crop", crop=True)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("workers", [3, 100])
def test_the_view_fits_and_tells_all(width: int, workers: int) -> None:
    height = 24
    lines = view_lines(snapshot(workers, height), width, height)
    assert all(line.cell_len < width for line in lines), [line.plain for line in lines]
    assert len(lines) < height
    text = shown(lines, width)
    assert text[0] == "target     cache:8080 with crane 0.22.1, first pulls cold"
    assert text[1] == "load       ramp of 12 steps"
    assert re.fullmatch(r"time       1:05 elapsed, 1:02:05 left  ━+[╸╺]?━+  42 %", text[2])
    assert len(text[2]) == 75
    assert text[3] == (
        f"workers    {workers} of {workers} planned, {workers} in all: {workers} pulling, 2 waiting"
    )
    assert re.fullmatch(r"rate now   89.5 pulls/s +[▁▂▃▄▅▆▇█]+█+", text[4])
    assert re.fullmatch(r"p95 now    50.1 ms +[▁▂▃▄▅▆▇█]+█+", text[5])
    assert text[4].index("█") == text[5].index("█")
    assert len(text[4]) == len(text[5]) == min(width - 1, 139)
    assert text[6] == "errors     5 not-found, 2 timeout"
    limit = "limit now  unknown, but not this machine: its CPU was at most 50 % busy"
    assert text[7] == limit + ("; CPU now: driver 8 %, clients 130 % of 200 %" if width == 160 else "")
    assert text[8].split() == "pulls/s pulled failed retried p50 ms p95 ms p99 ms".split()
    assert text[9].split() == "whole run 80 5,000 7 12 3.04 50.1 1,230".split()
    assert text[10].split() == "last interval 89.5 1,343 2 4 3.04 50.1 1,230".split()
    assert [line.split()[:4] for line in text[11:14]] == [
        ["↑", str(k), "workers", str(10 * k)] for k in (2, 3, 4)
    ]
    rows = [line.split() for line in text[15:]]
    assert rows[0][:6] == ["0", "-0001", "12", "3/10", "1234", "0"]
    assert rows[0][6] == "pulling"
    assert rows[0][7].endswith("app-0001:v1")
    if workers == 3:
        assert [line[0] for line in rows] == ["0", "1", "2"]
    else:
        assert len(rows) == 7
        assert text[-1] == "… 94 more"


@pytest.mark.parametrize("height", [*range(1, 14), 24, 200])
@pytest.mark.parametrize("width", [1, 2, 10, 20, 30, 40, 60])
def test_a_tiny_terminal_breaks_nothing(width: int, height: int) -> None:
    """The cursor has the line under it: of a higher view the top would scroll away with each drawing."""
    for seen in (
        snapshot(100, height),
        replace(
            snapshot(100, height),
            interval=None,
            steps=(),
            limit=None,
            to_do=None,
            offered=1234.5,
            late=(("machine", 3),),
        ),
    ):
        lines = view_lines(seen, width, height)
        assert len(lines) <= height - 1
        assert all(line.cell_len <= max(width - 1, 0) for line in lines)
        painted = styled(lines, width)
        assert len(painted) == len(lines)
        assert all(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= max(width - 1, 1) for line in painted)


@pytest.mark.parametrize(
    ("height", "labels"),
    [
        (2, ["time"]),
        (4, ["time", "", "whole"]),
        (6, ["time", "rate", "", "whole", "last"]),
        (9, ["time", "workers", "rate", "p95", "errors", "", "whole", "last"]),
        (12, ["target", "load", "time", "workers", "rate", "p95", "errors", "limit", "", "whole", "last"]),
    ],
)
def test_a_low_terminal_lacks_what_matters_least(height: int, labels: list[str]) -> None:
    lines = view_lines(snapshot(3, height), 80, height)
    assert [line.plain.partition(" ")[0] for line in lines] == labels


def test_a_narrow_terminal_lacks_columns_but_shows_retried_pulls_beside_failed_ones() -> None:
    headings = [
        " ".join(table([WHOLE, INTERVAL], width)[0].plain.split()) for width in (79, 60, 50, 45, 35, 30)
    ]
    assert headings == [
        "pulls/s pulled failed retried p50 ms p95 ms p99 ms",
        "pulls/s pulled failed retried p95 ms",
        "pulls/s failed retried p95 ms",
        "pulls/s failed retried",
        "pulls/s",
        "pulls/s",
    ]


def test_what_to_do_about_a_limit_goes_first_if_there_is_no_room() -> None:
    limited = replace(snapshot(3, 24), limit="this machine was slow; give a lower rate", limited=True)
    for width, told in (
        (160, "this machine was slow; give a lower rate; CPU now: driver 8 %, clients 130 % of 200 %"),
        (80, "this machine was slow; give a lower rate"),
        (40, "this machine was slow"),
    ):
        (line,) = (each for each in view_lines(limited, width, 24) if each.plain.startswith("limit"))
        assert line.plain.partition("limit now  " if width >= 60 else "limit   ")[2] == told
        assert "yellow" in {str(span.style) for span in line.spans}


def test_what_is_not_known_is_not_claimed() -> None:
    young = replace(snapshot(3, 24), interval=None, limit=None, latency=None, p95_bars=(), steps=())
    text = [line.plain.rstrip() for line in view_lines(young, 80, 24)]
    assert text[5] == "p95 now    -"
    assert text[7] == "limit now  not known yet; CPU now: driver 8 %, clients 130 % of 200 %"
    assert text[10] == "the first interval of 15s is not over"


def test_without_workers_to_tell_of_there_is_no_table() -> None:
    idle = replace(snapshot(0, 24), rows=(), steps=(), doing=((WAITING, 60), (STOPPED, 40)))
    lines = [line.plain for line in view_lines(idle, 80, 24)]
    assert lines[3].endswith(": 60 waiting, 40 stopped")
    assert lines[-1].startswith("last interval")


def test_a_launch_that_takes_long_is_marked() -> None:
    slow = replace(worker(0), seconds=65.0)
    lines = view_lines(replace(snapshot(1, 24), rows=(slow, worker(2))), 80, 24)
    assert lines[-2].plain.endswith(" pulling 1:05 team/app-0001:v1")
    assert "yellow" in {str(span.style) for span in lines[-2].spans}
    assert lines[-1].plain.endswith(" pulling team/app-0001:v1")


def test_the_end_and_a_schedule_are_told() -> None:
    ending = view_lines(replace(snapshot(3, 24), to_do=None, running=2), 80, 24)
    assert ending[2].plain == "time       ending: the last pull or prune of 2 workers"
    scheduled = view_lines(replace(snapshot(3, 24), offered=100.0), 80, 24)
    assert re.match(r"rate now   89\.5 pulls/s of 100 offered +[▁▂▃▄▅▆▇█]+$", scheduled[4].plain)


def test_late_pulls_are_shown_by_their_reason() -> None:
    scheduled = replace(snapshot(3, 24), errors=(), late=(("no-worker", 0), ("machine", 0)))
    assert view_lines(scheduled, 80, 24)[6].plain == "errors     none"
    late = replace(scheduled, late=(("no-worker", 1234), ("machine", 3)))
    assert view_lines(late, 80, 24)[6].plain == "errors     none; late: 1,234 no-worker, 3 machine"


def test_names_from_outside_are_no_markup_and_keep_the_columns() -> None:
    hostile = worker(0, name="[red]x[/red][link=http://x]" + "深" * 40 + ":v1", pattern="[bold]深[/]" * 9)
    lines = view_lines(replace(snapshot(1, 24), rows=(hostile,)), 60, 24)
    assert "[bold]" in lines[-1].plain
    assert "…" in lines[-1].plain
    assert lines[-1].plain.endswith("深:v1")
    assert lines[-1].cell_len < 60
    assert not {str(span.style) for span in lines[-1].spans} & {"bold", "red", "link"}
    assert "[red]x" not in styled(lines, 60)[-1]


def test_styles_are_the_terminals() -> None:
    lines = [Text("plain"), Text("dim", style="dim"), Text.assemble("a ", ("red", "red"), " b")]
    assert styled(lines, 60) == ["plain", "\x1b[2mdim\x1b[0m", "a \x1b[31mred\x1b[0m b"]
    assert styled([], 60) == []


def test_without_colours_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes the colours. Bold and dim are no colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = r"\x1b\[[0-9;]*3[0-9]"
    lines = view_lines(replace(snapshot(3, 24), limited=True), 80, 24)
    painted = styled(lines, 80)
    assert not [line for line in painted if re.search(coloured, line)]
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in painted] == [line.plain for line in lines]
    monkeypatch.delenv("NO_COLOR")
    assert [line for line in styled(lines, 80) if re.search(coloured, line)]


def test_the_sparkline_shows_the_last_that_fit() -> None:
    assert sparkline([0, 1, 2, 4, 8], 3) == "▃▅█"
    assert sparkline([None, 4, None, 8], 9) == " ▅ █"
    assert sparkline([0.0, 0.0], 9) == "▁▁"
    assert sparkline([1.0], 0) == sparkline([], 9) == ""


def ended_run(tally: Tally) -> Run:
    settings = SimpleNamespace(dry_run=False, prune=False, prune_first=False, herd=False, as_json=dict)
    run = Run(cast(Settings, settings), datetime.now(), tally)
    run.elapsed = 20.0
    return run


def a_tally() -> Tally:
    return Tally(1, retries_known=True, on_sample=lambda _: None)


def step_tally(
    step: Step, seconds: float, pulled: int, failed: int, latency: Latency | None, offered: float | None
) -> StepTally:
    shares = Shares(step.start)
    for _ in range(pulled):
        shares.add(step.start, step.start + seconds)
    shares.close(step.start + seconds)
    return StepTally(step, seconds, pulled, failed, latency, offered, shares)


def test_the_end_shows_the_steps() -> None:
    tally, (up, down) = a_tally(), plan_ramp(1, 10.0).steps
    tally.steps += [step_tally(up, 10.0, 1, 0, LATENCY, None), step_tally(down, 10.0, 0, 1, None, None)]
    lines = [line.plain for line in closing_lines(ended_run(tally), RAMP, 100)]
    assert lines == [
        "            pulls/s  pulled  failed  retried  p50 ms  p95 ms  p99 ms",
        "↑ 1 worker      0.1       1       0        -    3.04    50.1   1,230",
        "↓ 1 worker        0       0       1        -       -       -       -",
    ]


def test_the_log_says_that_the_steps_are_too_short_to_tell_the_peak() -> None:
    plan = plan_ramp(1, 100.0)
    tally, (up, down) = a_tally(), plan.steps
    for step, seconds, pulls in ((up, 100.0, 100), (down, 2.0, 6)):
        shares = Shares(0.0)
        for pull in range(pulls):
            shares.add(pull * seconds / pulls, (pull + 1) * seconds / pulls)
        shares.close(seconds)
        tally.steps.append(StepTally(step, seconds, pulls, 0, LATENCY, None, shares))
    run, logged = ended_run(tally), list[str]()
    log_result(logged.append, run)
    told = "the steps are too short to tell the peak; give a longer --iteration-seconds"
    assert f"warning: {told}" in logged


@pytest.mark.parametrize(
    ("options", "first_pulls", "told"),
    [
        ({}, UNKNOWN, ""),
        ({}, COLD, "first pulls cold"),
        ({}, WARM, "cached by a warm-up"),
        ({"prune": True}, UNKNOWN, "cold after the first pass"),
        ({"prune": True}, COLD, "cold, pruned after each pass"),
        ({"prune": True, "herd": True}, UNKNOWN, "cold, pruned before each herd"),
        ({"herd": True}, COLD, "first pulls cold"),
        ({"prune": True, "herd": True, "dry_run": True}, UNKNOWN, ""),
    ],
)
def test_what_is_known_of_the_cache(options: dict[str, bool], first_pulls: str, told: str) -> None:
    settings = SimpleNamespace(**{"dry_run": False, "prune": False, "herd": False, **options})
    assert cache_state(cast(Settings, settings), first_pulls) == told


def intervals(count: int) -> list[Sample]:
    return [
        Sample(at=15.0 * (k + 1), seconds=15.0, workers=4, pulled=30 + k, failed=k % 2, latency=LATENCY)
        for k in range(count)
    ]


def test_a_constant_load_has_its_intervals_as_the_end_of_the_run_tells_the_whole() -> None:
    plan = plan_constant(4, 45.0, None)
    tally = a_tally()
    tally.steps += [step_tally(step, 45.0, 93, 1, LATENCY, None) for step in plan.steps]
    tally.samples += intervals(3)
    lines = [line.plain.split() for line in closing_lines(ended_run(tally), plan, 100)]
    assert lines[0] == "pulls/s pulled failed retried p50 ms p95 ms p99 ms".split()
    assert [line[:5] for line in lines[1:]] == [
        ["until", "0:15", "2", "30", "0"],
        ["until", "0:30", "2.07", "31", "1"],
        ["until", "0:45", "2.13", "32", "0"],
    ]


def test_of_many_intervals_some_are_shown() -> None:
    plan = plan_constant(4, 600.0, Rate(2.0, 2.0))
    tally = Tally(
        1, retries_known=True, on_sample=lambda _: None, schedule=Schedule(Curve(((Rate(2.0, 2.0), 600.0),)))
    )
    tally.steps += [step_tally(step, 600.0, 1200, 0, LATENCY, 2.0) for step in plan.steps]
    tally.samples += intervals(40)
    lines = [line.plain for line in closing_lines(ended_run(tally), plan, 100)]
    assert lines[0].split()[:2] == ["pulls/s", "offered"]
    assert [line.split()[1] for line in (lines[1], lines[11])] == ["0:15", "10:00"]
    assert lines[12] == "11 of 40 intervals; the metrics have all of them"


def test_what_ended_before_the_first_interval_has_no_table() -> None:
    assert closing_lines(ended_run(a_tally()), RAMP, 80) == []


def test_the_steps_so_far_are_the_last_and_the_best() -> None:
    plan = plan_ramp(4, 1.0)
    steps = [
        step_tally(step, 1.0, pulled, 0, None, None)
        for step, pulled in zip(plan.steps, (1, 9, 3, 4, 4, 3, 2, 1), strict=True)
    ]
    assert [each.pulled for each in recent(steps, 3)] == [9, 2, 1]
    assert [each.pulled for each in recent(steps[:3], 2)] == [9, 3]
    assert recent(steps, 8) == steps
    assert recent(steps, 0) == []


def test_a_held_peak_and_stages_have_their_own_arrows() -> None:
    for plan, arrows in (
        (plan_ramp(2, 5.0, 20.0), ["↑ 1", "→ 2", "↓ 1"]),
        (
            plan_stages(parse_stages("--stage", ["10s:2", "5s:2", "5s:0"]), 2),
            ["↑ 0", "↑ 1", "→ 2", "↓ 2", "↓ 1"],
        ),
    ):
        tally = a_tally()
        tally.steps += [step_tally(step, step.end - step.start, 1, 0, None, None) for step in plan.steps]
        lines = [line.plain for line in closing_lines(ended_run(tally), plan, 100)]
        assert [" ".join(line.split()[:2]) for line in lines[1:]] == arrows


def test_a_schedules_steps_have_the_rate_that_was_wanted() -> None:
    tally, (first, second) = a_tally(), plan_schedule(1, 10.0, Rate(5, 5)).steps
    tally.steps += [step_tally(first, 10.0, 50, 0, None, 7.5), step_tally(second, 10.0, 50, 0, None, None)]
    lines = [line.plain.split() for line in closing_lines(ended_run(tally), RAMP, 100)]
    assert lines[0][:2] == ["pulls/s", "offered"]
    assert [line[3:5] for line in lines[1:3]] == [["5", "7.5"], ["5", "-"]]


@pytest.mark.parametrize(
    ("workers", "ended", "shown"),
    [
        (3, 6, "↑1 ↑2 ↑3 ↓3 ↓2 ↓1"),
        (5, 10, "↑1 ↑2 ↑3 ↑4 ↑5 ↓5 ↓4 ↓3 ↓2 ↓1"),
        (100, 200, "↑1 ↑26 ↑51 ↑75 ↑100 ↓100 ↓75 ↓50 ↓26 ↓1"),
        (100, 70, "↑1 ↑18 ↑35 ↑53 ↑70"),
        (100, 102, "↑1 ↑26 ↑51 ↑75 ↑100 ↓100 ↓99"),
        (1, 0, ""),
    ],
)
def test_of_many_steps_some_are_shown(workers: int, ended: int, shown: str) -> None:
    steps = [step_tally(step, 1.0, 0, 0, None, None) for step in plan_ramp(workers, 1.0).steps[:ended]]
    arrows = {"up": "↑", "down": "↓"}
    assert " ".join(f"{arrows[each.step.direction]}{each.step.workers}" for each in thinned(steps)) == shown
    tally = a_tally()
    tally.steps += steps
    left_out = [line.plain for line in closing_lines(ended_run(tally), RAMP, 100) if "steps" in line.plain]
    count = len(shown.split())
    assert left_out == ([f"{count} of {ended} steps; the log has all of them"] if count < ended else [])


def test_a_painter_finds_the_top_of_what_a_narrower_terminal_has_wrapped() -> None:
    master, slave = pty.openpty()
    resize(slave, 100)
    painter = Painter(slave)
    painter.paint(["above"], [], [Text("x" * 99), Text("y" * 10), Text("")])
    assert read_terminal(master).startswith(b"\r\rabove\r\n\x1b[Kxxx")
    resize(slave, 40)
    painter.paint([], [], [Text("z" * 99)])
    assert read_terminal(master) == b"\r\x1b[5A\x1b[K" + b"z" * 39 + b"\r\n\x1b[J"
    painter.paint(["above"], [], [])
    assert read_terminal(master) == b"\r\x1b[1A\x1b[2K\x1b[B\r\x1b[1Aabove\r\n\x1b[J"
    os.close(master)
    os.close(slave)


def read_terminal(master: int) -> bytes:
    """What was written, before the terminal made a carriage return and a line feed of each line feed."""
    return os.read(master, 10000).replace(b"\r\r\n", b"\r\n")

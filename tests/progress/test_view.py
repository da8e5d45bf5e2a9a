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
from lib.load.constant import plan_constant
from lib.load.curve import Rate
from lib.load.passes import plan_passes
from lib.load.plan import Step
from lib.load.ramp import plan_ramp, plan_schedule
from lib.load.shares import Shares
from lib.load.stages import parse_stages, plan_stages
from lib.load.tally import Sample, StepTally, Tally
from lib.load.worker import PULLING, STOPPED, WAITING
from lib.options.settings import Settings
from lib.progress.about import cache_state
from lib.progress.closing import closing_lines, thinned
from lib.progress.painter import Painter, styled
from lib.progress.snapshot import Snapshot
from lib.progress.view import sparkline, view_lines, worker_rows
from lib.progress.worker_rows import WorkerRow
from lib.results.run_state import COLD, UNKNOWN, WARM, Run
from tests.support.terminal import resize

RAMP = plan_ramp(1, 10.0)
LATENCY = Latency(count=200, min=1.0, mean=2.0, p50=3.04, p90=4.0, p95=50.06, p99=1234.5, max=9999.0)


def row(index: int, what: str = PULLING, name: str = "team/app-0001:v1", pattern: str = "-0001") -> WorkerRow:
    return WorkerRow(index, pattern, 12, 3, 10, 1234, index % 2, what, name, None)


def snapshot(workers: int, height: int) -> Snapshot:
    shown = worker_rows(workers, height)
    rest = ((PULLING, workers - shown),) if shown < workers else ()
    return Snapshot(
        about="http://cache:8080, crane 0.22.1: ramp", done=0.425,
        to_do="1:02:05 left", running=workers, planned=workers, peak=workers, pulled=5000, failed=7, rate=89.55,
        offered=None, bars=tuple(float(k) for k in range(100)), latency=LATENCY,
        errors=(("not-found", 5), ("timeout", 2)), late=None, limited_by=None,
        driver_cpu=0.08, client_cpu=1.3, cores=2.0,
        rows=tuple(map(row, range(shown))), rest=rest,
    )  # fmt: skip


def shown(lines: list[Text], width: int) -> list[str]:
    """As a terminal without colours shows them."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="crop", crop=True)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize("workers", [3, 100])
def test_the_view_fits_and_tells_all(width: int, workers: int) -> None:
    height = 24
    lines = view_lines(snapshot(workers, height), width, height)
    assert all(line.cell_len < width for line in lines), [line.plain for line in lines]
    assert len(lines) < height
    text = shown(lines, width)
    assert text[0] == f"1:02:05 left  workers {workers} of {workers} planned, peak {workers}"
    assert re.fullmatch(r"━+[╸╺]?━+  42 %  http://cache:8080, crane 0.22.1: ramp", text[1])
    assert text[1].index(" ") == (30 if width == 160 else 14)
    assert text[2] == "5000 pulled  7 failed  p50 3.0 p95 50.1 p99 1234 ms"
    assert re.fullmatch(r"89.5 pulls/s [▁▂▃▄▅▆▇█]+█+", text[3])
    assert len(text[3]) == min(width - 1, 113)
    assert text[4] == "errors 5 not-found, 2 timeout"
    assert text[5] == "CPU: driver 8%, clients 130% of 200%"
    rows = [line.split() for line in text[7:]]
    assert rows[0][:6] == ["0", "-0001", "12", "3/10", "1234", "0"]
    assert rows[0][6] == "pulling"
    assert rows[0][7].endswith("app-0001:v1")
    if workers == 3:
        assert [line[0] for line in rows] == ["0", "1", "2"]
    else:
        assert len(rows) == 15
        assert text[-1] == "… 86 more: 86 pulling"


@pytest.mark.parametrize("height", [1, 2, 5, 8, 9, 10, 24, 200])
@pytest.mark.parametrize("width", [1, 10, 30])
def test_a_tiny_terminal_breaks_nothing(width: int, height: int) -> None:
    """The cursor has the line under it: of a higher view the top would scroll away with each drawing."""
    lines = view_lines(snapshot(100, height), width, height)
    assert len(lines) <= height - 1
    assert lines[:5] == view_lines(snapshot(100, 200), width, 200)[: min(height - 1, 5)]
    painted = styled(lines, width)
    assert len(painted) == len(lines)
    assert all(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= max(width - 1, 1) for line in painted)


def test_without_workers_to_tell_of_there_is_no_table() -> None:
    idle = replace(snapshot(0, 24), rows=(), rest=((WAITING, 60), (STOPPED, 40)))
    assert [line.plain for line in view_lines(idle, 60, 24)][6:] == ["workers: 60 waiting, 40 stopped"]


def test_a_launch_that_takes_long_is_marked() -> None:
    slow = replace(row(0), seconds=65.0)
    lines = view_lines(replace(snapshot(1, 24), rows=(slow, row(2))), 80, 24)
    assert lines[-2].plain.endswith(" pulling 1:05 team/app-0001:v1")
    assert "yellow" in {str(span.style) for span in lines[-2].spans}
    assert lines[-1].plain.endswith(" pulling team/app-0001:v1")


def test_the_end_and_a_schedule_are_told() -> None:
    ending = view_lines(replace(snapshot(3, 24), to_do=None, running=2), 80, 24)
    assert ending[0].plain == "ending  waiting for the current pull or prune of 2 workers"
    scheduled = view_lines(replace(snapshot(3, 24), offered=100.0), 80, 24)
    assert re.match(r"89\.5 of 100\.0 pulls/s [▁▂▃▄▅▆▇█]+$", scheduled[3].plain)


def test_late_pulls_are_shown_by_their_reason() -> None:
    scheduled = replace(snapshot(3, 24), errors=(), late=(("no-worker", 0), ("machine", 0)))
    assert view_lines(scheduled, 80, 24)[4].plain == "no errors"
    late = replace(scheduled, late=(("no-worker", 12), ("machine", 3)))
    assert view_lines(late, 80, 24)[4].plain == "no errors  late 12 no-worker, 3 machine"


def test_other_programs_on_this_machine_are_told() -> None:
    busy = view_lines(replace(snapshot(3, 24), limited_by="machine"), 80, 24)[5]
    assert busy.plain.endswith(" of 200%: other programs use this machine")


def test_a_machine_that_is_the_limit_is_told() -> None:
    limited = view_lines(replace(snapshot(3, 24), client_cpu=1.8), 80, 24)[5]
    assert limited.plain == "CPU: driver 8%, clients 180% of 200%: this machine is the limit, try --batch"
    assert limited.style == "yellow"


def test_names_from_outside_are_no_markup_and_keep_the_columns() -> None:
    hostile = row(0, name="[red]x[/red][link=http://x]" + "深" * 40 + ":v1", pattern="[bold]深[/]" * 9)
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


def test_the_sparkline_shows_the_last_that_fit() -> None:
    assert sparkline([0, 1, 2, 4, 8], 3) == "▃▅█"
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
    lines = [line.plain for line in closing_lines(ended_run(tally), RAMP)]
    assert lines[0].split() == "workers pulled failed pulls/s p50 ms p95 ms p99 ms".split()
    assert lines[1] == "    ↑ 1       1       0     0.10     3.0    50.1  1234.5"
    assert lines[2].split() == ["↓", "1", "0", "1", "0.00", "-", "-", "-"]
    assert len(lines) == 3


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


def test_a_constant_load_is_one_total_and_its_intervals() -> None:
    plan = plan_constant(4, 45.0, None)
    tally = a_tally()
    tally.steps += [step_tally(step, 45.0, 93, 1, LATENCY, None) for step in plan.steps]
    tally.samples += intervals(3)
    lines = [line.plain.split() for line in closing_lines(ended_run(tally), plan)]
    assert lines[0] == "until pulled failed pulls/s p50 ms p95 ms p99 ms".split()
    assert [line[:4] for line in lines[1:4]] == [
        ["0:15", "30", "0", "2.00"],
        ["0:30", "31", "1", "2.07"],
        ["0:45", "32", "0", "2.13"],
    ]
    assert lines[4] == ["all", "93", "1", "2.07", "3.0", "50.1", "1234.5"]
    assert len(lines) == 5


def test_of_many_intervals_some_are_shown() -> None:
    plan = plan_constant(4, 600.0, Rate(2.0, 2.0))
    tally = a_tally()
    tally.steps += [step_tally(step, 600.0, 1200, 0, LATENCY, 2.0) for step in plan.steps]
    tally.samples += intervals(40)
    lines = [line.plain for line in closing_lines(ended_run(tally), plan)]
    assert lines[0].split()[3] == "offered"
    assert [line.split()[0] for line in (lines[1], lines[10], lines[11])] == ["0:15", "10:00", "all"]
    assert lines[12] == "10 of 40 intervals; the metrics have all of them"


def test_fixed_work_from_one_start_is_constant_load() -> None:
    plan = plan_passes([12], 3, None)
    tally = a_tally()
    tally.steps += [step_tally(step, 4.0, 36, 0, None, None) for step in plan.steps]
    tally.samples.append(Sample(at=4.0, seconds=4.0, workers=1, pulled=36, failed=0, latency=None))
    lines = [line.plain.split() for line in closing_lines(ended_run(tally), plan)]
    assert lines[2][:4] == ["all", "36", "0", "9.00"]


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
        lines = [line.plain for line in closing_lines(ended_run(tally), plan)]
        assert [" ".join(line.split()[:2]) for line in lines[1:]] == arrows


def test_a_schedules_steps_have_the_rate_that_was_wanted() -> None:
    tally, (first, second) = a_tally(), plan_schedule(1, 10.0, Rate(5, 5)).steps
    tally.steps += [step_tally(first, 10.0, 50, 0, None, 7.5), step_tally(second, 10.0, 50, 0, None, None)]
    lines = [line.plain.split() for line in closing_lines(ended_run(tally), RAMP)]
    assert lines[0][3:5] == ["offered", "pulls/s"]
    assert [line[4:6] for line in lines[1:3]] == [["7.50", "5.00"], ["-", "5.00"]]


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
    left_out = [line.plain for line in closing_lines(ended_run(tally), RAMP) if "steps" in line.plain]
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

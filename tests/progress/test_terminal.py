"""The live view in a real terminal: seen whole while a run goes on, gone without a trace when it has ended.

tmux shows what a person would see, and wraps lines and keeps what has scrolled away as other terminals do.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.doubles.fake_crane import install
from tests.support.driving import between_nobody, command
from tests.support.terminal import Tmux

LONG = r".{0,158}…?"
# In the order of the view. A low terminal lacks some of them.
LABELLED = {
    "target": rf"127\.0\.0\.1:1 with {LONG}",
    "load": rf"(ramp|fixed work|stages|constant load|\d+ pulls/s){LONG}",
    "time": r"(\d+:\d\d elapsed, (\d+:\d\d left|\d+ of \d+ pulls done)(  ━*[╸╺]?━* +\d+ %)?"
    r"|ending: the last pull or prune of \d+ workers?)",
    "workers": rf"\d+ of \d+ planned, \d+ in all: {LONG}",
    "rate now": r"[\d.,]+ pulls/s *[▁▂▃▄▅▆▇█]*",
    "p95 now": r"(-|[\d.,]+ m?s) *[ ▁▂▃▄▅▆▇█]*",
    "errors": rf"(none|\d{LONG})",
    "limit now": LONG,
}
HEAD = [rf"({label:<11}|{label.removesuffix(' now'):<8})(?! )({what})" for label, what in LABELLED.items()]
FIGURES = r" *pulls/s( +offered)?( +pulled)?( +failed +retried)?( +p50 ms)?( +p95 ms)?( +p99 ms)?"
FIGURE = r"(whole run|last interval|[↑→↓] \d+ workers?)( +(-|[\d.,]+))+"
NO_FIGURE = r"the first interval of \S+ is not over"
TABLE = r" *# pattern pass +image pulled failed now"
ROW = r" *\d+ \S+ +\d+ +\d+/\d+ +\d+ +\d+ (pull|prun).*"
REST = r"… \d+ more"
# Rows of steps remain at the end, without those of the whole run.
VIEW = re.compile("|".join((*HEAD, "whole run .*", "last interval .*", NO_FIGURE, TABLE, ROW, REST)))
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+"


def a_run(folder: Path, kind: str, workers: int, step: float, *options: str) -> list[str]:
    images = [f"{kind}/app-{k:04}:v1" for k in range(workers)]
    run = between_nobody(install(folder), images, step, tally=1.0)
    return command(*run, f"--workers={workers}", *options)


def view(terminal: Tmux) -> list[str] | None:
    """The view, if it is whole and the last on the screen, with the cursor below it."""
    screen, cursor = terminal.screen(), terminal.cursor()
    tops = [k for k, line in enumerate(screen) if re.fullmatch(HEAD[2], line)]
    if len(tops) != 1 or cursor != len(screen):
        return None
    lines = screen[tops[0] :]
    for line in reversed(screen[: tops[0]]):
        if not re.fullmatch("|".join(HEAD[:2]), line):
            break
        lines.insert(0, line)
    shapes = (*HEAD, FIGURES, f"{FIGURE}|{NO_FIGURE}", TABLE, f"{ROW}|{REST}")
    places = [next((k for k, shape in enumerate(shapes) if re.fullmatch(shape, line)), -1) for line in lines]
    return lines if min(places) >= 0 and places == sorted(places) else None


def part(lines: list[str], label: str) -> str:
    """The line of the view with this label."""
    return next((line for line in lines if line.startswith(label)), "")


def wait_for_view(terminal: Tmux, good: Callable[[list[str]], bool]) -> list[str]:
    seen: list[str] = []

    def is_good() -> bool:
        seen[:] = view(terminal) or []
        return bool(seen) and good(seen)

    terminal.wait(is_good)
    return seen


def check_what_remains(terminal: Tmux, *, workers: int, whole: bool) -> None:
    """Log, table and totals, each line once and whole; nothing of the view."""
    lines = terminal.everything()
    assert [line for line in lines if VIEW.fullmatch(line)] == []
    assert lines[-1] == "$"
    logged = [match[1] for match in (re.match(STAMP + "([a-z].*)", line) for line in lines) if match]
    started = [line for line in logged if line.startswith("start worker")]
    assert [line.split()[2] for line in started] == [str(k) for k in range(len(started))]
    assert not whole or len(started) == workers
    steps = [line for line in logged if re.match(r"step (up|down), ", line)]
    assert not whole or len(steps) == 2 * workers
    for words in ("test begins", "ramp of ", "stop all workers", "test ends: "):
        assert len([line for line in logged if line.startswith(words)]) == 1, words
    head = next(k for k, line in enumerate(lines) if re.fullmatch(FIGURES, line))
    assert all(re.match(STAMP, line) for line in lines[:head]), lines[:head]
    table = [line for line in lines[head + 1 :] if re.match(r"[↑↓] ", line)]
    assert len(table) == (len(steps) if len(steps) <= 11 else 10 if whole else 5)
    left_out = [f"{len(table)} of {len(steps)} steps; the log has all of them"] if len(steps) > 11 else []
    after = lines[head + 1 + len(table) :]
    assert after[: len(left_out)] == left_out
    told = [line for line in after[len(left_out) : -2] if not re.match(STAMP, line)]
    labels = [line[:11].rstrip() for line in told]
    one_step = ["tested", "peak", "latency", "failed", "limit", "average"]
    ramp = ["tested", "peak", "knee", "latency", "failed", "limit", "average"]
    assert labels == (ramp if len(steps) > 1 else one_step)
    assert re.fullmatch(r"status \d+", after[-2])


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize(("workers", "short", "long"), [(3, 0.2, 5), (100, 0.015, 0.1)])
def test_a_run_leaves_the_terminal_as_it_was(
    tmp_path: Path, workers: int, short: float, long: float, width: int
) -> None:
    height = 24 if width == 60 else 50
    with Tmux(tmp_path, width, height) as terminal:
        terminal.begin(a_run(tmp_path, "slow", workers, long))
        lines = wait_for_view(terminal, lambda seen: any(re.fullmatch(ROW, line) for line in seen))
        assert f", {workers} in all: " in part(lines, "workers")
        assert len(lines) < height
        terminal.press("C-c")
        assert terminal.end() == 130
        check_what_remains(terminal, workers=workers, whole=False)
        terminal.begin(a_run(tmp_path, "slow", workers, short))
        assert terminal.end() == 0
        check_what_remains(terminal, workers=workers, whole=True)


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    run = a_run(
        tmp_path, "hang", 100, 0.01, f"--log-file={tmp_path}/log", f"--metrics-file={tmp_path}/metrics",
        "--passes=1", "--grace=1000",
    )  # fmt: skip
    with Tmux(tmp_path, 60, 15) as terminal:
        terminal.begin(run)
        lines = wait_for_view(terminal, lambda seen: "100 pulling" in part(seen, "workers"))
        assert len(lines) < 15
        terminal.press("C-c")
        wait_for_view(terminal, lambda seen: "ending: " in part(seen, "time"))
        terminal.press("C-c")
        assert terminal.end() == 130
        lines = terminal.everything()
    assert lines[0] == "ocidriver: stopping: clients have 16m40s to finish; a second signal ends them at once"
    assert re.fullmatch(FIGURES, lines[1])
    assert [line for line in lines if line.startswith("failed     0 of 0 pulls, 0 retried, ")]
    assert lines[-2:] == ["status 130", "$"]


def test_a_terminal_of_few_lines_does_not_fill_with_rests(tmp_path: Path) -> None:
    run = a_run(tmp_path, "slow", 3, 60, f"--log-file={tmp_path}/log", f"--metrics-file={tmp_path}/metrics")
    with Tmux(tmp_path, 60, 5) as terminal:
        terminal.begin(run)
        first = wait_for_view(terminal, lambda seen: len(seen) == 4)
        assert [line.split()[0] for line in first] == ["time", "rate", "pulls/s", "whole"]
        wait_for_view(terminal, lambda seen: seen[0] != first[0])
        assert len([line for line in terminal.everything() if VIEW.fullmatch(line)]) == 3
        terminal.press("C-c")
        assert terminal.end() == 130
        lines = terminal.everything()
    assert lines[0].startswith("ocidriver: stopping: ")
    assert re.fullmatch(FIGURES, lines[1])
    assert not [line for line in lines if VIEW.fullmatch(line)]


def drawn_anew(before: list[str] | None, height: int, seen: list[str]) -> bool:
    """Whether the view was drawn for this height, and is not what the terminal has left of the one before."""
    return 8 < len(seen) < height and part(seen, "time") != part(before or [], "time")


def test_a_terminal_that_is_resized(tmp_path: Path) -> None:
    """Where it loses lines they scroll away, with what was drawn there: that alone may stay."""
    run = a_run(
        tmp_path, "gate", 100, 0.01, f"--log-file={tmp_path}/log", f"--metrics-file={tmp_path}/metrics",
        "--passes=1", "--grace=0",
    )  # fmt: skip
    sizes = [(60, 50), (70, 12), (100, 30), (60, 24)]
    with Tmux(tmp_path, 160, 50) as terminal:
        terminal.begin(run)
        wait_for_view(terminal, lambda seen: len(seen) > 20)
        lost: list[str] = []
        for width, height in sizes:
            before = view(terminal)
            lost += terminal.forget_scrolled()
            terminal.resize(width, height)
            wait_for_view(terminal, partial(drawn_anew, before, height))
        terminal.press("C-c")
        assert terminal.end() == 130
        assert not [line for line in terminal.screen() if VIEW.fullmatch(line)]
        tops = [line for line in (*lost, *terminal.everything()) if re.fullmatch(HEAD[2], line)]
        # each resize may leave one: what it loses, or what is drawn for the former size at that moment
        assert len(tops) <= len(sizes)


def test_a_client_that_asks_at_the_terminal_fails_instead_of_being_stopped(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    with Tmux(tmp_path, 100, 24) as terminal:
        terminal.begin(a_run(tmp_path, "asks", 1, 0.5, "--passes=3", f"--summary-file={summary}"))
        assert terminal.end() == 1
    found = json.loads(summary.read_text())
    assert found["failed"] == 3
    assert (found["pulled"], found["interrupted_pulls"]) == (0, 0)


def test_the_view_is_drawn_again_after_ctrl_z(tmp_path: Path) -> None:
    """Below what the shell has written meanwhile. What it covered before stays as it was."""
    script = tmp_path / "run"
    words = a_run(tmp_path, "slow", 2, 600, "--grace=0", "--log-file=/dev/null", "--metrics-file=/dev/null")
    script.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    script.chmod(0o755)
    with Tmux(tmp_path, 160, 40) as terminal:
        terminal.type(f"{script}")
        wait_for_view(terminal, lambda lines: True)
        terminal.press("C-z")
        terminal.wait(
            lambda: terminal.screen()[-1] == "$" and any("Stopped" in line for line in terminal.screen())
        )
        time.sleep(1)  # the length of the stop
        terminal.type("echo between; fg")
        terminal.wait(lambda: "between" in terminal.screen())
        shell = re.compile(r"between|\^Z|\[1\]\+ +Stopped +.*|\$ .*|" + re.escape(str(script)))

        def is_drawn_again() -> bool:
            screen = terminal.screen()
            below = screen[screen.index("between") + 2 :]  # after the shell's name of the job
            return len(below) > 6 and all(
                VIEW.fullmatch(line) or re.fullmatch(FIGURES, line) for line in below
            )

        terminal.wait(is_drawn_again)
        above = terminal.screen()[: terminal.screen().index("between") + 2]
        assert [
            line
            for line in above
            if not (VIEW.fullmatch(line) or re.fullmatch(FIGURES, line) or shell.fullmatch(line))
        ] == []
        terminal.press("C-c")
        terminal.wait(lambda: terminal.screen()[-1] == "$")
        assert "ocidriver: warning: the driver itself was stopped for" in "\n".join(terminal.everything())

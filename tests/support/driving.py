"""Running ocidriver.py as a user does, and reading all that it wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.processes.guard import MARK
from lib.results.ending import ending
from lib.results.summary_file import read_summary
from tests.doubles.fake_crane import image_list
from tests.support.paths import SCRIPT
from tests.support.processes import catches, children, pids, read_file
from tests.support.waiting import SECONDS, wait_until


@dataclass(frozen=True)
class Ended:
    """A finished run. The files are those that `drive` names. `end` has the lines of the end of the run.

    `stdout` is what stood there besides.
    """

    status: int
    stdout: str
    stderr: str
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    events: tuple[dict[str, Any], ...] = ()
    metrics: tuple[list[str], ...] = ()
    log: str = ""
    end: tuple[str, ...] = ()

    def check_end(self) -> None:
        """The end of the run tells what its files say."""
        files = {what: path for path, what in re.findall(r"(\S+) \((\w+)\)", self.end[-1])}
        assert {"summary", "events", "metrics", "log"} <= set(files)
        assert all(Path(path).is_file() for path in files.values())
        wanted = ending(read_summary(self.folder / "summary.json"), files)
        assert list(self.end) == wanted, (self.end, wanted)

    def outcomes(self) -> list[str]:
        """Of the pulls, in order."""
        return [event["outcome"] for event in self.events if event["op"] == "pull"]

    def check_accounts(self, *, late: bool = False) -> None:
        """The identity: summary, samples, steps, workers, events and the end of the run tell the same.

        `late`: hosts may have delivered pieces after the metrics lines of their intervals.
        """
        if self.end:
            self.check_end()
        summary = self.summary
        pulls = [event for event in self.events if event["op"] == "pull"]
        outcomes = {
            name: sum(1 for event in pulls if event["outcome"] == name)
            for name in ("ok", "failed", "interrupted")
        }
        assert outcomes == {
            "ok": summary["pulled"],
            "failed": summary["failed"],
            "interrupted": summary["interrupted_pulls"],
        }
        drain = [summary["drain"]] if summary["drain"] else []
        for part in ("samples", "steps", "workers", "image_sets"):
            rest = drain if part in ("samples", "steps") else []
            assert sum(each["pulled"] for each in (*summary[part], *rest)) == summary["pulled"], part
            assert sum(each["failed"] for each in (*summary[part], *rest)) == summary["failed"], part
        if not late:
            self._check_lines(drain)
        assert sum(summary["errors"].values()) == summary["failed"]
        assert sum(summary["prune_errors"].values()) == summary["prune_failed"]
        prunes = [event["outcome"] for event in self.events if event["op"] == "prune"]
        assert (prunes.count("ok"), prunes.count("failed")) == (summary["pruned"], summary["prune_failed"])

    def _check_lines(self, drain: list[dict[str, Any]]) -> None:
        summary = self.summary
        by_lines = sum(
            float(line[1]) * sample["seconds"]
            for line, sample in zip(self.metrics, (*summary["samples"], *drain), strict=True)
        )
        assert round(by_lines) == summary["pulled"]
        assert sum(int(line[3]) for line in self.metrics) == summary["failed"]


NOBODY = (
    "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--layout=distribution", "--keep-going",
)  # fmt: skip
"""Options of a run where nobody listens at either end."""


def between_nobody(client: Path, images: Sequence[str], step: float | None, tally: float = 0.25) -> list[str]:
    """Options of a run over these images with the fake crane, where nobody listens at either end.

    `step`: the seconds between the starts of workers; None leaves the shape of the load to others.
    """
    return [
        *NOBODY, f"--client={client}", f"--image-list={image_list(client, images)}",
        *([] if step is None else [f"--iteration-seconds={step}"]), f"--tally-seconds={tally}",
    ]  # fmt: skip


def command(*options: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, options)]


def files(folder: Path) -> list[str]:
    """Options that name a file in the folder for everything that a run writes."""
    return [
        f"--metrics-file={folder}/metrics",
        f"--log-file={folder}/log",
        f"--summary-file={folder}/summary.json",
        f"--events-file={folder}/events",
    ]


def drive(
    folder: Path, *options: object, environment: dict[str, str] | None = None, stdin: str = ""
) -> Ended:
    """Run it to its end with these options and files in the folder."""
    running = subprocess.Popen(
        command(*files(folder), *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(environment),
    )
    return _read_to_the_end(running, folder, 2 * SECONDS, stdin)


def start(folder: Path, *words: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Begin a run in a session of its own, with files in the folder."""
    return subprocess.Popen(
        command(*files(folder), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(environment),
        start_new_session=True,
    )


def _environment(environment: dict[str, str] | None) -> dict[str, str]:
    """With it, SIGABRT makes Python write where each thread is."""
    return {**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})}


def wait_for_the_script(running: subprocess.Popen[str], folder: Path) -> None:
    """Until its first statement has run; what comes before is the interpreter's own start."""
    wait_until(lambda: catches(running.pid, signal.SIGINT), pause=0.001)
    wait_until(lambda: not catches(running.pid, signal.SIGINT) or (folder / "log").exists(), pause=0.001)


def wait_for_outcomes(folder: Path, outcome: str, count: int = 1) -> None:
    """Until the events of a run tell of so many pulls with this outcome."""
    wait_until(lambda: read(folder, 0, partial=True).outcomes().count(outcome) >= count)


def wait_for_log(folder: Path, words: str) -> str:
    """The log, once these words are in it."""
    log = folder / "log"
    wait_until(lambda: log.exists() and words in log.read_text())
    return log.read_text()


def finish(running: subprocess.Popen[str], folder: Path) -> Ended:
    """Wait for its end."""
    return _read_to_the_end(running, folder, SECONDS)


def _read_to_the_end(
    running: subprocess.Popen[str], folder: Path, seconds: float, stdin: str | None = None
) -> Ended:
    """Fails after `seconds`, and says where each thread of the driver was and which child processes it had."""
    try:
        out, err = running.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        commands = [read_file(pid, "cmdline").replace(b"\0", b" ").decode() for pid in children(running.pid)]
        running.send_signal(signal.SIGABRT)
        out, err = running.communicate(timeout=SECONDS)
        log = read(folder, 0, partial=True).log
        raise AssertionError(f"the driver hangs; children: {commands}\n{err}\n{log}") from None
    return read(folder, running.returncode, out, err)


def left_running(temporary: Path) -> list[int]:
    """Processes of runs whose temporary folder lay in this one, told by the mark that clients and guards carry."""
    mark = f"{MARK}={temporary}/".encode()
    return [pid for pid in pids() if mark in read_file(pid, "environ")]


def read(folder: Path, status: int, stdout: str = "", stderr: str = "", *, partial: bool = False) -> Ended:
    """What a run with `files(folder)` left there; `partial` while it still writes."""

    def text(name: str) -> str:
        path = folder / name
        return path.read_text() if path.exists() else ""

    besides, begin, end = stdout.partition("tested     ")
    return Ended(
        status,
        besides,
        stderr,
        folder,
        json.loads(text("summary.json") or "{}"),
        tuple(
            json.loads(line)
            for line in text("events").splitlines(keepends=True)
            if line.endswith("\n") or not partial
        ),
        tuple(line.split("\t") for line in text("metrics").splitlines()),
        text("log"),
        tuple(f"{begin}{end}".splitlines()),
    )

"""Running ocidriver.py as a user does, and reading all that it wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.processes.guard import MARK

SCRIPT = Path(__file__).resolve().parents[2] / "ocidriver.py"


@dataclass(frozen=True)
class Ended:
    """A finished run. The files are those that `drive` names."""

    status: int
    stdout: str
    stderr: str
    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    events: tuple[dict[str, Any], ...] = ()
    metrics: tuple[list[str], ...] = ()
    log: str = ""

    def outcomes(self) -> list[str]:
        """Of the pulls, in order."""
        return [event["outcome"] for event in self.events if event["op"] == "pull"]

    def check_accounts(self) -> None:
        """The identity: summary, samples, steps, workers and events tell the same."""
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
        for part in ("samples", "steps", "workers"):
            assert sum(each["pulled"] for each in summary[part]) == summary["pulled"], part
            assert sum(each["failed"] for each in summary[part]) == summary["failed"], part
        by_lines = sum(
            float(line[1]) * sample["seconds"]
            for line, sample in zip(self.metrics, summary["samples"], strict=True)
        )
        assert round(by_lines) == summary["pulled"]
        assert sum(int(line[3]) for line in self.metrics) == summary["failed"]
        assert sum(summary["errors"].values()) == summary["failed"]
        assert sum(summary["prune_errors"].values()) == summary["prune_failed"]
        prunes = [event["outcome"] for event in self.events if event["op"] == "prune"]
        assert (prunes.count("ok"), prunes.count("failed")) == (summary["pruned"], summary["prune_failed"])


def between_nobody(client: Path, images: Sequence[str], step: float) -> list[str]:
    """Options of a run over these images with a stand-in for crane, where nobody listens at either end."""
    (client.parent / "images").write_text("".join(f"{image}\n" for image in images))
    return [
        "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--layout=distribution", "--keep-going",
        f"--client={client}", f"--image-list={client.parent}/images",
        f"--iteration-seconds={step}", "--tally-seconds=0.25",
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
    done = subprocess.run(
        command(*files(folder), *options),
        capture_output=True,
        text=True,
        input=stdin,
        timeout=100,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return read(folder, done.returncode, done.stdout, done.stderr)


def start(folder: Path, *words: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Begin a run in a session of its own, with files in the folder."""
    return subprocess.Popen(
        command(*files(folder), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


def wait_for_the_script(running: subprocess.Popen[str], folder: Path) -> None:
    """Until its first statement has run; what comes before is the interpreter's own start."""
    deadline = time.monotonic() + 20
    while not catches(running.pid, signal.SIGINT) and time.monotonic() < deadline:
        time.sleep(0.001)
    while (
        catches(running.pid, signal.SIGINT) and not (folder / "log").exists() and time.monotonic() < deadline
    ):
        time.sleep(0.001)


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def finish(running: subprocess.Popen[str], folder: Path) -> Ended:
    """Wait for its end."""
    out, err = running.communicate(timeout=60)
    return read(folder, running.returncode, out, err)


def left_running(temporary: Path) -> list[int]:
    """Processes of runs whose temporary folder lay in this one, told by the mark that clients and guards carry."""
    mark = f"{MARK}={temporary}/".encode()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if mark in _environment(pid)]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def read(folder: Path, status: int, stdout: str = "", stderr: str = "", *, partial: bool = False) -> Ended:
    """What a run with `files(folder)` left there; `partial` while it still writes."""

    def text(name: str) -> str:
        path = folder / name
        return path.read_text() if path.exists() else ""

    return Ended(
        status,
        stdout,
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
    )

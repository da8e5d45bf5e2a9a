"""Metrics lines, log lines, events, the summary. A failed write is told once and never ends a run."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from .clock import Clock
from .errors import UsageError
from .events import Event
from .failures import clean
from .messages import LINE_LENGTH
from .settings import STDOUT
from .tally import Sample


class LineFile:
    """Whole lines, written at once. After the first failed write it is silent; `failed` then says why."""

    def __init__(self, path: str | Path, name: str, warn: Callable[[str], None]) -> None:
        self.failed: str | None = None
        self._name = name
        self._where = "stdout" if str(path) == STDOUT else str(path)
        self._warn = warn
        self._owned = str(path) != STDOUT
        self._descriptor = _open(path, name) if self._owned else 1

    def write(self, line: str) -> None:
        if self.failed is not None:
            return
        left = memoryview(line.encode("utf-8", "replace") + b"\n")
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self.failed = error.strerror or str(error)
            self._warn(
                f"cannot write the {self._name} to {self._where}: {self.failed}; the test goes on without it"
            )

    def close(self) -> None:
        if self._owned:
            with suppress(OSError):
                os.close(self._descriptor)
        self._owned = False


def _open(path: str | Path, name: str) -> int:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # truncated once, then appended to: metrics and log may share a file
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"--{name}-file: cannot write {path}: {error.strerror}") from None


class Log:
    """Log lines: time, tab, message. What comes from outside is cleaned of control characters."""

    def __init__(self, file: LineFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    def __call__(self, message: str) -> None:
        self._file.write(f"{self._clock.line_time(monotonic())}\t{clean(message, LINE_LENGTH)}")


def metrics_line(sample: Sample, when: str) -> str:
    """Time, pulls/s, workers; then failed pulls and p50, p95, p99 in ms."""
    latency = sample.latency
    shown = (
        ["-"] * 3
        if latency is None
        else [f"{value:.1f}" for value in (latency.p50, latency.p95, latency.p99)]
    )
    return "\t".join([when, f"{sample.rate:.6f}", str(sample.workers), str(sample.failed), *shown])


def event_line(event: Event, clock: Clock) -> str:
    """One JSON object, as the contract lists its fields."""
    failure = event.failure
    return json.dumps(
        {
            "time": clock.wall(event.ended).isoformat(timespec="microseconds"),
            "op": event.op,
            "worker": event.worker,
            "pass": event.pass_number,
            "image": event.image.name,
            "outcome": event.outcome,
            "class": failure.error_class if failure else None,
            "seconds": round(event.seconds, 6),
            "first": event.first,
            "retries": event.retries,
            "message": failure.message if failure else None,
        }
    )


def check_summary_path(path: Path) -> None:
    """Before the test, as nobody wants to learn after an hour that its result has no place."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--summary-file: cannot make {path.parent}: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--summary-file: cannot write {path}")


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """The whole file or none: written beside it and moved into place. A device or pipe is written to directly."""
    text = json.dumps(summary, indent=2) + "\n"
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        path.write_text(text)
        return
    path = path.resolve()
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""A file or stream of whole lines that never delays the driver. It reports only its first failed write."""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from ..errors import UsageError
from ..streams import is_stdout
from .writable import cannot_write, make_folder

# Why a file failed whose reader took nothing for too long. On a terminal, a message would have to wait as well.
STALLED = "its reader has stalled"
# Bytes that are kept for a reader that has stalled.
_MOST_KEPT = 4 << 20


class LineFile:
    """Writes whole lines at once and never waits for a reader. Keeps up to `_MOST_KEPT` bytes for a stalled one.

    The path `-`, or any path of the file that stdout is open to, means the standard stream `descriptor` (stdout). After
    the first failed write, it writes nothing more, and `failed` has the reason. `divert`, if set, gets each line first;
    it returns True if it will write the line itself. Any thread may write. Raises `UsageError` if it cannot be opened.
    """

    def __init__(
        self, path: str | Path, name: str, warn: Callable[[str], None], *, descriptor: int = 1
    ) -> None:
        self.divert: Callable[[str], bool] | None = None
        self.failed: str | None = None
        self.name = name
        self._owned = not is_stdout(path)
        self._where = str(path) if self._owned else "stdout"
        self._warn = warn
        self._descriptor = _open(path, name) if self._owned else descriptor
        self._left = bytearray()
        # bytes of a line that have been written, while the rest of it waits
        self._begun = 0
        self._ready = select.poll()
        self._ready.register(self._descriptor, select.POLLOUT)
        self._lock = threading.RLock()

    def empty(self) -> None:
        """Empties a regular file. Call it when all files are open, so that an error loses no earlier results."""
        if self._owned and stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.ftruncate(self._descriptor, 0)

    def is_on(self, terminal: int) -> bool:
        """Returns whether lines appear on the terminal that this descriptor is open to."""
        return _terminal(self._descriptor) == _terminal(terminal) is not None

    def write(self, line: str) -> None:
        """Writes a line, or keeps it for a reader that has stalled."""
        if self.failed is None and not self._left and self.divert is not None and self.divert(line):
            return
        with self._lock:
            if self.failed is not None:
                return
            self._left += line.encode("utf-8", "replace") + b"\n"
            self._write_what_goes(0.0)
            if len(self._left) > _MOST_KEPT:
                self._fail(STALLED)

    def finish(self, seconds: float) -> None:
        """Waits at most this many seconds until all lines are read. It fails if lines are left."""
        with self._lock:
            if self.failed is None:
                self._write_what_goes(seconds)
                if self._left:
                    self._fail(STALLED)

    def _write_what_goes(self, seconds: float) -> None:
        until = monotonic() + seconds
        try:
            while self._left and self._ready.poll(max(0.0, until - monotonic()) * 1000):
                # a ready pipe accepts PIPE_BUF bytes at once; whole lines do not mix with those of other writers
                whole = self._left.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
                written = os.write(self._descriptor, self._left[:whole])
                line_end = self._left.rfind(b"\n", 0, written) + 1
                self._begun = written - line_end if line_end else self._begun + written
                del self._left[:written]
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error.strerror or str(error))

    def _fail(self, reason: str) -> None:
        self.failed = reason
        self._left.clear()
        self._cut_back()
        self._warn(f"cannot write the {self.name} to {self._where}: {reason}; the test goes on without it")

    def _cut_back(self) -> None:
        """Removes an incomplete last line from a file, for example after the disk was full."""
        with suppress(OSError):
            status = os.fstat(self._descriptor)
            if self._begun and stat.S_ISREG(status.st_mode):
                os.ftruncate(self._descriptor, status.st_size - self._begun)

    def close(self) -> None:
        if self._owned:
            with suppress(OSError):
                os.close(self._descriptor)
        self._owned = False


def _terminal(descriptor: int) -> int | None:
    """Returns the device number of a descriptor's terminal, or None if it is not one.

    `/dev/tty` has its own number, so the terminal behind it is looked up among the standard streams.
    """
    if not os.isatty(descriptor):
        return None
    device = os.fstat(descriptor).st_rdev
    if device == os.makedev(5, 0):
        # usually a standard stream is open to the same terminal
        named = [os.fstat(number).st_rdev for number in range(3) if os.isatty(number)]
        return next((number for number in named if number != device), device)
    return device


def _open(path: str | Path, name: str) -> int:
    try:
        make_folder(path, f"--{name}-file")
        # every write goes to the end: metrics and log may share a file
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(cannot_write(f"--{name}-file", path, error.strerror or str(error))) from None

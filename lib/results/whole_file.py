"""A file that is written when all that it holds is known: a summary, a report. Whole or not at all, or to a stream."""

from __future__ import annotations

import errno
import os
import select
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from ..errors import UsageError
from ..streams import is_stdout
from .writable import cannot_write, unwritable

# So long a stream may be without a reader, or a reader that reads, in seconds.
_READER_SECONDS = 10.0


def check_path(path: Path, option: str) -> None:
    """Before the test, as nobody wants to learn after an hour that its result has no place; makes missing folders."""
    reason = unwritable(path, replaced=True)
    if reason is None and not is_stdout(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror
    if reason is not None:
        raise UsageError(cannot_write(option, path, reason))


def write_whole(path: Path, text: str) -> None:
    """The whole file or none: written beside it and moved into place. A stream or device is written to directly."""
    if is_stdout(path):
        _write_to_stream(1, text)
        return
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        descriptor = _open_stream(path)
        try:
            _write_to_stream(descriptor, text)
        finally:
            os.close(descriptor)
        return
    path = path.resolve()
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o666 & ~_umask())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise


def _open_stream(path: Path) -> int:
    """OSError where a named pipe has no reader for so long: opening it would wait for one, deaf to signals."""
    until = monotonic() + _READER_SECONDS
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if monotonic() > until:
                raise OSError(errno.ENXIO, "nobody reads it") from None
        sleep(0.05)


def _write_to_stream(descriptor: int, text: str) -> None:
    """OSError where its reader takes nothing for so long."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    left = memoryview(text.encode())
    while left:
        if not ready.poll(_READER_SECONDS * 1000):
            raise OSError(errno.ETIMEDOUT, "nobody reads it")
        try:
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
        except BlockingIOError:  # another writer was quicker
            sleep(0.01)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

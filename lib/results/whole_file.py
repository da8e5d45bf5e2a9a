"""Writes a file in one step, such as a summary or a report: completely or not at all. Also writes to streams."""

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
from .writable import cannot_write, make_folder, unwritable

# Seconds to wait for a stream that has no reader or a stalled one.
_READER_SECONDS = 10.0


def check_path(path: Path, option: str) -> None:
    """Checks before the test that a file can be written, and creates missing folders. Raises `UsageError`.

    Without this check, a long test could end without a place for its result.
    """
    reason = unwritable(path, replaced=True)
    if reason is None and not is_stdout(path):
        try:
            make_folder(path, option)
        except OSError as error:
            reason = error.strerror or str(error)
    if reason is not None:
        raise UsageError(cannot_write(option, path, reason))


def write_whole(path: Path, text: str) -> None:
    """Writes a new file next to `path` and moves it into place. Writes to a stream or device directly.

    Raises `OSError` if it cannot be written.
    """
    if is_stdout(path):
        _write_to_stream(1, text)
        return
    if _is_stream(path):
        descriptor = _open_stream(path)
        try:
            _write_to_stream(descriptor, text)
        finally:
            os.close(descriptor)
        return
    path = Path(os.path.realpath(path))
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


def _is_stream(path: Path) -> bool:
    """Returns whether the path leads to something else than a regular file. Raises `OSError` for a loop of links."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _open_stream(path: Path) -> int:
    """Opens a stream for writing. Raises `OSError` if a named pipe has no reader for `_READER_SECONDS`.

    A blocking open would wait without an end and ignore signals.
    """
    until = monotonic() + _READER_SECONDS
    while True:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if monotonic() > until:
                raise OSError(errno.ENXIO, "it has no reader") from None
        sleep(0.05)


def _write_to_stream(descriptor: int, text: str) -> None:
    """Writes the text. Raises `OSError` if the reader accepts nothing for `_READER_SECONDS`."""
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    left = memoryview(text.encode())
    while left:
        if not ready.poll(_READER_SECONDS * 1000):
            raise OSError(errno.ETIMEDOUT, "its reader has stalled")
        try:
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
        except BlockingIOError:  # another writer was faster
            sleep(0.01)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

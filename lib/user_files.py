"""Reads files that a user names: never more than a limit, and every failure is an `OSError` with a reason for users."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

MIB = 1 << 20


def read_whole(path: str | Path, most: int, *, regular: bool = False) -> bytes:
    """Returns the content of a file of at most `most` bytes. Raises `OSError`; its `strerror` is for the user.

    `regular`: refuses everything else, such as a named pipe, whose opening could wait without an end.
    """
    with open_bounded(path, most, regular=regular) as file:
        return file.read()


def open_bounded(path: str | Path, most: int, *, regular: bool = False) -> BinaryIO:
    """Opens a file for reading. After `most` bytes, a read raises `OSError`. See `read_whole`."""
    descriptor = _open(path, os.O_NONBLOCK if regular else 0)
    try:
        if regular and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
        return bounded(os.fdopen(descriptor, "rb", buffering=0), most)
    except BaseException:
        os.close(descriptor)
        raise


def bounded(file: io.RawIOBase | BinaryIO, most: int) -> BinaryIO:
    """Returns a reader of this open file that raises `OSError` after `most` bytes."""
    return io.BufferedReader(_Bounded(file, most))


def short_lines(file: TextIO, longest: int) -> Iterator[str]:
    """Yields the lines of a file. Raises `OSError` for a line of more than `longest` characters."""
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise OSError(errno.EFBIG, f"line {number} is longer than {longest:,} characters")
        yield line


def is_too_large(most: int) -> OSError:
    """Returns the error for a file of more than `most` bytes."""
    size = f"{most // MIB:,} MiB" if most >= MIB else f"{most:,} bytes"
    return OSError(errno.EFBIG, f"it is larger than {size}")


def _open(path: str | Path, flags: int) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | flags)
    except ValueError:
        raise OSError(errno.EINVAL, "its name contains a null character", os.fspath(path)) from None


class _Bounded(io.RawIOBase):
    """Reads another file, and raises `OSError` as soon as that has more than `most` bytes."""

    def __init__(self, file: io.RawIOBase | BinaryIO, most: int) -> None:
        self._file = file
        self._most = self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        chunk = self._file.read(min(len(view), self._left + 1)) or b""
        self._left -= len(chunk)
        if self._left < 0:
            raise is_too_large(self._most)
        view[: len(chunk)] = chunk
        return len(chunk)

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def reason(error: OSError) -> str:
    """Returns what went wrong, for a message that names the file itself."""
    return error.strerror or str(error)


def named(error: OSError) -> str:
    """Returns what went wrong, with the name of the file if the error has one."""
    return f"{error.filename}: {reason(error)}" if isinstance(error.filename, str) else reason(error)

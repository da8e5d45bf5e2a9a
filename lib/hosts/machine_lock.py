"""The lock of a machine: one host process at a time. The file is in the temporary folder and says who holds it.

The lock belongs to an open file. The host process inherits it, and so does all that it starts. So the machine is locked
exactly as long as any of them runs, whatever ends the worker. The host process removes the file when it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from .protocol import Driving

# Names the lock for the host process: its descriptor, and its name.
_VARIABLE: Final = "OCIDRIVER_HOST_LOCK"
_LONGEST: Final = 64 * 1024
# Opening and locking is tried so often, as the one that held the file may just remove it.
_TRIES: Final = 100


class LockHeld(Exception):
    """Another run has the lock. `driving` says which one; None if it has not written that yet."""

    def __init__(self, driving: Driving | None) -> None:
        super().__init__("this machine drives another run")
        self.driving = driving


def path_of(name: str) -> Path:
    """Returns the file of the lock with this name. Each user has locks of their own."""
    return Path(tempfile.gettempdir()) / f"ocidriver-{name}-{os.geteuid()}.lock"


def take(name: str, driving: Driving) -> int:
    """Takes the lock and returns its descriptor, which the caller closes. Raises `LockHeld` or `OSError`."""
    path = path_of(name)
    sweep()
    for _ in range(_TRIES):
        descriptor = _open(path)
        try:
            if _lock(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(driving), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "it is removed again and again", str(path))


def handed_on(descriptor: int, name: str) -> dict[str, str]:
    """Returns the variable that tells a host process of the lock that it inherits."""
    return {_VARIABLE: f"{descriptor} {name}"}


@contextmanager
def inherited() -> Iterator[None]:
    """In the host process: at the end gives the inherited lock back, and removes its file if nobody else holds it."""
    descriptor, _, name = os.environ.pop(_VARIABLE, "").partition(" ")
    try:
        yield
    finally:
        if name and descriptor.isdecimal():
            with suppress(OSError):
                os.close(int(descriptor))
            remove(name)


def sweep() -> None:
    """Removes the files of this user's locks that nobody holds: those of workers that were killed."""
    pattern = path_of("*")
    for path in pattern.parent.glob(pattern.name):
        _remove(path)


def remove(name: str) -> bool:
    """Removes the file of the lock. Returns whether nobody held it."""
    return _remove(path_of(name))


def _remove(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if _lock(descriptor, path):
            path.unlink()
        return True
    except LockHeld:
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise OSError(errno.EPERM, "it belongs to another user; remove it", str(path))
    return descriptor


def _lock(descriptor: int, path: Path) -> bool:
    """Locks the open file. Returns False if it has been removed meanwhile. Raises `LockHeld`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockHeld(_read(descriptor)) from None
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _read(descriptor: int) -> Driving | None:
    with suppress(ValueError):
        return msgspec.json.decode(os.pread(descriptor, _LONGEST, 0), type=Driving)
    return None

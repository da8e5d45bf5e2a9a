"""The run's temporary folder: only the user can read it, it is locked while in use, and removed at the end.

The next run removes the folder of a run that was killed. It recognizes such a folder by a lock that no process holds.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..errors import RunError
from .guard import ELSEWHERE, remove_elsewhere

PREFIX = "ocidriver-"
_LOCK = "lock"
_NEW_LOCK = "lock.new"
# A run that has not locked its folder after this many seconds was killed.
_MAKING_SECONDS = 60.0


class Scratch:
    """Makes and removes the temporary folder `path` (mode 0700). Use it as a context manager.

    `prefix` must begin with `PREFIX`. Raises RunError if the folder cannot be made.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self._prefix = prefix
        self.path = Path()
        self._lock = -1

    def __enter__(self) -> Scratch:
        try:
            _sweep(Path(tempfile.gettempdir()))
            self.path = Path(tempfile.mkdtemp(prefix=self._prefix))
            unlocked = self.path / _NEW_LOCK
            self._lock = os.open(unlocked, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            # rename after locking: another run may remove a folder whose lock is not held
            unlocked.rename(self.path / _LOCK)
        except OSError as error:
            self.__exit__()
            raise RunError(
                f"cannot make a temporary folder: {error.strerror}; set TMPDIR to another place"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.path.name.startswith(PREFIX):
            remove_elsewhere(str(self.path))
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        if self.path.name.startswith(PREFIX):
            # the first try fails if no descriptor was left; the lock's descriptor is free now
            shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, name: str) -> Path:
        """Returns the subfolder with this name, and makes it if it does not exist."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def elsewhere(self, place: Path) -> Path:
        """Makes a new folder in `place`, which is removed with this one. Raises OSError if it cannot be made."""
        path = place / f"{PREFIX}{secrets.token_hex(4)}"
        listed = os.open(self.path / ELSEWHERE, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(listed, f"{path}\n".encode())
        finally:
            os.close(listed)
        path.mkdir(mode=0o700)
        return path


def _sweep(where: Path) -> None:
    """Removes the folders of this user's runs that were killed: those with a lock that no process holds."""
    for folder in where.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.geteuid():
                _remove_unless_held(folder)


def _remove_unless_held(folder: Path) -> None:
    unfinished = folder / _NEW_LOCK
    killed_early = unfinished.exists() and time.time() - unfinished.stat().st_mtime > _MAKING_SECONDS
    lock = os.open(unfinished if killed_early else folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_elsewhere(str(folder))
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)

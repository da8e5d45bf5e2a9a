"""The run's own temporary folder: made for the user alone, locked while in use, removed at the end.

A folder that a killed run left is removed by a later start, told by its lock that nobody holds.
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
# A start that takes longer than this to lock its folder was killed meanwhile.
_MAKING_SECONDS = 60.0


class Scratch:
    """Use as a context manager; `path` is the folder (mode 0700). A prefix of another kind begins with PREFIX too."""

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
            # in place only when it is held: who sees the lock without its holder may remove the folder
            unlocked.rename(self.path / _LOCK)
        except OSError as error:
            self.__exit__()
            raise RunError(
                f"cannot make a temporary folder: {error.strerror} (TMPDIR names another place)"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        if self.path.name.startswith(PREFIX):
            remove_elsewhere(str(self.path))
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
        if self.path.name.startswith(PREFIX):
            # where no descriptor was left to look into it, now there is one
            shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, name: str) -> Path:
        """A folder in it, made at the first use."""
        path = self.path / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def elsewhere(self, place: Path) -> Path:
        """A new folder in another place, which goes with this one. Raises OSError if it cannot be made."""
        path = place / f"{PREFIX}{secrets.token_hex(4)}"
        listed = os.open(self.path / ELSEWHERE, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(listed, f"{path}\n".encode())
        finally:
            os.close(listed)
        path.mkdir(mode=0o700)
        return path


def _sweep(where: Path) -> None:
    """Remove the folders of runs that were killed: ours, with a lock that nobody holds."""
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

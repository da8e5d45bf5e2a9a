"""Keeps the pieces of a host whose controller is gone, for `ocidriver merge`."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 80


def keep(pieces: Path, run: str, host: str) -> Path | None:
    """Copies the pieces file to the working directory, or to the temporary folder. Returns where it is.

    Only this user can read it. Returns None if neither folder takes it.
    """
    name = f"ocidriver-{_clean(run)}-{_clean(host)}.pieces"
    for folder in (os.curdir, tempfile.gettempdir()):
        path = Path(folder, name).absolute()
        with suppress(OSError):
            _copy(pieces, path)
            return path
    return None


def _copy(pieces: Path, path: Path) -> None:
    """Copies a file to a path that does not exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(pieces, "rb") as source, os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError:
        path.unlink()
        raise


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:_LONGEST_NAME]

"""Keeps a file of a host: the pieces if its controller is gone, and events that are too long to send."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_LONGEST_NAME: Final = 80


def keep(file: Path, run: str, host: str, ending: str = "pieces") -> Path | None:
    """Copies a file to the working directory, or to the temporary folder. Returns where it is.

    Only this user can read it. Returns None if neither folder takes it.
    """
    name = f"ocidriver-{_clean(run)}-{_clean(host)}.{ending}"
    for folder in (os.curdir, tempfile.gettempdir()):
        path = Path(folder, name).absolute()
        with suppress(OSError):
            _copy(file, path)
            return path
    return None


def _copy(file: Path, path: Path) -> None:
    """Copies a file to a path that does not exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "rb") as source, os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError:
        path.unlink()
        raise


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:_LONGEST_NAME]

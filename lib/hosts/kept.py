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
        with suppress(OSError):  # the working directory may be gone, too
            path = Path(folder, name).absolute()
            _copy(file, path)
            return path
    return None


def _copy(pieces: Path, path: Path) -> None:
    """Copies a file to a path that does not exist."""
    with open(pieces, "rb") as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as target:
            try:
                shutil.copyfileobj(source, target)
                target.flush()
            except OSError:
                path.unlink()
                raise


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:_LONGEST_NAME]

"""Which outputs go to stdout, under whatever name."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

STDOUT = "-"


def is_stdout(path: str | Path) -> bool:
    """Whether it is `-`, or another name of what stdout is open to."""
    if str(path) == STDOUT:
        return True
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False

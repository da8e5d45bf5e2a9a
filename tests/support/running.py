"""Runs a program to its end, and keeps what it says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import SECONDS


def run(
    *argv: object, environment: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program with these variables beside those of the tests; an exit status other than 0 is no error."""
    return subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

"""File systems that are mounted for one command alone, which nobody else sees."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache

import pytest

from tests.support.waiting import SECONDS


def with_mounts(mounts: Sequence[str], argv: Sequence[str], after: str = "") -> list[str]:
    """The command line that mounts, runs the command, and then what comes `after`."""
    last = [f"exec {shlex.join(argv)}"] if not after else [shlex.join(argv), after]
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *own, "--mount", "sh", "-ec", "\n".join([*mounts, *last])]


def run_with_mounts(
    mounts: Sequence[str], argv: Sequence[str], environment: Mapping[str, str], after: str = ""
) -> subprocess.CompletedProcess[str]:
    """Skips the test where nothing can be mounted."""
    if not can_mount(*mounts):
        pytest.skip(f"this user may not mount: {'; '.join(mounts)}")
    return subprocess.run(
        with_mounts(mounts, argv, after),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )


@cache
def can_mount(*mounts: str) -> bool:
    """Whether these can be mounted here; without any, whether a memory file system can be."""
    words = with_mounts(mounts or ["mount -t tmpfs none /mnt"], ["true"])
    return (
        shutil.which("unshare") is not None
        and subprocess.run(words, capture_output=True, timeout=SECONDS, check=False).returncode == 0
    )

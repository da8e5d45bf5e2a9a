"""`ocidriver doctor`, as a script reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.support.driving import command
from tests.support.running import run

Checks = list[dict[str, str]]


def doctor(*words: str, environment: Mapping[str, str] | None = None) -> tuple[int, Checks, list[str]]:
    """(exit status, checks, recommended command line)."""
    done = run(*command("doctor", "--json", *words), environment=environment)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    return done.returncode, told["checks"], told["command"]


def messages(checks: Checks) -> dict[str, str]:
    """By the names of the checks."""
    return {check["name"]: check["message"] for check in checks}

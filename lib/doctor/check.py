"""The result of one of doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, FAILURE = "ok", "warning", "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """A line of doctor's output: what was checked, the result, and, for a problem, what to do about it."""

    name: str
    status: str
    message: str
    advice: str = ""

"""The result of one of doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Status = Literal["ok", "warning", "failure"]
OK: Final = "ok"
WARNING: Final = "warning"
FAILURE: Final = "failure"


@dataclass(frozen=True, slots=True)
class Check:
    """A line of doctor's output: what was checked, the result, and, for a problem, what to do about it.

    `hosts` are the names of the hosts that have this result; empty for what was checked on this machine.
    """

    name: str
    status: Status
    message: str
    advice: str = ""
    hosts: tuple[str, ...] = ()

"""Chooses between the live view, a plain line every tally interval, and nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from ..choices import ALWAYS, NEVER
from ..load.plan import Plan
from ..results.output import Outputs
from ..results.run_state import Run
from .plain import PlainLines
from .snapshot import Watch


class Progress(Protocol):
    """Shows the progress of a run. The driver calls `end` when the ramp is over and its result is known."""

    def end(self) -> None: ...


class Nothing:
    """Shows nothing."""

    def end(self) -> None:
        return


def wants_live(mode: str, is_terminal: bool, environment: Callable[[str], str | None]) -> bool:
    """Returns whether to show the live view: only on a terminal that can move its cursor.

    `auto` also excludes CI, because some pipelines have a terminal without a user.
    """
    if mode == NEVER or not is_terminal or environment("TERM") in (None, "", "dumb", "unknown"):
        return False
    return mode == ALWAYS or environment("CI") in (None, "", "0", "false")


def start_progress(mode: str, run: Run, plan: Plan, outputs: Outputs) -> Progress:
    """Starts to show the progress of the load, as `--progress` and stderr allow."""
    if wants_live(mode, os.isatty(2), os.environ.get):
        from .live import LiveView

        return LiveView(Watch(run, plan), outputs)
    return PlainLines(run, plan, outputs) if mode == ALWAYS else Nothing()

"""Chooses between the live view, a plain line every tally and nothing."""

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
    """Whatever watches a run; `end` is called when the ramp is over and its result is known."""

    def end(self) -> None: ...


class Nothing:
    """Nobody watches."""

    def end(self) -> None:
        return


def wants_live(mode: str, is_terminal: bool, environment: Callable[[str], str | None]) -> bool:
    """A terminal that can move its cursor; by itself not in CI, where some have one that nobody sits at."""
    if mode == NEVER or not is_terminal or environment("TERM") in (None, "", "dumb", "unknown"):
        return False
    return mode == ALWAYS or environment("CI") in (None, "", "0", "false")


def start_progress(mode: str, run: Run, plan: Plan, outputs: Outputs) -> Progress:
    """Let the user watch the load that begins now, in the way that fits `--progress` and stderr."""
    if wants_live(mode, os.isatty(2), os.environ.get):
        from .live import LiveView

        return LiveView(Watch(run, plan), outputs)
    return PlainLines(run, plan, outputs) if mode == ALWAYS else Nothing()

"""Chooses between the live view, a plain line every tally interval, and nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..choices import ALWAYS, NEVER
from ..load.plan import Plan
from ..load.warm_up import WarmUp
from ..options.settings import Settings
from ..processes.pauses import Pauses
from ..results.output import Outputs
from ..results.run_state import Run
from .plain import PlainLines


class Progress(Protocol):
    """Shows the progress of a run. The driver calls `end` when the load is over and its result is known."""

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
        from .picture import LoadPicture

        return LiveView(LoadPicture(run, plan), outputs)
    return PlainLines(run, plan, outputs) if mode == ALWAYS else Nothing()


@contextmanager
def warming_up(settings: Settings, warm_up: WarmUp, outputs: Outputs) -> Iterator[None]:
    """Shows the progress of the warm-up inside the context, as `--progress` and stderr allow."""
    progress: Progress = Nothing()
    pauses = Pauses()
    with pauses.watching():
        if wants_live(settings.progress, os.isatty(2), os.environ.get):
            from .live import LiveView
            from .warm_up import WarmUpPicture

            progress = LiveView(WarmUpPicture(warm_up, pauses), outputs)
        elif settings.progress == ALWAYS:
            from .warm_up import WarmUpLines

            progress = WarmUpLines(warm_up, settings.tally_seconds)
        try:
            yield
        finally:
            progress.end()

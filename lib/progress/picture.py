"""What the live view draws: lines that change, and lines that remain at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.text import Text

from ..load.plan import Plan
from ..results.run_state import Run
from .closing import closing_lines
from .snapshot import Watch
from .view import room, view_lines


class Picture(Protocol):
    """The content of the live view. The view's thread calls it."""

    @property
    def continued(self) -> int:
        """How often the process was continued after a stop (Ctrl-Z)."""
        ...

    def lines(self, width: int, height: int) -> Sequence[Text]:
        """Returns the lines now, for a terminal of this size."""
        ...

    def closing(self, width: int) -> Sequence[Text]:
        """Returns the lines that replace the view at the end."""
        ...


class LoadPicture:
    """Shows the load: a snapshot of the run, and at the end its result."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self._run = run
        self._plan = plan
        self._watch = Watch(run, plan)

    @property
    def continued(self) -> int:
        return self._run.tally.pauses.continued

    def lines(self, width: int, height: int) -> Sequence[Text]:
        steps = len(self._run.tally.steps) if len(self._plan.steps) > 1 else 0
        fit = room(height, steps)
        return view_lines(self._watch.snapshot(rows=fit.workers, steps=fit.steps), width, height)

    def closing(self, width: int) -> Sequence[Text]:
        return closing_lines(self._run, self._plan, width)

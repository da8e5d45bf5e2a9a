"""The live view: a few lines at the bottom of the terminal that are drawn anew, lines for the terminal above them.

Drawn here rather than by rich.live, which waits for a terminal that is held (Ctrl-S), hides the cursor and leaves rests
when a terminal that is made narrower wraps what was drawn. The cursor rests below the view, visible, and no mode of the
terminal is changed, so there is nothing to restore, even after SIGKILL. rich does the styles and the widths.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import thread_time

from .. import streams
from ..results.output import Outputs
from .closing import closing_lines
from .painter import Painter
from .snapshot import Watch
from .view import view_lines, worker_rows

_STDERR = 2
# Seconds between two drawings, at least and at most, and the share of one core's time that drawing may take.
_LEAST_PAUSE = 0.25
_MOST_PAUSE = 1.0
_MOST_SHARE = 0.01
# So long the end of the run waits for a terminal that is held, in seconds.
_TERMINAL_SECONDS = 2.0
_MOST_PENDING = 20_000


class LiveView:
    """Draws the Watch's Snapshots from a thread of its own, and the lines that others have for this terminal."""

    def __init__(self, watch: Watch, outputs: Outputs) -> None:
        self._watch = watch
        self._outputs = outputs
        self._painter = Painter(_STDERR)
        # each with what writes it where this view cannot
        self._pending: deque[tuple[str, Callable[[str], None]]] = deque()
        self._ending = threading.Event()
        self._fault: Exception | None = None
        self._diverted = outputs.shown_on(_STDERR)
        for file in self._diverted:
            file.divert = self._taker(file.write)
        streams.divert(self._taker(self._say))
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._fault = error  # too many threads; the ramp will tell

    def end(self) -> None:
        """Leave the table of the steps in place of the view. A terminal that takes nothing is not waited for long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_TERMINAL_SECONDS)
        streams.divert(None)
        for file in self._diverted:
            file.divert = None
        while self._pending:
            line, write = self._pending.popleft()
            write(line)
        if self._fault is not None:
            self._outputs.log(f"warning: the live view ended early: {self._fault!r}")

    def _say(self, line: str) -> None:
        """A message that came too late for the view; a terminal that is held loses it, the log has it."""
        if self._painter.ready(0.0):
            streams.write_line(line)

    def _taker(self, write: Callable[[str], None]) -> Callable[[str], bool]:
        def take(line: str) -> bool:
            if len(self._pending) >= _MOST_PENDING or not self._thread.is_alive():
                return False
            self._pending.append((line, write))
            return True

        return take

    def _run(self) -> None:
        try:
            pause = 0.0
            while not self._ending.wait(pause):
                before = thread_time()
                if self._painter.ready(0.0):
                    self._draw()
                wanted = (thread_time() - before) / _MOST_SHARE
                pause = min(max(wanted, _LEAST_PAUSE), _MOST_PAUSE)
            if self._painter.ready(_TERMINAL_SECONDS / 2):
                self._painter.paint(
                    self._lines(), closing_lines(self._watch.run, self._painter.size()[0]), ()
                )
        except Exception as error:
            self._fault = error  # a fault of the view's is no reason to end a test

    def _draw(self) -> None:
        width, height = self._painter.size()
        snapshot = self._watch.snapshot(rows=worker_rows(len(self._watch.run.workers), height))
        self._painter.paint(self._lines(), (), view_lines(snapshot, width, height))

    def _lines(self) -> list[str]:
        """The others' lines that wait."""
        return [self._pending.popleft()[0] for _ in range(len(self._pending))]

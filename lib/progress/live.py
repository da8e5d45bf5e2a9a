"""The live view: a few lines at the bottom of the terminal that are redrawn. Other lines appear above them.

It does not use rich.live, for three reasons: rich.live blocks on a terminal that is paused (Ctrl-S), hides the cursor,
and leaves fragments when a narrower window wraps its lines. Here the cursor stays visible below the view, and no
terminal mode changes, so there is nothing to restore, even after SIGKILL. rich does only the styles and widths.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, thread_time

from .. import streams
from ..results.output import Outputs
from .painter import Painter
from .picture import Picture

_STDERR = 2
# The least and the most seconds between two drawings, and the share of one core that drawing may use.
_LEAST_PAUSE = 0.25
_MOST_PAUSE = 1.0
_MOST_SHARE = 0.01
# The end of the run waits at most this many seconds for a paused terminal.
_TERMINAL_SECONDS = 2.0
_MOST_PENDING = 20_000


class LiveView:
    """Draws a picture from its own thread, with the lines above it that other parts write to this terminal."""

    def __init__(self, picture: Picture, outputs: Outputs) -> None:
        self._picture = picture
        self._outputs = outputs
        self._painter = Painter(_STDERR)
        # each line with the function that writes it if this view cannot
        self._pending: deque[tuple[str, Callable[[str], None]]] = deque()
        self._ending = threading.Event()
        self._fault: Exception | None = None
        self._continued = 0
        self._diverted = outputs.shown_on(_STDERR)
        for file in self._diverted:
            file.divert = self._taker(file.write)
        streams.divert(self._taker(self._say))
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._fault = error  # too many threads; the run will report that

    def end(self) -> None:
        """Replaces the view by its closing lines. Waits at most `_TERMINAL_SECONDS` for a paused terminal."""
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
        """Writes a message that came too late for the view. A paused terminal loses it, but the log has it."""
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
            woken = monotonic()
            while not self._ending.wait(pause):
                before = thread_time()
                if monotonic() - woken > pause + _LEAST_PAUSE:
                    self._ending.wait(_LEAST_PAUSE)  # perhaps stopped: the main thread handles SIGCONT first
                woken = monotonic()
                self._look_for_a_stop()
                if self._painter.ready(0.0):
                    self._draw()
                wanted = (thread_time() - before) / _MOST_SHARE
                pause = min(max(wanted, _LEAST_PAUSE), _MOST_PAUSE)
            if self._painter.ready(_TERMINAL_SECONDS / 2):
                self._painter.paint(self._lines(), self._picture.closing(self._painter.size()[0]), ())
        except Exception as error:
            self._fault = error  # a fault in the view must not end the test

    def _look_for_a_stop(self) -> None:
        """After a stop (Ctrl-Z), the shell has written below the view."""
        continued = self._picture.continued
        if continued != self._continued:
            self._continued = continued
            self._painter.forget()

    def _draw(self) -> None:
        shown = self._picture.lines(*self._painter.size())
        self._painter.paint(self._lines(), (), shown)

    def _lines(self) -> list[str]:
        """Takes all pending lines."""
        return [self._pending.popleft()[0] for _ in range(len(self._pending))]

"""Shows the progress of a warm-up: a bar on a terminal, plain lines, or nothing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rich.text import Text

from ..counted import counted
from ..load.warm_up import WarmUp
from ..processes.pauses import Pauses
from ..results.line_file import LineFile
from ..streams import STDOUT
from .bar import bar
from .plain import warmed_up

_BAR = 40


class WarmUpPicture:
    """Shows a bar of the images. `pauses` notices stops of this process."""

    def __init__(self, warm_up: WarmUp, pauses: Pauses) -> None:
        self._warm_up = warm_up
        self._pauses = pauses

    @property
    def continued(self) -> int:
        return self._pauses.continued

    def lines(self, width: int, height: int) -> Sequence[Text]:
        warm_up = self._warm_up
        words = f"  warm-up: {warm_up.pulled:,} of {counted(warm_up.total, 'image')} pulled"
        room = max(min(_BAR, width - len(words) - len(" 100 %") - 1), 0)
        return [bar(warm_up.pulled / warm_up.total, room).append(words)] if height > 1 else []

    def closing(self, width: int) -> Sequence[Text]:
        return []


class WarmUpLines:
    """Writes a plain line to stderr every `seconds`, and one at the end."""

    def __init__(self, warm_up: WarmUp, seconds: float) -> None:
        self._warm_up = warm_up
        self._seconds = seconds
        self._file = LineFile(STDOUT, "progress", lambda _: None, descriptor=2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warm-up lines", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._over.set()  # too many threads; the warm-up will report that

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._file.write(warmed_up(self._warm_up))

    def end(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
        self._file.write(warmed_up(self._warm_up))
        self._file.finish(0.0)

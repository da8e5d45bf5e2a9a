"""What a host process says in words: lines of its log and warnings, as notes for the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..clean import clean
from ..clock import Clock
from ..options.settings import Settings
from ..results.output import Log, Outputs
from ..streams import LINE_LENGTH
from .protocol import Body, Note

# In each tally interval, at most this many failures of a host get their own line.
_FAILURES: Final = 10
_PREFIX: Final = "ocidriver: "
_WARNING: Final = "warning: "


class Notes:
    """Posts notes. What is logged and then shown to the user as well, as warnings are, makes one note."""

    def __init__(self, post: Callable[[Body], object]) -> None:
        self._post = post
        self._logged = ""

    def log(self, message: str) -> None:
        """Takes a line of the log."""
        self._logged = message
        warning = message.startswith(_WARNING)
        self._note(message.removeprefix(_WARNING), caution=warning)

    def caution(self, message: str) -> None:
        """Takes what the user should see."""
        self._note(message, caution=True)

    def divert(self, line: str) -> bool:
        """Takes a line that would go to stderr. Returns True, as it need not be written there."""
        message = line.removeprefix(_PREFIX)
        if message != self._logged:
            self.caution(message.removeprefix(_WARNING))
        return True

    def _note(self, message: str, *, caution: bool) -> None:
        self._post(Note(clean(message, LINE_LENGTH), caution))


class HostOutputs(Outputs):
    """The outputs of a host: files in its folder. What goes to the log becomes a note, too, but not with `own_log`."""

    def __init__(self, settings: Settings, clock: Clock, notes: Notes) -> None:
        super().__init__(settings, clock, failures_logged=_FAILURES)
        self._notes = notes
        self.own_log = Log(self.logs, clock)
        self.log = self._log

    def _log(self, message: str) -> None:
        self.own_log(message)
        self._notes.log(message)

    def caution(self, message: str) -> None:
        """Logs a message that the user should see."""
        self.own_log(message)
        self._notes.caution(message)

    def tell(self, message: str) -> None:
        """Logs a message that is no warning. The user of many hosts finds it in the log."""
        self.log(message)

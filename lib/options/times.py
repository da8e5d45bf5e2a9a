"""Shows the times among a run's settings as users write them: 5m, not 300.0."""

from __future__ import annotations

from typing import Any, Final

from ..durations import spoken
from ..units import LONGEST_SECONDS
from .definitions import OPTIONS
from .types import Seconds

# The settings of options that take a time.
_TIMES: Final = frozenset(each.name for each in OPTIONS if isinstance(each.type, Seconds))


def shown_setting(name: str, value: Any) -> Any:
    """Returns a setting's value to show: a time as text, every other value as it is. The value may be from a file."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return spoken(value) if name in _TIMES and number and 0 <= value <= LONGEST_SECONDS else value

"""Times as users write and read them: 30s, 5m, 1h30m."""

from __future__ import annotations

import re
from typing import Final

# The longest time that an option takes, in seconds: a year.
LONGEST: Final = 366 * 86400.0
_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"(?:\d+(?:\.\d*)?|\.\d+)"
_TIME: Final = re.compile(
    "".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _UNITS)
    + rf"|(?P<plain>{_NUMBER}(?:e[+-]?\d+)?)",
    re.ASCII,
)


def parse_duration(text: str) -> float:
    """Returns the seconds that a text stands for: `90`, `1.5`, `30s`, `5m`, `1h30m`, `250ms`.

    Raises ValueError for anything else. The units d, h, m, s and ms stand in this order, each at most once.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or not match[0]:
        raise ValueError(f"'{text}' is not a time; give seconds, or units as in 30s, 5m or 1h30m")
    if match["plain"]:
        return float(match["plain"])
    return sum(float(match[unit]) * seconds for unit, seconds in _UNITS.items() if match[unit])


def spoken(seconds: float) -> str:
    """Returns a time as text that `parse_duration` reads: `2.5s`, `30s`, `5m`, `1h30m`."""
    if seconds < 60:
        number = f"{seconds:g}"
        # units go with plain numbers only
        return f"{number if 'e' not in number else f'{seconds:.12f}'.rstrip('0').rstrip('.')}s"
    whole, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(whole), 60)
    parts = ((hours, "h"), (minutes, "m"), (round(rest, 3), "s"))
    return "".join(f"{number:g}{unit}" for number, unit in parts if number)

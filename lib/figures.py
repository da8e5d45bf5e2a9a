"""Figures as people read them: three significant digits, with their units."""

from __future__ import annotations

import math

_DIGITS = 3
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def three(value: float) -> str:
    """Returns a number with three significant digits: `0.0123`, `43.8`, `1,230`. Trailing zeros are left out."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = _DIGITS - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    # rounding may add a digit: 9.996 is 10
    places = _DIGITS - 1 - math.floor(math.log10(abs(rounded)))
    text = f"{rounded:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """Returns a share from 0 to 1 in percent: `21.5 %`."""
    return f"{three(100 * share)} %"


def milliseconds(value: float) -> str:
    """Returns a time in milliseconds, from 10 s on in seconds: `43.8 ms`, `12.3 s`."""
    return f"{three(value)} ms" if value < 10_000 else f"{three(value / 1000)} s"


def rate(value: float) -> str:
    """Returns a number of pulls per second: `29.7 pulls/s`."""
    return f"{three(value)} pulls/s"


def data(size: float) -> str:
    """Returns a number of bytes: `512 B`, `1.23 MB`. A megabyte is a million bytes."""
    exponent = 0
    # what rounds to a thousand belongs to the next unit
    while size >= 999.5 and exponent < len(_SIZES) - 1:
        size, exponent = size / 1000, exponent + 1
    return f"{three(size)} {_SIZES[exponent]}"


def data_rate(size: float) -> str:
    """Returns a number of bytes per second: `123 MB/s`."""
    return f"{data(size)}/s"

"""Figures as people read them: three significant digits, with their units."""

from __future__ import annotations

import math

DIGITS = 3
_ENOUGH = range(DIGITS, 16)
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def three(value: float, digits: int = DIGITS) -> str:
    """Returns a number with three significant digits: `0.0123`, `43.8`, `1,230`. Trailing zeros are left out.

    Where two numbers have to be told apart, `digits` are more than three; so in the functions below.
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    # rounding may add a digit: 9.996 is 10
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    text = f"{rounded:,.{max(0, places)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float, digits: int = DIGITS) -> str:
    """Returns a share from 0 to 1 in percent: `21.5 %`."""
    return f"{three(100 * share, digits)} %"


def milliseconds(value: float, digits: int = DIGITS) -> str:
    """Returns a time in milliseconds, from 10 s on in seconds: `43.8 ms`, `12.3 s`."""
    return f"{three(value, digits)} ms" if value < 10_000 else f"{three(value / 1000, digits)} s"


def rate(value: float, digits: int = DIGITS) -> str:
    """Returns a number of pulls per second: `29.7 pulls/s`."""
    return f"{three(value, digits)} pulls/s"


def data(size: float, digits: int = DIGITS) -> str:
    """Returns a number of bytes: `512 B`, `1.23 MB`. A megabyte is a million bytes."""
    exponent = 0
    # what rounds to a thousand belongs to the next unit
    while size >= 999.5 and exponent < len(_SIZES) - 1:
        size, exponent = size / 1000, exponent + 1
    return f"{three(size, digits)} {_SIZES[exponent]}"


def data_rate(size: float, digits: int = DIGITS) -> str:
    """Returns a number of bytes per second: `123 MB/s`."""
    return f"{data(size, digits)}/s"


def digits_of(value: float) -> int:
    """Returns how many significant digits show this number as it is: at least three."""
    shown = (digits for digits in _ENOUGH if math.isclose(_rounded(value, digits), value, rel_tol=1e-12))
    return next(shown, _ENOUGH[-1])


def digits_apart(value: float, other: float) -> int:
    """Returns how many significant digits show on which side of `other` this number is: at least three."""
    apart = (digits for digits in _ENOUGH if _side(_rounded(value, digits), other) == _side(value, other))
    return next(apart, _ENOUGH[-1])


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _side(value: float, of: float) -> tuple[bool, bool]:
    return value < of, value > of

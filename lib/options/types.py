"""Option types: numbers of seconds and sizes in bytes."""

from __future__ import annotations

import re
from typing import Any

import click

from ..choices import AUTO
from ..durations import LONGEST, parse_duration, spoken


class Whole(click.IntRange):
    """A whole number within limits."""

    name = "whole number"


class WholeOrAuto(Whole):
    """A whole number within limits, or `auto`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return AUTO if value == AUTO else super().convert(value, param, ctx)


class Seconds(click.ParamType[float]):
    """A time: seconds, or units as in 5m. At least `least` seconds (None: more than zero), at most `most`."""

    name = "seconds"

    def __init__(self, least: float | None = None, most: float = LONGEST) -> None:
        self._least = least
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = value if isinstance(value, float) else parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        wanted = "more than zero seconds" if self._least is None else f"{spoken(self._least)} or more"
        if not (seconds > 0 if self._least is None else seconds >= self._least):
            self.fail(f"'{value}' is out of range; give {wanted}", param, ctx)
        if not seconds <= self._most:
            most = "a year" if self._most == LONGEST else spoken(self._most)
            self.fail(f"'{value}' is more than {most}; give a shorter time", param, ctx)
        return seconds


# More than any machine has. A size of hundreds of digits is infinite as a float, and counts as this many.
_MOST_BYTES = 1e18
_UNITS = {"": 1, "b": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1 << 20, "mib": 1 << 20, "mb": 10**6,
          "g": 1 << 30, "gib": 1 << 30, "gb": 10**9}  # fmt: skip


class Size(click.ParamType[int]):
    """A number of bytes, with or without a unit, such as 500, 2KiB or 1MB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            self.fail(f"'{value}' is not a size such as 2KiB, 1MiB or 500", param, ctx)
        return round(min(float(match[1]) * unit, _MOST_BYTES))

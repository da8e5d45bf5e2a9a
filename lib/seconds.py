"""Times on the command line: seconds, which may have a fraction."""

from __future__ import annotations

from typing import Any

import click

_YEAR = 366 * 86400


class Seconds(click.ParamType[float]):
    """A number of seconds, from `least` (where None: more than zero) to a year."""

    name = "seconds"

    def __init__(self, least: float | None = None) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"'{value}' is not a number of seconds", param, ctx)
        wanted = "more than zero" if self._least is None else f"{self._least:g} or more"
        if not (seconds > 0 if self._least is None else seconds >= self._least):
            self.fail(f"'{value}' is not {wanted} seconds", param, ctx)
        if not seconds <= _YEAR:
            self.fail(f"'{value}' seconds are more than a year", param, ctx)
        return seconds

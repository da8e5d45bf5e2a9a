"""Makes tables as HTML. All text from outside goes through `safe`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..clean import clean

_LONGEST_TEXT = 500
# A number and its unit, which stay on one line if there is room.
_WITH_UNIT = re.compile(r"\d[\d,.]* [a-z/%]+")
# The space between a number and its unit, or between the name of a percentile and its value.
_BEFORE_UNIT = re.compile(
    r"(?<=\d) (?=%|(?:ms|s|k?B|[MGT]B|[kMGT]?B/s|pulls/s|workers?)(?!\w))|(?<=p\d\d) (?=\d)"
)
# A text of at most this many characters, such as a time, is not broken over lines.
_SHORT = 26


def safe(text: object) -> str:
    """Returns one line of escaped text, without control characters and secrets."""
    return html.escape(clean(str(text), _LONGEST_TEXT))


def sentence(text: str) -> str:
    """Returns text as `safe` does. A number and its unit stay on one line."""
    return _BEFORE_UNIT.sub("\u00a0", safe(text))


@dataclass(frozen=True, slots=True)
class Number:
    """A cell that is aligned right and sorted by value. None shows as a dash. `text` shows instead of the value."""

    value: float | None
    format: str = ",.0f"
    text: str = ""

    def __str__(self) -> str:
        return "–" if self.value is None else self.text or format(self.value, self.format)


@dataclass(frozen=True, slots=True)
class Mark:
    """A word in the colour for good or bad."""

    text: str
    good: bool


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table. A click on a column's head sorts it."""
    rows = [list(row) for row in rows]
    numeric = [bool(rows) and isinstance(rows[0][place], Number) for place in range(len(heads))]
    head = "".join(
        f'<th{" class=n" if right else ""}><button type="button">{safe(name)}</button></th>'
        for name, right in zip(heads, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if isinstance(value, Number):
        # the script sorts by the text if that is the number
        if value.value is not None and not value.text:
            return f"<td class=n>{safe(value)}</td>"
        sort = "" if value.value is None else f"{value.value:.12g}"
        return f'<td class=n data-v="{sort}">{safe(value)}</td>'
    text = value.text if isinstance(value, Mark) else str(value)
    colour = ("good" if value.good else "bad") if isinstance(value, Mark) else ""
    classes = f"{colour} {'s' if len(text) <= _SHORT else ''}".strip()
    return f'<td class="{classes}">{safe(text)}</td>' if classes else f"<td>{safe(text)}</td>"


class Tile(NamedTuple):
    """A headline figure: its label, and what more there is to say. A `Mark` as the figure is coloured."""

    figure: object
    label: str
    more: str = ""


def tiles(shown: Iterable[tuple[object, str] | Tile]) -> str:
    """Returns the headline figures, each (figure, label) or a `Tile`."""
    return f'<div class="tiles">{"".join(_tile(Tile(*each)) for each in shown)}</div>'


def _tile(shown: Tile) -> str:
    figure = shown.figure
    mark = f" class={'good' if figure.good else 'bad'}" if isinstance(figure, Mark) else ""
    text = _WITH_UNIT.sub(r"<i>\g<0></i>", safe(figure.text if isinstance(figure, Mark) else figure))
    more = f"<p>{sentence(shown.more)}</p>" if shown.more else ""
    return f"<div class=tile><b{mark}>{text}</b><span>{safe(shown.label)}</span>{more}</div>"

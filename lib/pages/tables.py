"""Tables as HTML. Whatever came from outside goes through `safe`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..failures import clean

_LONGEST_TEXT = 500


def safe(text: object) -> str:
    """One line that is only text to a browser: no control characters, no secrets, escaped."""
    return html.escape(clean(str(text), _LONGEST_TEXT))


@dataclass(frozen=True, slots=True)
class Number:
    """A cell that is aligned right and sorted by value; None is shown as a dash."""

    value: float | None
    format: str = ",.0f"

    def __str__(self) -> str:
        return "–" if self.value is None else format(self.value, self.format)


@dataclass(frozen=True, slots=True)
class Mark:
    """A word that is good or bad."""

    text: str
    good: bool


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Sorted by a click on a head."""
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
        sort = "" if value.value is None else f"{value.value:.12g}"
        return f'<td class=n data-v="{sort}">{value}</td>'
    if isinstance(value, Mark):
        return f'<td class="{"good" if value.good else "bad"}">{safe(value.text)}</td>'
    return f"<td>{safe(value)}</td>"

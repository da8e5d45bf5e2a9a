"""Tables and text of the page, as HTML. Whatever came from outside goes through `safe`."""

from __future__ import annotations

import html
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..failures import clean
from .data import EventSeries

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


def _latency(latency: Mapping[str, Any] | None, name: str) -> Number:
    return Number(latency[name] if latency else None, ",.1f")


def steps(summary: Mapping[str, Any]) -> str:
    heads = (
        "step",
        "direction",
        "workers",
        "seconds",
        "pulled",
        "failed",
        "pulls/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
    )
    return table(
        heads,
        (
            (
                Number(place),
                each["direction"],
                Number(each["workers"]),
                Number(each["seconds"], ",.1f"),
                Number(each["pulled"]),
                Number(each.get("failed")),
                Number(each["rate"], ",.2f"),
                *(_latency(each.get("latency_ms"), name) for name in ("p50", "p95", "p99")),
            )
            for place, each in enumerate(summary["steps"], 1)
        ),
    )


def workers(summary: Mapping[str, Any]) -> str:
    counts = ("images", "passes", "pulled", "failed", "pruned")
    return table(
        ("worker", "pattern", *counts),
        (
            (Number(place), each["pattern"], *(Number(each[name]) for name in counts))
            for place, each in enumerate(summary["workers"])
        ),
    )


def latencies(summary: Mapping[str, Any]) -> str:
    names = ("min", "mean", "p50", "p90", "p95", "p99", "max")
    kinds = (
        ("all pulls", "latency_ms"),
        ("first pulls", "first_latency_ms"),
        ("repeat pulls", "repeat_latency_ms"),
    )
    return table(
        ("ms", *names), ((kind, *(_latency(summary[key], name) for name in names)) for kind, key in kinds)
    )


def errors(counts: Mapping[str, Any]) -> str:
    return table(("class", "failed"), ((name, Number(_number(count))) for name, count in counts.items()))


def thresholds(summary: Mapping[str, Any]) -> str:
    return table(
        ("threshold", "it was", "verdict"),
        (
            (
                each["expression"],
                Number(_number(each.get("value")), ",.6g"),
                Mark("passed" if each["passed"] else "missed", each["passed"]),
            )
            for each in summary["thresholds"]
        ),
    )


def slowest(events: EventSeries) -> str:
    return table(
        ("image", "slowest ms", "mean ms", "pulled", "failed"),
        (
            (
                each.name,
                Number(each.slowest * 1000, ",.1f"),
                Number(each.total / each.pulled * 1000, ",.1f"),
                Number(each.pulled),
                Number(each.failed),
            )
            for each in events.slowest()
        ),
    )


def settings(summary: Mapping[str, Any]) -> str:
    return table(
        ("setting", "value"), ((option(name), _shown(value)) for name, value in summary["settings"].items())
    )


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def command_line(summary: Mapping[str, Any]) -> tuple[str, bool]:
    """(as typed, True), or (what amounts to the same, False) where the summary does not have it; not yet escaped."""
    words = summary.get("command")
    exact = isinstance(words, list) and bool(words)
    text = shlex.join(map(str, words if exact and words else _rebuilt(summary["settings"])))
    return "".join(map(_visible, text)), exact


def _visible(char: str) -> str:
    """Control and format characters and line separators by their number, as they could hide what stands there."""
    hidden = unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp")
    return char.encode("unicode_escape").decode() if hidden else char


def _rebuilt(settings: Mapping[str, Any]) -> list[str]:
    words = ["ocidriver"]
    for name, value in settings.items():
        if value is True:
            words.append(option(name))
        elif isinstance(value, list):
            values = [",".join(map(str, value))] if name == "patterns" and value else value
            words.extend(f"{option(name)}={each}" for each in values)
        elif value is not None and value is not False:
            words.append(f"{option(name)}={value}")
    return words

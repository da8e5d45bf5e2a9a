"""Comparisons as text, Markdown or JSON. Everything from the files is cleaned: it may have come from a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..failures import clean
from .differences import Difference
from .limits import Judgement
from .quantities import RATE, Comparison, Quantity

_HEADINGS = ("", "a", "b", "change", "95 % interval", "verdict")
_VALUE_LENGTH = 120


@dataclass(frozen=True, slots=True)
class Told:
    """All there is to say of one pair."""

    comparison: Comparison
    differences: tuple[Difference, ...]
    judgements: tuple[Judgement, ...]

    @property
    def verdict(self) -> str | None:
        """The rate's."""
        return next(each.verdict for each in self.comparison.quantities if each.name == RATE)


def as_text(pairs: Sequence[Told]) -> str:
    """Aligned columns, a block for each pair."""
    return "\n\n".join("\n".join(_text(pair)) for pair in pairs)


def _text(pair: Told) -> Iterator[str]:
    yield f"a  {_run(pair.comparison, 'a')}"
    yield f"b  {_run(pair.comparison, 'b')}"
    yield from (f"warning: {warning}" for warning in _warnings(pair))
    yield ""
    rows = [_HEADINGS, *_rows(pair)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0], cells[-1] = row[0].ljust(widths[0]), row[-1]
        yield "  ".join(cells).rstrip()
    yield ""
    yield _conclusion(pair)
    yield from (f"threshold {line}" for line in _thresholds(pair))


def as_markdown(pairs: Sequence[Told]) -> str:
    """For a pipeline's summary page or a comment."""
    return "\n\n".join("\n".join(_markdown(pair)) for pair in pairs)


def _markdown(pair: Told) -> Iterator[str]:
    yield f"**{_escaped(_conclusion(pair))}**"
    yield ""
    yield f"- a: {_escaped(_run(pair.comparison, 'a'))}"
    yield f"- b: {_escaped(_run(pair.comparison, 'b'))}"
    yield from (f"- warning: {_escaped(warning)}" for warning in _warnings(pair))
    yield from (f"- threshold {_escaped(line)}" for line in _thresholds(pair))
    yield ""
    rows = [_HEADINGS, ("---", "--:", "--:", "--:", "--:", "---"), *_rows(pair)]
    yield from (f"| {' | '.join(_table_cell(cell) for cell in row)} |" for row in rows)


def _table_cell(cell: str) -> str:
    return cell if cell.strip("-:") == "" else _escaped(cell)


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*[]<>|#!~" else c for c in text)


def as_json(pairs: Sequence[Told]) -> str:
    """One object; its `comparisons` are in the order of the files."""
    return json.dumps({"schema": 1, "comparisons": [_json(pair) for pair in pairs]}, indent=2)


def _json(pair: Told) -> dict[str, Any]:
    comparison = pair.comparison
    return {
        "a": comparison.a.file,
        "b": comparison.b.file,
        "verdict": pair.verdict,
        "differences": [asdict(each) for each in pair.differences],
        "notes": list(comparison.notes),
        "quantities": {
            each.name: {
                "a": each.a,
                "b": each.b,
                "change": each.change,
                "low": each.low,
                "high": each.high,
                "verdict": each.verdict,
            }
            for each in comparison.quantities
        },
        "thresholds": [
            {"expression": each.limit.expression, "value": each.value, "passed": each.passed}
            for each in pair.judgements
        ],
    }


def _run(comparison: Comparison, which: str) -> str:
    run = comparison.a if which == "a" else comparison.b
    document = run.document
    started, elapsed = document.get("started"), float(document["elapsed_seconds"])
    return clean(f"{run.file}: {document['pulled']} pulls in {elapsed:.6g} s from {started}")


def _warnings(pair: Told) -> Iterator[str]:
    for each in pair.differences:
        yield clean(f"{each.option} differs: a {_shown(each.a)}, b {_shown(each.b)}", 2 * _VALUE_LENGTH + 100)
    yield from (clean(note) for note in pair.comparison.notes)


def _shown(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _VALUE_LENGTH)


def _rows(pair: Told) -> Iterator[tuple[str, ...]]:
    for each in pair.comparison.quantities:
        if each.a is None and each.b is None:
            continue
        unit = "%" if each.is_errors else "/s" if each.name == RATE else "ms"
        yield (
            clean(f"{each.name} {unit}", 60),
            _figure(each, each.a),
            _figure(each, each.b),
            _change(each, each.change),
            "-" if each.low is None else f"{_change(each, each.low)} to {_change(each, each.high)}",
            each.verdict or "-",
        )


def _figure(quantity: Quantity, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if quantity.is_errors else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _change(quantity: Quantity, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.2f} points" if quantity.is_errors else f"{100 * value:+.1f} %"


def _conclusion(pair: Told) -> str:
    rate = next(each for each in pair.comparison.quantities if each.name == RATE)
    b, a = (clean(run.file, _VALUE_LENGTH) for run in (pair.comparison.b, pair.comparison.a))
    if rate.verdict is None:
        return f"{b} against {a}: cannot be told"
    return f"{b} against {a}: {rate.verdict} (rate {_change(rate, rate.change)})"


def _thresholds(pair: Told) -> Iterator[str]:
    for each in pair.judgements:
        changed = "not measured" if each.value is None else f"{100 * each.value:+.4g} %"
        word = "passed" if each.passed else "missed"
        noise = ", which is noise" if each.passed and not each.within else ""
        yield f"{each.limit.expression}: {word} ({changed}{noise})"

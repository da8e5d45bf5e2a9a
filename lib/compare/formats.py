"""Writes comparisons as text, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import isinf
from typing import Any

from ..clean import clean
from . import wording
from .answer import answer
from .comparison import Comparison, Runs, Told
from .mixes import Weighted
from .run_styles import letter

_HEADINGS = ("", "A", "{}", "change", "95 % interval", "verdict")


def as_text(pairs: Sequence[Told]) -> str:
    """Returns a block of aligned columns for each pair."""
    return "\n\n".join("\n".join(_text(pair, letter(place))) for place, pair in enumerate(pairs, 1))


def _text(pair: Told, b: str) -> Iterator[str]:
    yield answer(pair, b=b)
    yield from (f"threshold {line}" for line in _thresholds(pair))
    yield ""
    rows = [_headings(b), *_rows(pair)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0], cells[-1] = row[0].ljust(widths[0]), row[-1]
        yield "  ".join(cells).rstrip()
    yield ""
    runs = list(wording.sides(pair, b))
    width = max(len(name) for name, _ in runs)
    yield from (f"{name:{width}}  {wording.run(run)}" for name, run in runs)
    yield from wording.note_lines(pair, b)


def as_markdown(pairs: Sequence[Told]) -> str:
    """Returns Markdown, for a pipeline's summary page or a comment."""
    return "\n\n".join("\n".join(_markdown(pair, letter(place))) for place, pair in enumerate(pairs, 1))


def _markdown(pair: Told, b: str) -> Iterator[str]:
    yield f"**{_escaped(answer(pair, b=b))}**"
    yield ""
    thresholds = list(_thresholds(pair))
    yield from (f"- threshold {_escaped(line)}" for line in thresholds)
    if thresholds:
        yield ""
    rows = [_headings(b), ("---", "--:", "--:", "--:", "--:", "---"), *_rows(pair)]
    yield from (f"| {' | '.join(_table_cell(cell) for cell in row)} |" for row in rows)
    yield ""
    yield from (f"- {name}: {_escaped(wording.run(run))}" for name, run in wording.sides(pair, b))
    yield from (f"- {_escaped(note)}" for note in wording.note_lines(pair, b))


def _headings(b: str) -> tuple[str, ...]:
    return tuple(name.format(b) for name in _HEADINGS)


def _table_cell(cell: str) -> str:
    return cell if cell.strip("-:") == "" else _escaped(cell)


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*[]<>|#!~" else c for c in text)


def _rows(pair: Told) -> Iterator[tuple[str, ...]]:
    for each in pair.measured:
        yield (
            clean(f"{each.name} {wording.unit(each)}", 60),
            wording.figure(each, each.a),
            wording.figure(each, each.b),
            wording.change(each, each.change),
            wording.interval(each),
            each.verdict,
        )


def _thresholds(pair: Told) -> Iterator[str]:
    for each in pair.judgements:
        yield f"{each.threshold.expression}: {wording.judged(each, pair.comparison.b)}"


def as_json(pairs: Sequence[Told]) -> str:
    """Returns one JSON object. Its `comparisons` are in the order of the files."""
    return json.dumps({"schema": 1, "comparisons": [_json(pair) for pair in pairs]}, indent=2)


def _json(pair: Told) -> dict[str, Any]:
    comparison = pair.comparison
    return {
        "a": _files(pair, comparison.a),
        "b": _files(pair, comparison.b),
        "answer": answer(pair),
        "verdict": pair.rate.verdict,
        "differences": [asdict(each) for each in pair.differences],
        "notes": [*_mix(comparison), *map(str, comparison.notes)],
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
        "equally_weighted": _weighted(comparison.weighted),
        "thresholds": [
            {
                "expression": each.threshold.expression,
                "value": each.value,
                "verdict": each.verdict,
                "times_as_long": None if each.longer is None or isinf(each.longer) else each.longer,
                "passed": each.passed,
            }
            for each in pair.judgements
        ],
    }


def _mix(comparison: Comparison) -> Iterator[str]:
    if comparison.mix:
        yield wording.mixed(comparison.mix, comparison.weighted, "B")


def _files(pair: Told, runs: Runs) -> str | list[str]:
    """Returns the file of the run, or a list if runs were given as groups."""
    return [each.file for each in runs] if pair.grouped else runs[0].file


def _weighted(weighted: Weighted | None) -> dict[str, float | None] | None:
    if weighted is None:
        return None
    return {"ratio": weighted.ratio, "low": weighted.low, "high": weighted.high}

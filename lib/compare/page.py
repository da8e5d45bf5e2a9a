"""Makes the comparison's HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..latency import SHOWN_PERCENTILES
from ..pages.chart import Chart
from ..pages.command_line import REBUILT, command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, warning
from ..pages.tables import Mark, Number, safe, table, tiles
from ..results.whole_file import write_whole
from . import wording
from .bootstrap import CONFIDENCE, DRAWS, LEAST_BINS
from .charts import charts
from .comparison import Told
from .forest import forest, forest_of_errors
from .quantities import ERROR_RATE, FASTER, NEEDS_EVENTS, RATE, SLOWER, Quantity
from .run_styles import Side, sides

_SURE = f"{100 * CONFIDENCE:g} %"
_TILES = (RATE, *SHOWN_PERCENTILES, ERROR_RATE)


def write_page(path: Path, pairs: Sequence[Told], margin: float) -> None:
    """Writes the page. `margin` is the fraction that the verdicts used. Raises `OSError` if it cannot be written."""
    write_whole(path, page(pairs, margin))


def page(pairs: Sequence[Told], margin: float) -> str:
    """Returns the whole page as HTML."""
    runs = sides(pairs)
    together = charts(runs)
    changes = [
        (forest(pair, side, margin), forest_of_errors(pair, side))
        for pair, side in zip(pairs, runs[1:], strict=True)
    ]
    body = _body(pairs, runs, changes, together, margin)
    return document(_title(runs), body, [*(chart for both in changes for chart in both), *together])


def _title(runs: Sequence[Side]) -> str:
    first, *others = (Path(side.run.file).name for side in runs)
    return f"Comparison: {', '.join(others)} against {first}"


def _body(
    pairs: Sequence[Told],
    runs: Sequence[Side],
    changes: Sequence[tuple[Chart, Chart]],
    together: Sequence[Chart],
    margin: float,
) -> Iterator[str]:
    yield f"<header><h1>{safe(_title(runs))}</h1></header>"
    yield _runs(runs)
    yield from map(warning, _notes(pairs, runs))
    yield _differences(pairs, runs)
    for pair, side in zip(pairs, runs[1:], strict=True):
        title = f"{side.letter} against A: {wording.conclusion(pair).rpartition(': ')[2]}"
        yield section(title, tiles(_tiles(pair)))
    if len(pairs) > 1:
        yield section("All changes", _overview(pairs, runs), "Each run against A.")
    yield NO_SCRIPT
    for pair, side, drawn in zip(pairs, runs[1:], changes, strict=True):
        yield from _pair(pair, side, drawn)
    yield from map(place_of, together)
    for side in runs:
        command, exact = command_line(side.run.summary.command, side.run.summary.settings)
        yield section(f"Command line of {side.letter}", command, "" if exact else REBUILT)
    yield section("How a change is judged", "".join(f"<p>{safe(text)}</p>" for text in _method(margin)))


def _runs(runs: Sequence[Side]) -> str:
    heads = (
        "run",
        "summary",
        "started",
        "seconds",
        "pulled",
        "failed",
        "client",
        "server",
        "images",
        "workers",
    )
    return table(heads, map(_run, runs))


def _run(side: Side) -> list[object]:
    summary = side.run.summary
    return [
        side.letter,
        side.run.file,
        summary.started.isoformat(),
        Number(summary.elapsed_seconds, ",.1f"),
        Number(summary.pulled),
        Number(summary.failed),
        str(summary.client or "–"),
        summary.settings.get("pullthrough_url", "–"),
        Number(summary.images),
        Number(max((step.workers for step in side.run.steps), default=0)),
    ]


def _notes(pairs: Sequence[Told], runs: Sequence[Side]) -> Iterator[str]:
    """Yields the notes. A note that all pairs share appears once."""
    shared = [
        note for note in pairs[0].comparison.notes if all(note in each.comparison.notes for each in pairs)
    ]
    yield from (note for note in shared if note != NEEDS_EVENTS)
    for pair, side in zip(pairs, runs[1:], strict=True):
        for note in pair.comparison.notes:
            if note not in shared and note != NEEDS_EVENTS:
                yield f"{side.letter} against A: {note}"


def _differences(pairs: Sequence[Told], runs: Sequence[Side]) -> str:
    """Returns a warning with a table of the settings that differ from the first run, or nothing."""
    by_run = [{each.option: each for each in pair.differences} for pair in pairs]
    first = {option: each.a for found in by_run for option, each in found.items()}
    if not first:
        return ""
    rows = [
        (option, _value(a), *(_value(found[option].b if option in found else a) for found in by_run))
        for option, a in first.items()
    ]
    caution = "The runs have different settings. These differences may cause the changes:"
    return f'<div class="warning"><p>{caution}</p>{table(("setting", *(side.letter for side in runs)), rows)}</div>'


def _value(value: Any) -> str:
    return "–" if value is None else wording.shown(value)


def _tiles(pair: Told) -> Iterator[tuple[object, str]]:
    for quantity in (each for each in pair.measured if each.name in _TILES):
        values = " → ".join(_dashed(wording.figure(quantity, value)) for value in (quantity.a, quantity.b))
        meaning = f"{quantity.name}, {quantity.verdict or 'unknown'}; {values} {wording.unit(quantity)}"
        yield _judged(quantity, _dashed(wording.change(quantity, quantity.change))), meaning


def _dashed(text: str) -> str:
    return "–" if text == "-" else text


def _judged(quantity: Quantity, text: str) -> object:
    """Returns the text, coloured if the change is more than noise."""
    if quantity.verdict not in (FASTER, SLOWER):
        return text
    return Mark(text, quantity.verdict == FASTER)


def _overview(pairs: Sequence[Told], runs: Sequence[Side]) -> str:
    by_run = [{each.name: each for each in pair.measured} for pair in pairs]
    names = dict.fromkeys(name for found in by_run for name in found)
    rows = [(name, *(_change(found.get(name)) for found in by_run)) for name in names]
    return table(("quantity", *(side.letter for side in runs[1:])), rows)


def _change(quantity: Quantity | None) -> object:
    if quantity is None or quantity.change is None:
        return "–"
    text = f"{wording.change(quantity, quantity.change)} {quantity.verdict or ''}"
    return _judged(quantity, text)


def _pair(pair: Told, side: Side, drawn: Sequence[Chart]) -> Iterator[str]:
    heads = ("quantity", "A", side.letter, "change", "low", "high", "verdict")
    note = f"Low and high are the ends of the change's {_SURE} confidence interval."
    if NEEDS_EVENTS in pair.comparison.notes:
        note += f" {NEEDS_EVENTS[0].upper()}{NEEDS_EVENTS[1:]}."
    yield section(
        f"Rate, latencies and errors, {side.letter} against A",
        table(heads, map(_quantity, pair.measured)),
        note,
    )
    yield from map(place_of, drawn)
    if pair.judgements:
        yield section(f"Thresholds, {side.letter} against A", _thresholds(pair))


def _quantity(quantity: Quantity) -> list[object]:
    values = [Number(each, text=wording.figure(quantity, each)) for each in (quantity.a, quantity.b)]
    changes = [
        Number(each, text=wording.change(quantity, each))
        for each in (quantity.change, quantity.low, quantity.high)
    ]
    verdict = _judged(quantity, quantity.verdict or "–")
    return [f"{quantity.name} {wording.unit(quantity)}", *values, *changes, verdict]


def _thresholds(pair: Told) -> str:
    rows = [(each.threshold.expression, Mark(wording.judged(each), each.passed)) for each in pair.judgements]
    return table(("threshold", "verdict"), rows)


def _method(margin: float) -> Iterator[str]:
    yield (
        "Only matching parts are compared. Steps match if they have the same number of workers and the same direction, "
        "or the same schedule. Matching steps are cut into intervals at the same places."
    )
    yield (
        f"The confidence interval comes from a block bootstrap. Each of {DRAWS:,} rounds draws blocks of intervals at "
        f"random, the same of both runs, and computes the change from them. The middle {_SURE} of these changes is "
        "the confidence interval, widened because there are few blocks. For shares of failed pulls, Newcombe's "
        "interval is computed too, and the wider one counts."
    )
    yield (
        f"Faster or slower: the whole confidence interval is beyond ±{100 * margin:g} %, or, for failed pulls, beyond "
        "zero. More failed pulls are called slower. Noise: the confidence interval is not beyond it. A dash: there is "
        f"too little data, for example fewer than {LEAST_BINS} intervals."
    )
    yield (
        "The confidence interval covers only the noise within the runs. A change between the runs, such as other work "
        "of the machine, looks like a difference. If in doubt, run each test twice and compare all four runs."
    )

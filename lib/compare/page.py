"""Makes the comparison's HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..counted import counted
from ..latency import SHOWN_PERCENTILES
from ..pages.chart import Chart
from ..pages.command_line import REBUILT, command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, warning
from ..pages.tables import Mark, Number, safe, table, tiles
from ..results.whole_file import write_whole
from ..student import CONFIDENCE
from . import wording
from .answer import answer
from .bootstrap import DRAWS, LEAST_BINS
from .charts import charts
from .comparison import Runs, Told
from .forest import forest, forest_of_errors
from .notes import METHOD, SETTINGS, SHOWN, Note, ordered
from .quantities import BAD, ERROR_RATE, GOOD, LEAST_PULLS, RATE, RETRY_RATE, Margins, Quantity
from .run_styles import Side, letter, sides

_SURE = f"{100 * CONFIDENCE:g} %"
_TILES = (RATE, *SHOWN_PERCENTILES, ERROR_RATE, RETRY_RATE)


def write_page(path: Path, pairs: Sequence[Told], margins: Margins) -> None:
    """Writes the page. `margins` are those that the verdicts used. Raises `OSError` if it cannot be written."""
    write_whole(path, page(pairs, margins))


def page(pairs: Sequence[Told], margins: Margins) -> str:
    """Returns the whole page as HTML."""
    runs = sides(pairs)
    together = charts(runs)
    changes = [
        (forest(pair, name, margins), forest_of_errors(pair, name, margins))
        for name, pair in _lettered(pairs)
    ]
    body = _body(pairs, runs, changes, together, margins)
    return document(_title(pairs), body, [*(chart for both in changes for chart in both), *together])


def _lettered(pairs: Sequence[Told]) -> list[tuple[str, Told]]:
    """Returns each pair with the letter of its second run or group."""
    return [(letter(place), pair) for place, pair in enumerate(pairs, 1)]


def _title(pairs: Sequence[Told]) -> str:
    first = _names(pairs[0].comparison.a)
    return f"Comparison: {', '.join(_names(pair.comparison.b) for pair in pairs)} against {first}"


def _names(runs: Runs) -> str:
    return ", ".join(Path(run.file).name for run in runs)


def _body(
    pairs: Sequence[Told],
    runs: Sequence[Side],
    changes: Sequence[tuple[Chart, Chart]],
    together: Sequence[Chart],
    margins: Margins,
) -> Iterator[str]:
    yield f"<header><h1>{safe(_title(pairs))}</h1></header>"
    for name, pair in _lettered(pairs):
        yield f'<p class="verdict"><b>{safe(answer(pair, b=name))}</b></p>'
    yield from _notes(pairs)
    yield _differences(pairs)
    yield section("Runs", _runs(runs))
    yield NO_SCRIPT
    if len(runs) > 2:
        yield place_of(together[0])
    for name, pair in _lettered(pairs):
        yield section(f"{name} against A: {wording.verdict_on_the_rate(pair)}", tiles(_tiles(pair)))
    if len(pairs) > 1:
        yield section("All changes", _overview(pairs), "Each run against A.")
    for (name, pair), drawn in zip(_lettered(pairs), changes, strict=True):
        yield from _pair(pair, name, drawn)
    yield from map(place_of, together[1:] if len(runs) > 2 else together)
    for side in runs:
        command, exact = command_line(side.run.summary.command, side.run.summary.settings)
        yield section(f"Command line of {side.letter}", command, "" if exact else REBUILT)
    yield section(
        "How a change is judged", "".join(f"<p>{safe(text)}</p>" for text in _method(pairs, margins))
    )


def _runs(runs: Sequence[Side]) -> str:
    """Returns a table of the runs' figures, and folded below it one of what they tested."""
    heads = ("run", "summary", "started", "pulls/s", "p50 ms", "p95 ms", "pulled", "failed", "retried")
    tested = ("run", "client", "server", "images", "workers", "seconds")
    what = table(tested, map(_tested, runs))
    summary = "<summary>Clients, servers and images</summary>"
    return f"{table(heads, map(_run, runs))}<details>{summary}{what}</details>"


def _run(side: Side) -> list[object]:
    summary = side.run.summary
    latency = summary.latency_ms
    return [
        side.letter,
        side.run.file,
        f"{summary.started:%Y-%m-%d %H:%M:%S}",
        Number(summary.rate, ",.3f"),
        Number(latency.p50 if latency else None, ",.1f"),
        Number(latency.p95 if latency else None, ",.1f"),
        Number(summary.pulled),
        Number(summary.failed),
        Number(summary.retried),
    ]


def _tested(side: Side) -> list[object]:
    summary = side.run.summary
    return [
        side.letter,
        str(summary.client or "–"),
        summary.settings.get("pullthrough_url", "–"),
        Number(summary.images),
        Number(max((step.workers for step in side.run.steps), default=0)),
        Number(summary.elapsed_seconds, ",.1f"),
    ]


def _notes(pairs: Sequence[Told]) -> Iterator[str]:
    """Yields the most important notes, and the others folded. A note that all pairs share appears once.

    Settings that differ have a table of their own.
    """
    by_pair = [(name, wording.notes(pair, name)) for name, pair in _lettered(pairs)]
    every = [note for _, notes in by_pair for note in notes]
    found: dict[str, Note] = {}
    for name, notes in by_pair:
        for note in notes:
            shared = every.count(note) == len(pairs)
            if note.about != METHOD and not (
                note.about == SETTINGS and note.brief in wording.SETTINGS_DIFFER
            ):
                text = note if shared else Note(f"{name} against A: {note}", note.brief, note.about)
                found.setdefault(text, text)
    shown = ordered(found.values())
    yield from map(warning, shown[:SHOWN])
    if shown[SHOWN:]:
        rest = "".join(map(warning, shown[SHOWN:]))
        yield f"<details><summary>{counted(len(shown) - SHOWN, 'more note')}</summary>{rest}</details>"


def _differences(pairs: Sequence[Told]) -> str:
    """Returns a warning with a table of the settings that differ from the first run, or nothing."""
    by_run = [{each.option: each for each in pair.differences} for pair in pairs]
    first = {option: each.a for found in by_run for option, each in found.items()}
    if not first:
        return ""
    rows = [
        (
            option,
            *(
                _value(option, each)
                for each in (a, *(found[option].b if option in found else a for found in by_run))
            ),
        )
        for option, a in first.items()
    ]
    caution = "The runs have different settings. These differences may cause the changes:"
    heads = ("setting", "A", *(name for name, _ in _lettered(pairs)))
    return f'<div class="warning"><p>{caution}</p>{table(heads, rows)}</div>'


def _value(option: str, value: Any) -> str:
    return "–" if value is None else wording.setting(option, value)


def _tiles(pair: Told) -> Iterator[tuple[object, str]]:
    known = (each for each in pair.measured if each.a is not None or each.b is not None)
    for quantity in (each for each in known if each.name in _TILES):
        values = " → ".join(_dashed(wording.figure(quantity, value)) for value in (quantity.a, quantity.b))
        meaning = f"{quantity.name}, {quantity.verdict}; {values} {wording.unit(quantity)}"
        yield _judged(quantity, _dashed(wording.change(quantity, quantity.change))), meaning


def _dashed(text: str) -> str:
    return "–" if text == "-" else text


def _judged(quantity: Quantity, text: str) -> object:
    """Returns the text, coloured if the change is good or bad."""
    if quantity.verdict not in (*GOOD, *BAD):
        return text
    return Mark(text, quantity.verdict in GOOD)


def _overview(pairs: Sequence[Told]) -> str:
    by_run = [{each.name: each for each in pair.measured} for pair in pairs]
    names = dict.fromkeys(name for found in by_run for name in found)
    rows = [(name, *(_change(found.get(name)) for found in by_run)) for name in names]
    return table(("quantity", *(name for name, _ in _lettered(pairs))), rows)


def _change(quantity: Quantity | None) -> object:
    if quantity is None or quantity.change is None:
        return "–"
    text = f"{wording.change(quantity, quantity.change)} {quantity.verdict}"
    return _judged(quantity, text)


def _pair(pair: Told, name: str, drawn: Sequence[Chart]) -> Iterator[str]:
    heads = ("quantity", "A", name, "change", "low", "high", "verdict")
    note = f"Low and high are the ends of the change's {_SURE} confidence interval."
    for remark in pair.comparison.notes:
        if remark.about == METHOD:
            note += f" {remark[0].upper()}{remark[1:]}."
    yield section(
        f"Rate, latencies and errors, {name} against A",
        table(heads, map(_quantity, pair.measured)),
        note,
    )
    yield from map(place_of, drawn)
    if pair.judgements:
        yield section(f"Thresholds, {name} against A", _thresholds(pair))


def _quantity(quantity: Quantity) -> list[object]:
    values = [Number(each, text=wording.figure(quantity, each)) for each in (quantity.a, quantity.b)]
    changes = [
        Number(each, text=wording.change(quantity, each))
        for each in (quantity.change, quantity.low, quantity.high)
    ]
    verdict = _judged(quantity, quantity.verdict)
    return [f"{quantity.name} {wording.unit(quantity)}", *values, *changes, verdict]


def _thresholds(pair: Told) -> str:
    rows = [
        (each.threshold.expression, Mark(wording.judged(each, pair.comparison.b), each.passed))
        for each in pair.judgements
    ]
    return table(("threshold", "verdict"), rows)


def _method(pairs: Sequence[Told], margins: Margins) -> Iterator[str]:
    if len(pairs[0].comparison.a) > 1:
        yield (
            "The runs are the unit. Rates and latencies are compared by the means of their logarithms, errors and "
            f"retries by their means. The {_SURE} confidence interval of the difference is Welch's."
        )
    else:
        yield from _BY_INTERVALS
    yield (
        f"Faster or slower: the whole confidence interval is beyond ±{100 * margins.relative:g} %. More or fewer, for "
        f"errors and retries: it is beyond ±{100 * margins.share:g} percentage points. Same: it is within this margin. "
        f"Inconclusive: all else. p99 has no verdict below {LEAST_PULLS['p99']} pulls."
    )


_BY_INTERVALS = (
    "Only matching parts are compared. Steps match if they have the same number of workers and the same direction, or "
    "the same schedule. They are cut into intervals at the same places. Such an interval holds at least one tally "
    "interval of each run. With events, it can be shorter.",
    "Percentiles are those of the summaries. Their change has a confidence interval only with events.",
    f"The confidence interval comes from a block bootstrap. Each of {DRAWS:,} rounds draws blocks of intervals at "
    f"random, the same of both runs, and computes the change from them. The middle {_SURE} of these changes is the "
    "confidence interval, widened because there are few blocks. For errors, Newcombe's interval is computed too, and "
    f"the wider one counts. With fewer than {LEAST_BINS} intervals, there is no confidence interval.",
    "The confidence interval covers only what varies within the runs. A change between the runs, such as other work "
    "of the machine, looks like a difference. To compare versions, repeat each, and give all runs with --a and --b.",
)

"""Makes the text that replaces the live view at the end: a table of the steps, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..latency import SHOWN_PERCENTILES, cells
from ..load.tally import StepTally
from ..results.precision import in_words
from ..results.run_state import Run
from ..results.summarize import peak_caution, precision_of

# With the table's head, the note, the totals and the shell's prompt, they fill a terminal of 24 lines.
_MOST_STEPS = 20
# More columns than the table needs. A narrow terminal shows its first columns.
_TABLE_WIDTH = 200
_ARROWS = {"up": "↑", "hold": "→", "down": "↓"}


def closing_lines(run: Run, width: int) -> list[Text]:
    """Returns a table of the steps and the totals. If there are many steps, the table has only some of them."""
    steps = run.tally.steps
    shown = thinned(steps)
    console = Console(file=StringIO(), width=_TABLE_WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(_table(shown))
    header, *rows = capture.get().splitlines()
    lines = [Text(header, style="bold"), *map(Text, rows)]
    if len(shown) < len(steps):
        lines.append(Text(f"{len(shown)} of {len(steps)} steps; the log has all of them", style="dim"))
    return [*lines, *_totals(run).wrap(console, max(width - 1, 1))]


def thinned(steps: Sequence[StepTally]) -> list[StepTally]:
    """Returns at most `_MOST_STEPS` steps, evenly spaced on each side of the peak: with the first, peak and last."""
    if len(steps) <= _MOST_STEPS:
        return list(steps)
    peak = max(range(len(steps)), key=lambda k: steps[k].step.workers)
    return [*_spaced(steps[: peak + 1], _MOST_STEPS // 2), *_spaced(steps[peak + 1 :], _MOST_STEPS // 2)]


def _spaced(steps: Sequence[StepTally], most: int) -> list[StepTally]:
    if len(steps) <= most:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]


def _table(steps: Sequence[StepTally]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    by_schedule = any(each.offered is not None for each in steps)
    offered = ("offered",) if by_schedule else ()
    for name in (
        "workers",
        "pulled",
        "failed",
        *offered,
        "pulls/s",
        *(f"{name} ms" for name in SHOWN_PERCENTILES),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for each in steps:
        table.add_row(*_cells(each, by_schedule=by_schedule))
    return table


def _cells(each: StepTally, *, by_schedule: bool) -> list[str]:
    offered = [f"{each.offered:.2f}" if each.offered is not None else "-"] if by_schedule else []
    counts = [f"{_ARROWS[each.step.direction]} {each.step.workers}", str(each.pulled), str(each.failed)]
    return [*counts, *offered, f"{each.rate:.2f}", *cells(each.latency)]


def _totals(run: Run) -> Text:
    tally = run.tally
    errors = ", ".join(f"{count} {name}" for name, count in tally.errors.most_common())
    text = Text(f"{tally.pulled} pulled, ", style="bold")
    text.append(f"{tally.failed} failed" + (f" ({errors})" if errors else ""), style="red" if errors else "")
    text.append(f", {tally.interrupted} interrupted") if tally.interrupted else None
    text.append(f", {tally.pruned} pruned") if tally.pruned else None
    text.append(f" in {run.elapsed:.1f} s, {run.rate:.2f} pulls/s")
    found = precision_of(tally)
    text.append(f" ({in_words(found)})") if found else None
    no_peak = peak_caution(run)
    return text.append(f"; {no_peak}", style="yellow") if no_peak else text

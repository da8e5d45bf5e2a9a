"""Makes the table that replaces the live view at the end: what the lines of the end of the run below it do not say.

The table has a row for each step. A load of one step, such as a constant load, has a row for each tally interval.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ..load.closed import StepTally
from ..load.plan import Plan
from ..results.run_state import Run
from .rows import spaced, step_row, table, until_row

# With the table's head, the note, the end of the run and the shell's prompt, they fill a terminal of 24 lines.
_MOST_ROWS = 11


def closing_lines(run: Run, plan: Plan, width: int) -> list[Text]:
    """Returns the table for a terminal of this width. Of many steps or intervals, it has only some."""
    tally = run.tally
    if len(plan.steps) == 1:
        samples = spaced(tally.samples, _MOST_ROWS)
        rows, of, what = [until_row(each, tally) for each in samples], len(tally.samples), "intervals"
        rest = "the metrics have all of them"
    else:
        rows, of, what = [step_row(each) for each in thinned(tally.steps)], len(tally.steps), "steps"
        rest = "the log has all of them"
    if not rows:
        return []
    lines = table(rows, width - 1)
    if len(rows) < of:
        lines.append(Text(f"{len(rows)} of {of} {what}; {rest}", style="dim"))
    return lines


def thinned(steps: Sequence[StepTally]) -> list[StepTally]:
    """Returns at most `_MOST_ROWS` steps, evenly spaced on each side of the peak: with the first, peak and last."""
    if len(steps) <= _MOST_ROWS:
        return list(steps)
    peak = max(range(len(steps)), key=lambda k: steps[k].step.workers)
    return [*spaced(steps[: peak + 1], _MOST_ROWS // 2), *spaced(steps[peak + 1 :], _MOST_ROWS // 2)]

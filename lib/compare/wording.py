"""Words figures, changes and verdicts the same way for every format. Text from the files is cleaned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..clean import clean
from ..counted import counted
from .comparison import Told
from .quantities import RATE, Quantity
from .recorded_run import Recorded
from .thresholds import Judgement

VALUE_LENGTH = 120


def unit(quantity: Quantity) -> str:
    """Returns the unit of a quantity's figures."""
    return "%" if quantity.is_errors else "/s" if quantity.name == RATE else "ms"


def figure(quantity: Quantity, value: float | None) -> str:
    """Returns a value in the quantity's unit, without the unit's name."""
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if quantity.is_errors else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def change(quantity: Quantity, value: float | None) -> str:
    """Returns a change, or an end of its interval, with its unit."""
    if value is None:
        return "-"
    return f"{100 * value:+.2f} points" if quantity.is_errors else f"{100 * value:+.1f} %"


def interval(quantity: Quantity) -> str:
    """Returns the confidence interval of the change."""
    if quantity.low is None:
        return "-"
    return f"{change(quantity, quantity.low)} to {change(quantity, quantity.high)}"


def shown(value: Any) -> str:
    """Returns the value of a setting."""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_LENGTH)


def run(recorded: Recorded) -> str:
    """Describes a run in one line."""
    summary = recorded.summary
    started, elapsed = summary.started.isoformat(), summary.elapsed_seconds
    return clean(f"{recorded.file}: {counted(summary.pulled, 'pull')} in {elapsed:.6g} s from {started}")


def warnings(told: Told) -> Iterator[str]:
    """Yields the settings that differ and the notes of a comparison."""
    for each in told.differences:
        yield clean(f"{each.option} differs: a {shown(each.a)}, b {shown(each.b)}", 2 * VALUE_LENGTH + 100)
    yield from (clean(note) for note in told.comparison.notes)


def conclusion(told: Told) -> str:
    """Returns the verdict on the rate as one line."""
    b, a = (clean(each.file, VALUE_LENGTH) for each in (told.comparison.b, told.comparison.a))
    if told.rate.verdict is None:
        return f"{b} against {a}: unknown, too little data"
    return f"{b} against {a}: {told.rate.verdict} (rate {change(told.rate, told.rate.change)})"


def judged(judgement: Judgement) -> str:
    """Returns the result of a threshold: `passed` or `missed`, and the change."""
    word = "passed" if judgement.passed else "missed"
    noise = ", which is noise" if judgement.passed and not judgement.within else ""
    return f"{word} ({changed(judgement)}{noise})"


def changed(judgement: Judgement) -> str:
    """Returns the change that a threshold was judged by."""
    return "not measured" if judgement.value is None else f"{100 * judgement.value:+.4g} %"


def missed(pairs: Sequence[Told]) -> list[str]:
    """Returns the missed thresholds, each with its run and value, for a message."""
    return [
        f"{each.threshold.expression} ({pair.comparison.b.file}: {changed(each)})"
        for pair in pairs
        for each in pair.judgements
        if not each.passed
    ]

"""Words figures, changes and verdicts the same way for every format. Text from the files is cleaned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

from ..clean import clean
from ..counted import counted
from ..options.times import shown_setting
from .comparison import Runs, Told
from .mixes import Mix, Weighted
from .notes import LOADS, METHOD, SETTINGS, SHOWN, Note, ordered
from .quantities import BYTES_RATE, LONGEST, RATE, Quantity
from .recorded_run import Recorded
from .settings_changed import Difference
from .thresholds import INCONCLUSIVE, Judgement

VALUE_LENGTH = 120
_NOTE_LENGTH = 500
# The note on settings that differ, for one setting and for several.
SETTINGS_DIFFER = ("a setting differs", "settings differ")


def unit(quantity: Quantity) -> str:
    """Returns the unit of a quantity's figures."""
    if quantity.name == BYTES_RATE:
        return "MB/s"
    return "%" if quantity.is_share else "/s" if quantity.name == RATE else "ms"


def figure(quantity: Quantity, value: float | None) -> str:
    """Returns a value in the quantity's unit, without the unit's name."""
    if value is None:
        return "-"
    if quantity.name == BYTES_RATE:
        value /= 1e6
    return f"{100 * value:.2f}" if quantity.is_share else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def change(quantity: Quantity, value: float | None) -> str:
    """Returns a change, or an end of its interval, with its unit."""
    if value is None:
        return "-"
    return f"{100 * value:+.2f} points" if quantity.is_share else f"{100 * value:+.1f} %"


def interval(quantity: Quantity) -> str:
    """Returns the confidence interval of the change, or why there is none."""
    if quantity.low is None:
        return quantity.why.partition(";")[0] if quantity.why else "-"
    return f"{change(quantity, quantity.low)} to {change(quantity, quantity.high)}"


def shown(value: Any) -> str:
    """Returns the value of a setting."""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), VALUE_LENGTH)


def setting(option: str, value: Any) -> str:
    """Returns the value of an option, a time with its units."""
    return shown(shown_setting(option.removeprefix("--").replace("-", "_"), value))


def run(recorded: Recorded) -> str:
    """Describes a run in one line."""
    summary = recorded.summary
    started, elapsed = summary.started.isoformat(), summary.elapsed_seconds
    return clean(f"{recorded.file}: {counted(summary.pulled, 'pull')} in {elapsed:.6g} s from {started}")


def sides(told: Told, b: str = "B") -> Iterator[tuple[str, Recorded]]:
    """Yields the runs with their names in the text: `A` and `b`, with a number if there are several on a side."""
    for name, runs in (("A", told.comparison.a), (b, told.comparison.b)):
        for place, each in enumerate(runs, 1):
            yield (f"{name}{place}" if len(runs) > 1 else name), each


def notes(told: Told, b: str = "B") -> list[Note]:
    """Returns the settings that differ, different mixes of images, and the notes, the most important first.

    `b` is the name of the second side.
    """
    found = list(told.comparison.notes)
    if told.comparison.mix:
        text = mixed(told.comparison.mix, told.comparison.weighted, b)
        found.append(Note(text, "the runs pulled different mixes of images", LOADS))
    if told.differences:
        found.append(_of_settings(told.differences, b))
    return [
        Note(clean(note, _NOTE_LENGTH), clean(note.brief, VALUE_LENGTH), note.about)
        for note in ordered(found)
    ]


def _of_settings(differences: Sequence[Difference], b: str) -> Note:
    told = (
        f"{each.option} (A {setting(each.option, each.a)}, {b} {setting(each.option, each.b)})"
        for each in differences
    )
    differ = SETTINGS_DIFFER[len(differences) > 1]
    return Note(f"{differ}: {', '.join(told)}", differ, SETTINGS)


def note_lines(told: Told, b: str = "B") -> Iterator[str]:
    """Yields the most important notes, each with its kind, and a line that has the others in brief."""
    found = notes(told, b)
    shown = found if len(found) <= SHOWN + 1 else found[:SHOWN]
    yield from (f"{'note' if each.about == METHOD else 'warning'}: {each}" for each in shown)
    rest = found[len(shown) :]
    if rest:
        yield f"also: {'; '.join(each.brief for each in rest)}"


def mixed(mix: Mix, weighted: Weighted | None, b: str) -> str:
    """Says how the mixes of images differ, and what the change is if all images weigh the same."""
    name = clean(mix.name, VALUE_LENGTH)
    shares = f"{100 * mix.a:.3g} % of the pulls of A and {100 * mix.b:.3g} % of those of {b}"
    told = f"the runs pulled different mixes of images ({name}: {shares}), so rate and latencies mislead"
    return f"{told}; {equally_weighted(weighted, b)}" if weighted else told


def equally_weighted(weighted: Weighted, b: str) -> str:
    """Returns the ratio of latencies as a sentence without its end."""
    told = f"if all {weighted.count} {weighted.what} weigh the same, {b} takes {weighted.ratio:.3g} times as long as A"
    if weighted.low is None or weighted.high is None:
        return told
    return f"{told} ({weighted.low:.3g} to {weighted.high:.3g})"


def verdict_on_the_rate(told: Told) -> str:
    """Returns the verdict on the rate, with its change or why there is none."""
    if told.rate.low is not None:
        return f"{told.rate.verdict} (rate {change(told.rate, told.rate.change)})"
    return f"{told.rate.verdict} ({(told.rate.why or 'too little data').partition(';')[0]})"


def _files(runs: Runs) -> str:
    return ", ".join(clean(each.file, VALUE_LENGTH) for each in runs)


def judged(judgement: Judgement, runs: Runs) -> str:
    """Returns the result of a threshold: the verdict, the change, and how much longer the runs must be."""
    word = judgement.verdict
    if word == INCONCLUSIVE:
        word += ", which passes" if judgement.passed else ", which counts as missed"
    return f"{word} ({_because(judgement, runs)})"


def _because(judgement: Judgement, runs: Runs) -> str:
    quantity = judgement.quantity
    if quantity is None or quantity.change is None:
        return "not measured" if quantity is None or not quantity.why else f"not measured: {quantity.why}"
    if quantity.low is None:
        return f"{_short(quantity, quantity.change)}, {quantity.why or 'too little data for an interval'}"
    value, low, high = (_short(quantity, each) for each in (quantity.change, quantity.low, quantity.high))
    told = f"{value}, 95 % interval {low} to {high}"
    if judgement.verdict != INCONCLUSIVE:
        return told
    if judgement.longer is None:
        return f"{told}; equally weighted images contradict it"
    return f"{told}; {longer(judgement.longer, several=len(runs) > 1)}"


def _short(quantity: Quantity, value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.3g} {'points' if quantity.is_share else '%'}"


def longer(times: float, *, several: bool) -> str:
    """Says how much longer the runs must be. Small factors are rounded up, because shorter runs do not decide it."""
    what = "it takes about {} times as many runs" if several else "the runs must be about {} times as long"
    if isinf(times):
        return "the change is at the limit, so longer runs do not decide it"
    if times > LONGEST:
        return what.replace("about", "more than").format(f"{LONGEST:,}")
    return what.format(f"{max(1.1, times):.2g}" if times < 10 else f"{times:.0f}")


def missed(pairs: Sequence[Told]) -> list[str]:
    """Returns the missed thresholds, each with its runs and why, for a message."""
    return [
        f"{each.threshold.expression} ({_files(pair.comparison.b)}: {judged(each, pair.comparison.b)})"
        for pair in pairs
        for each in pair.judgements
        if not each.passed
    ]

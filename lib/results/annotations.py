"""Reports a run to a GitHub pipeline: annotations on stderr, and the Markdown summary of the job.

GitHub's runner reads commands from stdout and stderr. Annotations go to stderr, so that they do not mix with metrics.
The runner accepts `::command::` at the start of a line, and the older `##[command]` anywhere in a line. So no line
starts with text from a server, and `clean` breaks up `##[` in such text. This module also escapes text from outside:
for a command, or so that Markdown and HTML show it unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from ..choices import AUTO, GITHUB
from ..clean import clean
from ..counted import counted
from ..figures import rate, three
from ..latency import SHOWN_PERCENTILES, cells
from ..load.event import PRUNE, PULL
from ..streams import warn, write_line
from .ending import answers
from .headline import percentiles
from .hosts import losses
from .sample import Sample
from .summary import Step, Summary

# A message for each (op, error class).
Examples = Mapping[tuple[str, str], str]

_ERRORS_SHOWN = 3
_STEPS_SHOWN = 200
_LONGEST = 500


class _Error(NamedTuple):
    """Pulls or prunes that failed with this class: `times` of them."""

    op: str
    error_class: str
    times: int


def is_wanted(choice: str, environment: Mapping[str, str]) -> bool:
    """Returns whether to annotate. `auto` checks the variable that GitHub sets in its jobs."""
    return choice == GITHUB or (choice == AUTO and environment.get("GITHUB_ACTIONS") == "true")


def annotate(summary: Summary, examples: Examples, environment: Mapping[str, str]) -> None:
    """Prints the annotations, and appends to the job's summary if there is one. Warns if it cannot be written."""
    for command in commands(summary, examples):
        write_line(command)
    path = environment.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8", errors="replace") as file:
            file.write(markdown(summary, examples))
    except OSError as error:
        warn(f"cannot append to GITHUB_STEP_SUMMARY ({path}): {error.strerror}")


def commands(summary: Summary, examples: Examples) -> list[str]:
    """Returns workflow commands: errors for why the run failed, and warnings for lost hosts and frequent errors."""
    made = []
    if summary.reason:
        made.append(_command("error", "ocidriver", summary.reason))
    made += [_command("warning", "ocidriver: the load is not complete", each) for each in losses(summary)]
    for miss in summary.missed:
        made.append(_command("error", "ocidriver: threshold missed", miss.told))
    for each in _errors(summary)[:_ERRORS_SHOWN]:
        example = examples.get((each.op, each.error_class))
        what = f"{counted(each.times, each.op)} failed with {each.error_class}"
        made.append(
            _command(
                "warning",
                f"ocidriver: {each.error_class}",
                f"{what}, for example: {example}" if example else what,
            )
        )
    return made


def _errors(summary: Summary) -> list[_Error]:
    """Returns the errors, the most frequent first."""
    found = [
        _Error(op, error_class, times)
        for op, counts in ((PULL, summary.errors), (PRUNE, summary.prune_errors))
        for error_class, times in counts.items()
    ]
    return sorted(found, key=lambda each: -each.times)


def _command(kind: str, title: str, text: str) -> str:
    return f"::{kind} title={_property(clean(title))}::{_data(clean(text, _LONGEST))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(summary: Summary, examples: Examples) -> str:
    """Returns the result as Markdown tables."""
    parts = [[f"### ocidriver: {_verdict(summary)}"]]
    if summary.reason:
        parts.append([plain(summary.reason)])
    if summary.steps:  # else the run ended before the load
        parts.append(list(_result(summary)))
    if summary.thresholds:
        parts.append(list(_thresholds(summary)))
    if _errors(summary):
        parts.append(list(_error_table(summary, examples)))
    if summary.has_one_step:
        parts.append(list(_intervals(summary.samples)))
    elif summary.steps:
        parts.append(list(_steps(summary.steps)))
    return "\n\n".join("\n".join(part) for part in parts) + "\n\n"


def _verdict(summary: Summary) -> str:
    if summary.interrupted:
        return "interrupted"
    if summary.reason:
        return "failed"
    misses = len(summary.missed)
    if misses:
        return f"{misses} of {counted(len(summary.thresholds), 'threshold')} missed"
    best = summary.peak
    return f"{rate(summary.rate)} on average" if best is None else f"peak {rate(best.rate)}"


def _result(summary: Summary) -> Iterator[str]:
    yield from _head("", "")
    for name, text in answers(summary, {}):
        yield _row(name, plain(text))
    for name, latency in (("first pulls", summary.first_latency_ms), ("repeat", summary.repeat_latency_ms)):
        if latency is not None:
            yield _row(name, plain(percentiles(latency)))


def _thresholds(summary: Summary) -> Iterator[str]:
    yield from _head("threshold", "value", "")
    for each in summary.thresholds:
        yield _row(plain(each.expression), each.value_shown, "passed" if each.passed else "**missed**")


def _error_table(summary: Summary, examples: Examples) -> Iterator[str]:
    yield from _head("error", "pulls or prunes", "count", "first message")
    for each in _errors(summary):
        example = clean(examples.get((each.op, each.error_class), ""), _LONGEST)
        yield _row(plain(each.error_class), f"{each.op}s", str(each.times), plain(example))


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    times = [f"{name} ms" for name in SHOWN_PERCENTILES]
    heads = ("workers", "", "seconds", "pulled", "failed", "pulls/s", *times)
    yield from _head(*heads)
    for each in steps[:_STEPS_SHOWN]:
        counts = (str(each.pulled), str(each.failed), three(each.rate))
        load = (str(each.workers), each.direction, f"{each.seconds:.1f}")
        yield _row(*load, *counts, *cells(each.latency_ms))
    left = len(steps) - _STEPS_SHOWN
    if left > 0:
        yield _row(f"and {left} more", *[""] * (len(heads) - 1))


def _intervals(samples: Sequence[Sample]) -> Iterator[str]:
    """Yields the table of a run with one step, whose totals are above."""
    heads = ("end, s", "pulled", "failed", "pulls/s", *(f"{name} ms" for name in SHOWN_PERCENTILES))
    yield from _head(*heads)
    ends = accumulate(each.seconds for each in samples)
    for end, each in zip(ends, samples[:_STEPS_SHOWN], strict=False):
        yield _row(
            f"{end:.1f}", str(each.pulled), str(each.failed), three(each.rate), *cells(each.latency_ms)
        )
    left = len(samples) - _STEPS_SHOWN
    if left > 0:
        yield _row(f"and {left} more", *[""] * (len(heads) - 1))


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*["---"] * len(cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def plain(text: str) -> str:
    """Returns the text as one line of Markdown that shows it unchanged, without markup, HTML, links or table cells."""
    return "".join(c if c in " ," or c.isalnum() else f"&#{ord(c)};" for c in clean(text, _LONGEST))

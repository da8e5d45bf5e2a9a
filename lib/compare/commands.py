"""`ocidriver compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import ExitStatus, RunError, UsageError
from ..messages import say

FILE = click.Path(path_type=Path)


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, type=FILE, metavar="A.json B.json [C.json …]")
@click.option(
    "--events",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="The events file of each run, in the order of the summaries: latencies are then compared pull by pull.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="EXPR",
    help="Exit 3 where a change is beyond it and more than noise: rate>-5%, p95<+10%, first.p99<+20%, "
    "error_rate<+1% (points); may be repeated.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="PERCENT",
    help="Smaller differences of rate and latency are noise, however sure: two runs are never quite alike.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="How the result is written to stdout.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="Of the bootstrap."
)
def compare(
    files: Sequence[Path],
    events: Sequence[Path],
    threshold: Sequence[str],
    margin: float,
    form: str,
    seed: int,
) -> int:
    """Say of two runs which is faster, by their summary files, and whether that is more than noise.

    Each further file is compared with the first. Rate, latencies and errors stand side by side; a change has a 95 %
    confidence interval, and is called faster or slower where all of it is beyond the margin, else noise. Of errors,
    slower means more of them. Settings that differ are warned of.

    \b
    Exit status: 0 compared; 1 nothing was pulled in a run; 2 wrong usage; 3 a threshold was missed.
    """
    if len(files) < 2:
        raise UsageError("compare: give the summary files of at least two runs, which --summary-file wrote")
    if events and len(events) != len(files):
        raise UsageError(
            f"compare: {len(events)} --events for {len(files)} summaries; give one for each, in the same order"
        )
    try:
        from . import pages
        from .differences import differences
        from .limits import parse_limit
        from .quantities import compare as compare_runs
        from .summaries import read_run
    except ModuleNotFoundError as error:
        raise RunError(
            f"the Python package {error.name} is missing; install what requirements.txt names"
        ) from None

    limits = [parse_limit(text) for text in threshold]
    first, *others = (read_run(file, events[index] if events else None) for index, file in enumerate(files))
    told = []
    for other in others:
        comparison = compare_runs(first, other, seed=seed, margin=margin / 100)
        judgements = tuple(limit.judge(comparison.quantities) for limit in limits)
        told.append(pages.Told(comparison, differences(first, other), judgements))
    write = {"text": pages.as_text, "markdown": pages.as_markdown, "json": pages.as_json}[form]
    click.echo(_printable(write(told)))
    missed = [
        f"{each.limit.expression} ({pair.comparison.b.file}: "
        f"{'not measured' if each.value is None else format(100 * each.value, '+.4g') + ' %'})"
        for pair in told
        for each in pair.judgements
        if not each.passed
    ]
    if missed:
        say(f"threshold missed: {', '.join(missed)}")
        return ExitStatus.THRESHOLD
    return ExitStatus.OK


def _printable(text: str) -> str:
    """What stdout's encoding does not have is replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)

"""The command `ocidriver compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ExitStatus, RunError, UsageError
from ..options.files import Reads, Writes
from ..results.whole_file import check_path
from ..streams import is_stdout, say
from ..user_files import reason

if TYPE_CHECKING:
    from .comparison import Told


_HELP = """Compare the summary files of two or more runs: which is faster, and is the difference more than noise?

Each further run is compared with the first: rate, latencies and errors. Each change has a 95 % confidence
interval. The verdict is faster or slower if the whole interval is beyond --margin, else noise. If there are too few
data for an interval, the verdict is a dash. For errors, slower means more errors, and faster means fewer. The
command warns about settings that differ.

\b
Exit status: 0 the runs were compared; 1 a run pulled nothing, or the page could not be written;
2 wrong usage; 3 a threshold was missed."""


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}, help=_HELP)
@click.argument("files", nargs=-1, type=Reads(), metavar="A.json B.json [C.json …]")
@click.option(
    "--events",
    multiple=True,
    type=Reads(),
    metavar="FILE",
    help="Use the latency of each pull: give the events file of each run, in the order of the summaries. Repeatable.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="EXPR",
    help="Exit with status 3 if a change violates EXPR and its verdict is not noise. Examples: rate>-5%, p95<+10%, "
    "first.p99<+20%, error_rate<+1% (percentage points). Repeatable.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="PERCENT",
    help="A change of rate or latency is faster or slower only if its whole interval is beyond this limit.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="Write the result to stdout in this format.",
)
@click.option(
    "--report-file",
    type=Writes(),
    metavar="FILE",
    help="Also write an HTML page with the same figures and with charts of the runs.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Seed of the random resampling that the intervals come from.",
)
def compare(
    files: Sequence[Path],
    events: Sequence[Path],
    threshold: Sequence[str],
    margin: float,
    form: str,
    report_file: Path | None,
    seed: int,
) -> int:
    """Compares runs, and returns the exit status."""
    _check_usage(files, events, report_file)
    try:
        from . import formats, wording
        from .comparison import tell
        from .thresholds import parse_limit

        if report_file is not None:
            from . import page
    except ModuleNotFoundError as error:
        raise RunError(
            f"the Python package {error.name} is missing; install the packages in requirements.txt"
        ) from None

    limits = [parse_limit(text) for text in threshold]
    told = tell(files, events, limits, seed=seed, margin=margin / 100)
    write = {"text": formats.as_text, "markdown": formats.as_markdown, "json": formats.as_json}[form]
    click.echo(_printable(write(told)))
    if report_file is not None:
        try:
            page.write_page(report_file, told, margin / 100)
        except OSError as error:
            raise RunError(_unwritable(report_file, reason(error))) from None
    return _status(told, wording.missed(told))


def _check_usage(files: Sequence[Path], events: Sequence[Path], report_file: Path | None) -> None:
    if len(files) < 2:
        raise UsageError("compare: give the summary files of at least two runs; --summary-file writes them")
    if events and len(events) != len(files):
        raise UsageError(
            f"compare: {len(events)} --events for {len(files)} summaries; give one for each, in the same order"
        )
    if report_file is not None:
        _check_report_file(report_file)


def _check_report_file(path: Path) -> None:
    """Checks, before any work, that the page can be written."""
    if is_stdout(path):
        raise UsageError("--report-file: stdout is used for the comparison; name a file")
    try:
        check_path(path, "--report-file")
    except UsageError as error:
        raise RunError(f"{error}; name a file in a folder that you may write to") from None


def _unwritable(path: Path, reason: str) -> str:
    return f"--report-file: cannot write {path}: {reason}; name a file in a folder that you may write to"


def _status(told: Sequence[Told], missed: Sequence[str]) -> int:
    """Returns the exit status. Raises `RunError` if a run pulled nothing, even if a threshold was missed."""
    runs = (told[0].comparison.a, *(pair.comparison.b for pair in told))
    empty = [run.file for run in runs if not run.summary.pulled]
    if empty:
        raise RunError(
            f"{empty[0]}: this run pulled nothing, so rate and latencies cannot be compared; give another run"
        )
    if missed:
        say(f"threshold missed: {', '.join(missed)}")
        return ExitStatus.THRESHOLD
    return ExitStatus.OK


def _printable(text: str) -> str:
    """Replaces the characters that stdout's encoding does not have."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)

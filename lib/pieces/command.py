"""The command `ocidriver merge`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ..errors import ExitStatus, RunError, UsageError
from ..options.files import Reads, Writes
from ..options.thresholds import parse_threshold
from ..results.ending import ending
from ..results.summary_file import summary_text
from ..results.whole_file import check_path, write_whole
from ..streams import is_stdout, say, warn
from ..user_files import reason
from .file import read_record
from .merge import lacking
from .merge import merge as merged
from .whole import cautions

_HELP = """Add the shares of a load on several machines up to one summary.

Each FILE is what --pieces-file wrote on one machine. Totals, steps, tally intervals and percentiles are those of the
whole load, as if one machine had carried it out. The events files of the machines are not merged.

\b
Exit status: 0 the load succeeded; 1 it failed, a share is missing, or a file could not be written; 2 wrong usage;
3 a threshold was missed."""
_MISSING = "merge: no file is given; give the files that --pieces-file wrote, one of each machine"


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}, help=_HELP)
@click.argument("files", nargs=-1, type=Reads(), metavar="FILE…")
@click.option("--summary-file", type=Writes(), metavar="FILE", help="Write the summary, as JSON.")
@click.option("--report-file", type=Writes(), metavar="FILE", help="Write a report: one HTML page.")
@click.option(
    "--threshold",
    multiple=True,
    metavar="EXPR",
    help="Exit with 3 if this does not hold, for example 'p95<250ms'. Repeatable.  [default: those of the load]",
)
@click.option(
    "--lost-hosts",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Accept that the files of up to N machines are missing or break off.",
)
def merge(
    files: tuple[Path, ...],
    summary_file: Path | None,
    report_file: Path | None,
    threshold: tuple[str, ...],
    lost_hosts: int,
) -> int:
    """Writes the summary of several machines and returns the exit status."""
    if not files:
        raise UsageError(_MISSING)
    for option, path in (("--summary-file", summary_file), ("--report-file", report_file)):
        if path is not None:
            check_path(path, option)
    records = [read_record(path) for path in files]
    given = threshold or tuple(records[0].header.settings.get("threshold", ()))
    summary = merged(records, tuple(map(parse_threshold, given)), lost_hosts=lost_hosts)
    lost = lacking(records)
    if lost:
        warn(f"the load is not complete, so its figures lack pulls: {', '.join(lost)}")
    for caution in cautions([record.header for record in records]):
        warn(caution)
    written = {what: path for what, path in (("summary", summary_file), ("report", report_file)) if path}
    if summary_file is not None:
        _written("--summary-file", summary_file, lambda: write_whole(summary_file, summary_text(summary)))
    if report_file is not None:
        from ..report.page import Labels, write_report

        labels = Labels(source=summary_file)
        _written("--report-file", report_file, lambda: write_report(report_file, summary, None, labels))
    if not any(map(is_stdout, written.values())):
        for line in ending(summary, {what: str(path) for what, path in written.items()}):
            print(line)
    if summary.reason is not None:
        raise RunError(summary.reason)
    if summary.missed:
        say(f"threshold missed: {'; '.join(each.told for each in summary.missed)}")
        return ExitStatus.THRESHOLD
    return ExitStatus.OK


def _written(option: str, path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise RunError(f"cannot write {path}: {reason(error)}; name another file with {option}") from None

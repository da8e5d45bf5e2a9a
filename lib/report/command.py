"""The command `ocidriver report`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import RunError, UsageError
from ..options.files import Reads, Writes
from ..results.summary_file import read_summary
from ..results.whole_file import check_path
from ..streams import warn
from ..user_files import reason
from .page import Labels, write_report

_MISSING = "report: no summary file is given; give the file that --summary-file wrote"
_HELP = """Make one HTML page of a finished run. The page opens in any browser and needs no network.

SUMMARY is the file that --summary-file wrote. EVENTS is the file that --events-file wrote.
With EVENTS, the page also shows single pulls, a latency histogram, the failures of each class over time, and the
slowest images."""


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}, help=_HELP)
@click.argument("summary", type=Reads(), required=False, metavar="SUMMARY")
@click.argument("events", type=Reads(), required=False)
@click.option(
    "-o",
    "--output",
    type=Writes(),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="Write the page to this file.",
)
@click.option(
    "--title",
    metavar="TEXT",
    help="Heading of the page.  [default: the server under test]",
)
def report(summary: Path | None, events: Path | None, output: Path, title: str | None) -> None:
    """Writes the page of a run."""
    if summary is None:
        raise UsageError(_MISSING)
    read = read_summary(summary)
    check_path(output, "--output")
    try:
        findings = write_report(output, read, events, Labels(title, summary))
    except OSError as error:
        raise RunError(f"cannot write {output}: {reason(error)}; name another file with --output") from None
    if findings.mismatch is not None:
        warn(findings.mismatch)

"""The command `ocidriver compare`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..counted import counted
from ..errors import ExitStatus, RunError, UsageError
from ..options.files import Reads, Writes
from ..options.types import Whole
from ..results.whole_file import check_path
from ..streams import is_stdout, say
from ..user_files import reason

if TYPE_CHECKING:
    from .comparison import Told


_HELP = """Compare the summary files of runs: which is faster, and how sure is that?

Each further run is compared with the first: rate, latencies and errors. To compare versions, repeat each of them,
and give their runs with --a and --b. Each change has a 95 % confidence interval. The verdict is faster or slower if
the whole interval is beyond --margin, and same if it is within it. For errors and retries, it is more or fewer,
beyond --error-margin. Otherwise, or with too few data, it is inconclusive. The command warns about settings that
differ.

\b
Exit status: 0 the runs were compared; 1 a run pulled nothing, or the page could not be written;
2 wrong usage; 3 a threshold was missed."""

# Options that take all words up to the next option.
GROUPS = ("--a", "--b")


class _Compare(click.Command):
    """A command in which `--a` and `--b` take several files each. click's options take a fixed number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        taking = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag
            for name in param.opts
        }
        return super().parse_args(ctx, list(_one_by_one(args, taking)))


def _one_by_one(words: Sequence[str], taking: set[str]) -> Iterator[str]:
    """Yields the words with `--a X Y` as `--a X --a Y`. `taking` are the options that take a value."""
    group, is_value = "", False
    for place, word in enumerate(words):
        if is_value:
            is_value = False
        elif word == "--":
            yield from words[place:]
            return
        elif word.startswith("-") and word != "-":
            name = word.partition("=")[0]
            group = name if name in GROUPS else ""
            is_value = word in taking
        elif group:
            yield group
        yield word


@click.command(
    cls=_Compare,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    help=_HELP,
)
@click.argument("files", nargs=-1, type=Reads(), metavar="[A.json B.json [C.json …]]")
@click.option(
    "--a",
    multiple=True,
    type=Reads(),
    metavar="FILE…",
    help="Compare versions by repeated runs: the summary files of the first version, at least two.",
)
@click.option(
    "--b",
    multiple=True,
    type=Reads(),
    metavar="FILE…",
    help="The summary files of the second version, at least two.",
)
@click.option(
    "--events",
    multiple=True,
    type=Reads(),
    metavar="FILE",
    help="Use the latency of each pull: give the events file of each run, in the order of the summaries. Percentiles "
    "of two runs have a verdict only with events. Repeatable.",
)
@click.option(
    "--threshold",
    multiple=True,
    metavar="EXPR",
    help="Exit with status 3 unless the confidence interval excludes a change beyond EXPR. Examples: rate>-5%, "
    "mean<+10%, error_rate<+1% (percentage points), with events p95<+10%, first.p99<+20%. Repeatable.",
)
@click.option(
    "--inconclusive",
    type=click.Choice(["miss", "pass"]),
    default="miss",
    show_default=True,
    help="What a threshold counts as if its limit lies within the confidence interval.",
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
    "--error-margin",
    type=click.FloatRange(0, 100),
    default=0.5,
    show_default=True,
    metavar="POINTS",
    help="The same for errors and retries, in percentage points of all pulls.",
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
    type=Whole(0),
    default=1,
    show_default=True,
    metavar="N",
    help="Seed of the random resampling that the intervals come from.",
)
def compare(
    files: Sequence[Path],
    a: Sequence[Path],
    b: Sequence[Path],
    events: Sequence[Path],
    threshold: Sequence[str],
    inconclusive: str,
    margin: float,
    error_margin: float,
    form: str,
    report_file: Path | None,
    seed: int,
) -> int:
    """Compares runs, and returns the exit status."""
    _check_groups(files, a, b, events)
    if not a and not b:
        _check_files(files, events)
    if report_file is not None:
        _check_report_file(report_file)
    try:
        from . import comparison, formats, wording
        from .quantities import Margins
        from .thresholds import parse_limit

        if report_file is not None:
            from . import page
    except ModuleNotFoundError as error:
        raise RunError(
            f"the Python package {error.name} is missing; install the packages in requirements.txt"
        ) from None

    rules = comparison.Rules(
        margins=Margins(margin / 100, error_margin / 100),
        limits=[parse_limit(text) for text in threshold],
        lenient=inconclusive == "pass",
        seed=seed,
    )
    told = comparison.tell_groups(a, b, events, rules) if a else comparison.tell(files, events, rules)
    write = {"text": formats.as_text, "markdown": formats.as_markdown, "json": formats.as_json}[form]
    click.echo(_printable(write(told)))
    if report_file is not None:
        try:
            page.write_page(report_file, told, rules.margins)
        except OSError as error:
            raise RunError(_unwritable(report_file, reason(error))) from None
    return _status(told, wording.missed(told))


def _check_files(files: Sequence[Path], events: Sequence[Path]) -> None:
    if len(files) < 2:
        raise UsageError("compare: give the summary files of at least two runs; --summary-file writes them")
    if events and len(events) != len(files):
        raise UsageError(
            f"compare: {len(events)} --events for {len(files)} summaries; give one for each, in the same order"
        )


def _check_groups(
    files: Sequence[Path], a: Sequence[Path], b: Sequence[Path], events: Sequence[Path]
) -> None:
    if not a and not b:
        return
    if files:
        raise UsageError(f"compare: {files[0]} is neither in --a nor in --b; give each file in one of them")
    if not a or not b:
        raise UsageError(f"compare: --{'b' if a else 'a'} is missing; give the runs of both versions")
    if (len(a) == 1) != (len(b) == 1):
        raise UsageError(
            f"compare: --a has {_runs(a)} and --b has {_runs(b)}; give at least two for each, or one for each"
        )
    if len(a) == 1:
        _check_files((*a, *b), events)
        return
    if events:
        raise UsageError("compare: --events is for two single runs; leave it out to compare groups of runs")
    for place, one in enumerate((*a, *b)):
        if any(_same(one, other) for other in (*a, *b)[:place]):
            raise UsageError(f"compare: {one} is given twice; each run counts once")


def _same(one: Path, other: Path) -> bool:
    """Returns whether both paths lead to the same file, also through links."""
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _runs(files: Sequence[Path]) -> str:
    return counted(len(files), "run")


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
    runs = (*told[0].comparison.a, *(run for pair in told for run in pair.comparison.b))
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

"""The command `ocidriver doctor OPTIONS`: checks whether a run with these options would work."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

import click

from ..clean import clean
from ..errors import ExitStatus, RunError, Stopped, UsageError
from ..options.definitions import OPTIONS
from ..options.sections import SectionedCommand
from ..options.settings import make_settings
from ..options.usage import called
from ..prepare import Beginning
from ..processes.signals import Stop
from ..streams import LINE_LENGTH
from .check import FAILURE, OK, WARNING, Check
from .checks import checks as all_checks
from .examination import Examination
from .examining import examining
from .merged import worded
from .next_steps import HEADINGS, next_steps, without

_MARKS = {OK: "✓", WARNING: "!", FAILURE: "✗"}
_PLAIN_MARKS = {OK: "ok  ", WARNING: "warn", FAILURE: "FAIL"}


def examine(as_json: bool, **options: Any) -> int:
    """Runs and prints all checks, then recommends a command line. Returns 0 if a run would work."""
    settings = make_settings(options)
    beginning = Beginning(settings)
    with suppress(UsageError, RunError):
        beginning.image_list()  # stdin may keep it waiting, so a signal must still end the process here
    checks: list[Check] = []
    stop = Stop()
    with stop.listening():
        try:
            with examining(beginning, stop) as examination, closing(_checks(examination, options)) as found:
                for check in worded(_kept(found, checks), lambda: len(examination.hosts)):
                    if not as_json:
                        click.echo(line(check, _marks()))
        except Stopped:
            return 128 + (stop.signal or 0)
    well = all(check.status != FAILURE for check in checks)
    command, after = None, {}
    if not examination.undecided:
        words = recommended(sys.argv[2:], examination.changes)
        command = [called(), *words]
        prunable = all(check.status != WARNING for check in checks if check.name == "prune")
        wanted = settings.prune or settings.prune_first
        steps = next_steps(called(), words, examination.settings, prunable=wanted or prunable)
        after = dict(steps) if well else {}
    if as_json:
        result = {
            "ok": well,
            "checks": [_as_json(each) for each in checks],
            "command": command,
            "next": after,
        }
        if settings.hosts is not None:
            result["hosts"] = examination.hosts
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(f"\n{_recommendation(well, command)}")
        for name, each in after.items():
            click.echo(f"\n{HEADINGS[name]}:\n\n  {shlex.join(each)}")
    return ExitStatus.OK if well else ExitStatus.FAILED


def _checks(examination: Examination, options: Mapping[str, Any]) -> Generator[Check, None, None]:
    if examination.settings.hosts is None:
        yield from all_checks(examination)
        return
    from .hosted import checks as checks_with_hosts  # only this needs the hosts

    yield from checks_with_hosts(examination, options)


def _kept(found: Iterator[Check], checks: list[Check]) -> Iterator[Check]:
    """Yields the checks and keeps them in the list."""
    for check in found:
        checks.append(check)
        yield check


def _as_json(check: Check) -> dict[str, Any]:
    """Returns a check as it is written as JSON. One of this machine has no hosts."""
    return {name: value for name, value in asdict(check).items() if name != "hosts" or value}


def _recommendation(well: bool, command: Sequence[str] | None) -> str:
    if command is None:
        return "Change the options as advised above, then run doctor again."
    return f"{'Run' if well else 'When you have solved these problems, run'}:\n\n  {shlex.join(command)}"


def _marks() -> Mapping[str, str]:
    return _MARKS if (sys.stdout.encoding or "").lower().startswith("utf") else _PLAIN_MARKS


def line(check: Check, marks: Mapping[str, str]) -> str:
    """Returns a check as one clean line, even if a message from a server has several."""
    advice = f"; {check.advice}" if check.advice else ""
    return clean(f"{marks[check.status]} {check.name}: {check.message}{advice}", LINE_LENGTH)


def recommended(words: Sequence[str], changes: Mapping[str, str | None]) -> list[str]:
    """Returns the user's options (`words`) with the changes, and without doctor's own. A change to None removes one."""
    kept = without(words, {*changes, "--json"})
    return [*kept, *(word for name, value in changes.items() if value is not None for word in (name, value))]


doctor = SectionedCommand(
    "doctor",
    callback=examine,
    params=[
        *OPTIONS,
        click.Option(["--json", "as_json"], is_flag=True, help="Print the checks as one JSON object."),
    ],
    help="""Check whether a run with these options would work, and say what to do about each problem.

    doctor takes the options of the load test and checks all that a run checks before its load. It starts no load, and
    it writes no files. It pulls one image. With --prune or --prune-first, it then prunes this image, even if the cache
    held it before. With --hosts, every host does so with an image of its own share. At the end, doctor recommends a
    command line. The exit status is 0 if a run would work.""",
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)

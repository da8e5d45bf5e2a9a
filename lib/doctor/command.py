"""`ocidriver doctor OPTIONS`: would a run with these options work, and if not, what is to be done."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import click

from ..clean import clean
from ..errors import ExitStatus, Stopped
from ..http.connections import Connections
from ..http.network import Network
from ..listing.selection import read_image_list
from ..options.definitions import OPTIONS
from ..options.sections import SectionedCommand
from ..options.settings import make_settings
from ..options.usage import called
from ..processes.guard import Guard
from ..processes.scratch import Scratch
from ..processes.signals import Stop
from ..streams import LINE_LENGTH
from .checks import FAILURE, OK, WARNING, Check, Examination

_MARKS = {OK: "✓", WARNING: "!", FAILURE: "✗"}
_PLAIN_MARKS = {OK: "ok  ", WARNING: "warn", FAILURE: "FAIL"}


def examine(as_json: bool, **options: Any) -> int:
    """Look at everything, tell it, and recommend a command line; 0 when a run would work."""
    settings = make_settings(options)
    given = read_image_list(settings.image_list) if settings.image_list is not None else None
    stop = Stop()
    checks: list[Check] = []
    changes: Mapping[str, str | None] = {}
    with stop.listening():
        try:
            with Scratch() as scratch, Network(stop) as network, ExitStack() as resources:
                resources.enter_context(Guard(str(scratch.path)))
                connections = Connections(network, resources, _nothing, _nothing, settings.tls)
                examination = Examination(settings, given, connections, scratch, stop.wait)
                for check in examination.checks():
                    checks.append(check)
                    if not as_json:
                        click.echo(line(check, _marks()))
                changes = examination.changes
        except Stopped:
            return 128 + (stop.signal or 0)
    well = all(check.status != FAILURE for check in checks)
    command = [called(), *recommended(sys.argv[2:], changes)]
    if as_json:
        click.echo(
            json.dumps(
                {"ok": well, "checks": [asdict(check) for check in checks], "command": command}, indent=2
            )
        )
    else:
        click.echo(f"\n{'Run' if well else 'Once that is mended, run'}:\n\n  {shlex.join(command)}")
    return ExitStatus.OK if well else ExitStatus.FAILED


def _nothing(_: str) -> None:
    """The doctor tells by its checks, not by a log."""


def _marks() -> Mapping[str, str]:
    return _MARKS if (sys.stdout.encoding or "").lower().startswith("utf") else _PLAIN_MARKS


def line(check: Check, marks: Mapping[str, str]) -> str:
    """One line, whatever a server put into it."""
    advice = f"; {check.advice}" if check.advice else ""
    return clean(f"{marks[check.status]} {check.name}: {check.message}{advice}", LINE_LENGTH)


def recommended(words: Sequence[str], changes: Mapping[str, str | None]) -> list[str]:
    """The user's own options with these set, or left out where the value is None; without the doctor's."""
    kept = _without(words, {*changes, "--json"})
    return [*kept, *(word for name, value in changes.items() if value is not None for word in (name, value))]


def _without(words: Sequence[str], names: set[str]) -> Iterator[str]:
    takes_value = {name for option in OPTIONS for name in option.opts if not _is_switch(option)}
    skip = False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif name in names:
            skip = not equals and name in takes_value
        else:
            yield word


def _is_switch(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and (option.is_flag or isinstance(option.flag_value, str))


doctor = SectionedCommand(
    "doctor",
    callback=examine,
    params=[
        *OPTIONS,
        click.Option(["--json", "as_json"], is_flag=True, help="The checks as one JSON object."),
    ],
    help="""Look at client, upstream, server under test and machine, and say of each what to do about it.

    Takes the load test's options. Exit status 0 when a run with them would work. Pulls one image, and with --prune
    prunes it again. Ends with the command line that it recommends.""",
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)

"""The subcommands: their names, what they are for, and where they are, imported when used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

# The package that the modules' names are relative to; installed, it is not called lib.
_LIB = __name__.rpartition(".options")[0]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """`module` is relative to this package; `attribute` the click command in it."""

    about: str
    module: str
    attribute: str

    def load(self) -> click.Command:
        command: click.Command = getattr(importlib.import_module(self.module, _LIB), self.attribute)
        return command


SUBCOMMANDS = {
    "calibrate": Subcommand(
        "find the most pulls a second that this machine can drive", ".lab.calibrate", "calibrate"
    ),
    "compare": Subcommand(
        "say which of two runs is faster, and whether it is more than noise", ".compare.command", "compare"
    ),
    "doctor": Subcommand(
        "say whether a run with these options would work, and what to do if not", ".doctor.command", "doctor"
    ),
    "lab": Subcommand(
        "an upstream, a cache and images on this machine, to try things in", ".lab.commands", "lab"
    ),
    "populate": Subcommand(
        "make randomised images and push them to an upstream", ".lab.commands", "populate"
    ),
    "report": Subcommand(
        "one HTML page of a finished run, from its summary and events", ".report.command", "report"
    ),
}

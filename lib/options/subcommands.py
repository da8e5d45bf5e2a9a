"""The subcommands: their names, their descriptions, and their modules, which are imported on use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

# The package that module names are relative to. Once installed, its name is not lib.
_LIB = __name__.rpartition(".options")[0]


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A subcommand. `module` is relative to the package `_LIB`. `attribute` is the click command in it."""

    about: str
    module: str
    attribute: str

    def load(self) -> click.Command:
        """Imports and returns the click command."""
        command: click.Command = getattr(importlib.import_module(self.module, _LIB), self.attribute)
        return command


SUBCOMMANDS = {
    "calibrate": Subcommand(
        "find the highest pull rate that this machine can drive", ".lab.calibrate", "calibrate"
    ),
    "capacity": Subcommand(
        "find how many pulls per second the server can sustain", ".capacity.command", "capacity"
    ),
    "compare": Subcommand(
        "compare runs: which is faster, and how sure is that", ".compare.command", "compare"
    ),
    "doctor": Subcommand(
        "check whether a run with these options would work, and if not, say what to do",
        ".doctor.command",
        "doctor",
    ),
    "lab": Subcommand(
        "start an upstream with images and a cache of it on this machine, for trials", ".lab.commands", "lab"
    ),
    "merge": Subcommand(
        "add the shares of a load on several machines up to one summary", ".pieces.command", "merge"
    ),
    "populate": Subcommand("make random images and push them to an upstream", ".lab.commands", "populate"),
    "report": Subcommand(
        "make an HTML page of a finished run, from its summary and events", ".report.command", "report"
    ),
}

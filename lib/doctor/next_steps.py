"""The command lines that most people type after doctor, filled in with the user's servers, images and client."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import click

from ..options.definitions import CLIENT, HOSTS, IMAGES, OPTIONS, SERVERS, TLS
from ..options.sections import Section
from ..options.settings import Settings

# Options that describe servers, images, client and hosts stay; each command has a load and outputs of its own.
_KEPT_SECTIONS: Final = (SERVERS, TLS, IMAGES, CLIENT, HOSTS)
_KEPT: Final = ("patterns", "workers")
_LEFT_OUT: Final = ("dry_run", "share")
# What each command shows, in words.
HEADINGS: Final = {
    "a first look": "A first look, with short steps",
    "cached": "Cached pulls: the warm-up puts each image into the cache",
    "cold": "Cold pulls: the cache fetches each image from the upstream again",
    "capacity": "The highest rate that meets the SLOs (change --slo to yours)",
}


def next_steps(
    program: str, words: Sequence[str], settings: Settings, *, prunable: bool = True
) -> Mapping[str, Sequence[str]]:
    """Returns command lines by what they are for. `words` are the options of the recommended command.

    `prunable`: the server under test can be pruned.
    """
    same = list(without(words, _of_the_load()))
    run = [program, *same]
    quick = ("--iteration-seconds", "5s", "--tally-seconds", "5s")
    ramp = ("--iteration-seconds", "20s")
    steps = {
        "a first look": [*run, *quick],
        "cached": [*run, *ramp, "--warm-up", *_files("cached")],
        "cold": [*run, *ramp, "--prune-first", "--prune", *_files("cold")],
        "capacity": [program, "capacity", *same, "--warm-up", "--slo", "p95<1s", "--slo", "error_rate<1%"],
    }
    if settings.layout.is_upstream or not prunable:  # nothing may be pruned at the upstream itself
        del steps["cold"]
    return steps


def _files(name: str) -> Iterator[str]:
    yield from ("--summary-file", f"{name}.json", "--report-file", f"{name}.html")


def _of_the_load() -> set[str]:
    """Returns the names of the options that each command chooses itself."""
    return {
        name
        for option in OPTIONS
        if isinstance(option, Section)
        if option.name not in _KEPT and (option.section not in _KEPT_SECTIONS or option.name in _LEFT_OUT)
        for name in (*option.opts, *option.secondary_opts)
    }


def without(words: Sequence[str], names: Collection[str]) -> Iterator[str]:
    """Yields the words without these options and their values."""
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

"""Compares runs: the first with each other run, or two groups of runs. `formats` and `page` write the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..counted import counted
from ..options.thresholds import Threshold
from ..results.hosts import losses, planned
from .mixes import Mix, Weighted, different_mixes, equally_weighted
from .notes import LIMIT, LOADS, RUNS, SETTINGS, Note, listed, ordered
from .pair import Pair
from .quantities import OTHER_KINDS, RATE, RETRY_RATE, Margins, Quantity, weigh
from .recorded_run import Recorded, read_run
from .replicates import Replicates
from .settings_changed import Difference, differences
from .thresholds import Judgement, error_classes, judge

Runs = tuple[Recorded, ...]
_MARGINS = Margins()


@dataclass(frozen=True, slots=True)
class Rules:
    """How to compare and to judge. `lenient`: an inconclusive threshold passes."""

    margins: Margins = _MARGINS
    limits: Sequence[Threshold] = ()
    lenient: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs b compared with runs a. `notes` are cautions, the most important first.

    `mix` and `weighted` are None unless the two sides pulled different mixes of images.
    """

    a: Runs
    b: Runs
    quantities: tuple[Quantity, ...]
    notes: tuple[Note, ...]
    mix: Mix | None
    weighted: Weighted | None


@dataclass(frozen=True, slots=True)
class Told:
    """The result for one pair of runs, or for two groups. `grouped`: the runs were given with --a and --b.

    `margins` are those that the verdicts used.
    """

    comparison: Comparison
    differences: tuple[Difference, ...]
    judgements: tuple[Judgement, ...]
    grouped: bool = False
    margins: Margins = _MARGINS

    @property
    def rate(self) -> Quantity:
        return next(each for each in self.comparison.quantities if each.name == RATE)

    @property
    def measured(self) -> list[Quantity]:
        """The quantities that at least one of the runs has, and the retries, which belong beside the errors."""
        return [
            each
            for each in self.comparison.quantities
            if each.a is not None or each.b is not None or each.name == RETRY_RATE
        ]


def tell(files: Sequence[Path], events: Sequence[Path], rules: Rules) -> list[Told]:
    """Compares each further run with the first. `events` has a file for each run, or is empty.

    Raises `UsageError` if a file cannot be read.
    """
    first, *others = _read(files, events)
    return [_told((first,), (other,), rules) for other in others]


def tell_groups(a: Sequence[Path], b: Sequence[Path], events: Sequence[Path], rules: Rules) -> list[Told]:
    """Compares two groups of runs; with one run in each, the two runs. Raises `UsageError` if a file cannot be read."""
    runs = _read((*a, *b), events)
    return [_told(runs[: len(a)], runs[len(a) :], rules, grouped=True)]


def _read(files: Sequence[Path], events: Sequence[Path]) -> Runs:
    return tuple(read_run(file, events[place] if events else None) for place, file in enumerate(files))


def _told(a: Runs, b: Runs, rules: Rules, *, grouped: bool = False) -> Told:
    comparison = compare(a, b, rules)
    judgements = tuple(judge(each, comparison.quantities, lenient=rules.lenient) for each in rules.limits)
    return Told(
        comparison=comparison,
        differences=differences(a[0], b[0]),
        judgements=judgements,
        grouped=grouped,
        margins=rules.margins,
    )


def compare(a: Runs, b: Runs, rules: Rules) -> Comparison:
    """Compares every quantity of two runs, or of two groups of at least two runs each."""
    alone = len(a) == len(b) == 1
    method = (
        Pair(a[0], b[0], seed=rules.seed, margins=rules.margins) if alone else Replicates(a, b, rules.margins)
    )
    mix = different_mixes(a, b)
    weighted = equally_weighted(a, b) if mix else None
    quantities = list(method.quantities(error_classes(rules.limits)))
    kinds = {run.kind_of_first_pulls for run in (*a, *b)}
    if len(kinds) > 1:
        quantities = [each.without_interval(OTHER_KINDS) if each.is_first else each for each in quantities]
    if weighted:
        quantities = [weigh(each, weighted.ratio, rules.margins) for each in quantities]
    notes = [*_of_the_runs((*a, *b)), *_of_the_settings(a), *_of_the_settings(b), *method.notes()]
    if len(kinds) > 1:
        notes.append(_of_first_pulls("; ".join(sorted(kinds))))
    return Comparison(
        a=a, b=b, quantities=tuple(quantities), notes=ordered(notes), mix=mix, weighted=weighted
    )


def _of_first_pulls(kinds: str) -> Note:
    return Note(
        f"first pulls were of different kinds ({kinds}), so first latencies have no verdict: give --prune-first, or "
        "--warm-up, to all runs",
        "first pulls of different kinds",
        LOADS,
    )


def _of_the_runs(runs: Runs) -> Iterator[Note]:
    """Yields what is special about runs. Runs with the same peculiarity share a note."""
    for told in ("pulled nothing", "interrupted"):
        names = [
            run.file for run in runs if (run.interrupted if told == "interrupted" else not run.summary.pulled)
        ]
        if names:
            verb = "" if told == "pulled nothing" else "were " if len(names) > 1 else "was "
            text = f"{listed(names)} {verb}{told}"
            yield Note(text, text, RUNS)
    for run in runs:
        for loss in losses(run.summary):
            yield Note(
                f"the load of {run.file} is not complete, so its figures lack pulls: {loss}",
                f"the load of {run.file} is not complete",
                RUNS,
            )
    yield from _of_hosts(runs)
    for limit in sorted({run.summary.limited_by or "" for run in runs} - {""}):
        names = [run.file for run in runs if run.summary.limited_by == limit]
        verb, whose = ("were", "their") if len(names) > 1 else ("was", "its")
        text = f"{listed(names)} {verb} limited by {whose} {limit}"
        yield Note(f"{text}, so the server may be faster than the figures show", text, LIMIT)


def _of_hosts(runs: Runs) -> Iterator[Note]:
    """Yields a note if the runs had different numbers of hosts: then each client side had another load."""
    found = {run.file: planned(run.summary) for run in runs}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{file} on {counted(number, 'host')}" for file, number in found.items())
        yield Note(
            f"the runs had different numbers of hosts ({told}), so more than the server may have changed",
            "different numbers of hosts",
            LOADS,
        )


def _of_the_settings(group: Runs) -> Iterator[Note]:
    """Yields the runs of a group whose settings are not those of its first run."""
    for run in group[1:]:
        names = [each.option for each in differences(group[0], run)]
        if names:
            text = f"{run.file} has other settings than {group[0].file}: {', '.join(names)}"
            yield Note(text, f"{run.file} has other settings", SETTINGS)

"""The bins of two runs: never more of them than tally intervals, and each holds whole ones."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.compare.comparison import Comparison, Rules, compare
from lib.compare.pairing import cut
from lib.compare.recorded_run import Recorded, read_run
from lib.compare.thresholds import judge, parse_limit
from lib.compare.wording import judged
from tests.support.held import held, run
from tests.support.made import Made


def read(folder: Path, name: str, made: Made, *, events: bool = False) -> Recorded:
    return read_run(made.write(folder, name), made.write_events(folder, name) if events else None)


def two(
    folder: Path, *, events: bool = False, other: dict[str, Any] | None = None, **shape: Any
) -> list[Recorded]:
    return [
        read(folder, name, Made(seed, **(shape if seed == 1 else {**shape, **(other or {})})), events=events)
        for seed, name in ((1, "a"), (2, "b"))
    ]


def compared(runs: list[Recorded]) -> Comparison:
    return compare((runs[0],), (runs[1],), Rules())


@pytest.mark.parametrize(
    "shape",
    [
        {"workers": 8, "step": 5.0, "tally": 80.0},
        {"workers": 8, "step": 5.0, "tally": 40.0},
        {"workers": 8, "step": 5.0, "tally": 20.0},
        {"workers": 4, "step": 3.0, "tally": 12.0},
        {"workers": 50, "step": 2.0, "tally": 50.0},
        {"workers": 6, "step": 1.0, "tally": 12.0},
    ],
)
def test_steps_within_an_interval_are_not_intervals(tmp_path: Path, shape: dict[str, Any]) -> None:
    """Each step was a bin, and its counts a guess from the interval that it shared. So equal runs got a verdict."""
    runs = two(tmp_path, **shape)
    found = compared(runs)
    assert {(each.low, each.verdict) for each in found.quantities} == {(None, "inconclusive")}
    assert any("too few to tell a difference from chance" in note for note in found.notes)
    judgement = judge(parse_limit("rate>-99%"), found.quantities)
    assert judgement.verdict == "inconclusive"
    reason = "too few intervals; give a shorter --tally-seconds, or --events"
    assert reason in judged(judgement, found.b)
    with_events = {each.name: each for each in compared(two(tmp_path, events=True, **shape)).quantities}
    assert with_events["rate"].low is not None


def test_short_steps_share_a_bin_of_whole_intervals(tmp_path: Path) -> None:
    runs = two(tmp_path, workers=12, step=5.0, tally=15.0)
    for place in cut(*runs):
        assert place.starts.tolist() == pytest.approx([15.0 * k for k in range(8)])
        assert place.ends.tolist() == pytest.approx([15.0 * (k + 1) for k in range(8)])
    rate = next(each for each in compared(runs).quantities if each.name == "rate")
    assert rate.low is not None


@pytest.mark.parametrize(
    "other", [{}, {"tally": 2.0}, {"tally": 10.0}, {"step": 8.0}, {"workers": 3}, {"until": 25.0}]
)
@pytest.mark.parametrize("step", [2.0, 7.0, 20.0])
def test_there_are_never_more_bins_than_intervals(tmp_path: Path, step: float, other: dict[str, Any]) -> None:
    for workers, tally in product((1, 5), (2.5, 5.0, 15.0)):
        runs = two(tmp_path, other=other, workers=workers, step=step, tally=tally)
        for each, place in zip(runs, cut(*runs), strict=True):
            widths = [one.end - one.start for one in each.intervals]
            assert len(place.starts) == len(place.ends) <= len(widths)
            assert all(place.ends - place.starts >= 0.9 * min(widths, default=0.0))
            assert all(place.ends <= each.steps[-1].end + 1e-9)
            order = np.argsort(place.starts)
            assert all(place.ends[order][:-1] <= place.starts[order][1:] + 1e-9)


def test_the_bins_of_a_whole_run_cover_it(tmp_path: Path) -> None:
    for tally in (3.0, 5.0, 7.0):
        for place in cut(*two(tmp_path, workers=4, step=10.0, tally=tally)):
            assert (place.starts[0], place.ends[-1]) == (0, 80)
            assert place.starts[1:].tolist() == place.ends[:-1].tolist()


def test_long_runs_have_at_most_600_bins() -> None:
    runs = [run(held([20 + k % 3 for k in range(1500)]), name) for name in ("a.json", "b.json")]
    for place in cut(*runs):
        assert len(place.starts) == 500
        assert place.ends[-1] == 1500 * 15


def test_a_long_interval_is_one_bin() -> None:
    """The driver was stopped for a while: nothing is known within that time."""
    gap = held([20] * 24)
    gap["samples"][5]["seconds"] += 150
    for part in (gap["steps"][0], gap):
        part["seconds" if "seconds" in part else "elapsed_seconds"] += 150
    even = held([20] * 34)
    place, _ = cut(run(gap), run(even))
    assert len(place.starts) <= 24

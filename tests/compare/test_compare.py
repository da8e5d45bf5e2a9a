"""`ocidriver compare`: like with like, intervals that cover, verdicts that hold, and what a pipeline sees."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.compare.bootstrap import draws, spread, width
from lib.compare.comparison import Rules, compare
from lib.compare.pairing import cut, fill
from lib.compare.quantities import Quantity
from lib.compare.recorded_run import read_run
from lib.compare.settings_changed import differences
from tests.support.made import Made
from tests.support.summaries import a_host


def compared(folder: Path, a: Made, b: Made, *, events: bool = False, seed: int = 1) -> dict[str, Quantity]:
    runs = [
        read_run(made.write(folder, name), made.write_events(folder, name) if events else None)
        for name, made in (("a", a), ("b", b))
    ]
    return {each.name: each for each in compare((runs[0],), (runs[1],), Rules(seed=seed)).quantities}


@pytest.mark.parametrize("events", [False, True])
def test_equal_runs_have_no_verdict(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 100), events=events) for n in range(10)]
    for name in ("rate", "mean", "p50", "p90", "p95", "error_rate"):
        assert sum(pair[name].verdict in ("same", "inconclusive") for pair in pairs) >= 9, name


@pytest.mark.statistics
@pytest.mark.parametrize("events", [False, True])
def test_a_fifth_slower_is_slower_and_the_other_way_round_faster(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 100, ms=480.0), events=events) for n in range(10)]
    back = [compared(tmp_path, Made(n + 100, ms=480.0), Made(n), events=events) for n in range(10)]
    for name in ("rate", "mean", *(["p50"] if events else [])):
        assert sum(pair[name].verdict == "slower" for pair in pairs) >= 9, name
        assert sum(pair[name].verdict == "faster" for pair in back) >= 9, name


@pytest.mark.statistics
@pytest.mark.parametrize("events", [False, True])
def test_the_intervals_cover_the_true_change(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 500, ms=440.0), events=events) for n in range(30)]
    percentiles = [("p50", 0.1), ("p95", 0.1)] if events else []
    for name, true in (("mean", 0.1), ("rate", 1 / 1.1 - 1), *percentiles):
        covered = sum((q.low or 0) <= true <= (q.high or 0) for q in (pair[name] for pair in pairs))
        assert covered >= 26, name
        assert all((q.low or 0) <= (q.change or 0) <= (q.high or 0) for q in (pair[name] for pair in pairs))


def with_sizes(made: Made, folder: Path, name: str, size: int, *, events: bool) -> Any:
    """The run, in which each pull fetched so many bytes."""
    made.document["bytes"] = size * made.document["pulled"]
    made.document["bytes_per_second"] = size * made.document["rate"]
    for each in made.document["samples"]:
        each["bytes"] = size * each["pulled"]
    path = made.write_events(folder, name)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    sized = [{**each, "bytes": size} if each["outcome"] == "ok" else each for each in lines]
    path.write_text("".join(json.dumps(each) + "\n" for each in sized))
    return read_run(made.write(folder, name), path if events else None)


@pytest.mark.parametrize("events", [False, True])
def test_bytes_per_second_are_compared_like_the_rate(tmp_path: Path, events: bool) -> None:
    """All pulls are of one size here, so both change alike; with larger images, only one of them does."""
    a = with_sizes(Made(1, failing=0.05), tmp_path, "a", 1000, events=events)
    b = with_sizes(Made(2, ms=600.0), tmp_path, "b", 1000, events=events)
    large = with_sizes(Made(2, ms=600.0), tmp_path, "large", 3000, events=events)
    found, other = (
        {each.name: each for each in compare((a,), (run,), Rules(seed=1)).quantities} for run in (b, large)
    )
    rate, data = found["rate"], found["bytes_per_second"]
    assert (data.a, data.b) == (a.summary.bytes_per_second, b.summary.bytes_per_second)
    assert (data.change, data.low, data.high) == pytest.approx((rate.change, rate.low, rate.high))
    assert (data.verdict, rate.verdict) == ("slower", "slower")
    assert (other["bytes_per_second"].verdict, other["rate"].verdict) == ("faster", "slower")
    without = {
        each.name
        for each in compare((a,), (read_run(Made(2).write(tmp_path, "c")),), Rules(seed=1)).quantities
    }
    assert "bytes_per_second" not in without


def test_bytes_per_second_of_groups_of_runs(tmp_path: Path) -> None:
    groups = [
        tuple(with_sizes(Made(seed + k), tmp_path, f"{seed + k}", size, events=False) for k in range(4))
        for seed, size in ((1, 1000), (10, 2000))
    ]
    found = {each.name: each for each in compare(groups[0], groups[1], Rules(seed=1)).quantities}
    assert found["bytes_per_second"].verdict == "faster"
    assert found["bytes_per_second"].change == pytest.approx(1 + 2 * (found["rate"].change or 0))


def test_the_figures_are_those_of_the_summaries(tmp_path: Path) -> None:
    a, b = Made(1), Made(2, ms=500.0)
    found = compared(tmp_path, a, b)
    assert (found["rate"].a, found["rate"].b) == (a.document["rate"], b.document["rate"])
    assert found["p95"].a == a.document["latency_ms"]["p95"]
    assert found["first.p50"].b == b.document["first_latency_ms"]["p50"]
    change = b.document["rate"] / a.document["rate"] - 1
    assert found["rate"].change == pytest.approx(change)


def test_the_ramp_is_not_taken_for_chance(tmp_path: Path) -> None:
    """Rates from 1 to 8 workers differ eightfold; the interval is far narrower."""
    found = compared(tmp_path, Made(1, workers=8), Made(2, workers=8))["rate"]
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.1


def test_first_and_repeat_need_events_for_an_interval(tmp_path: Path) -> None:
    without = compared(tmp_path, Made(1), Made(2, ms=800.0))
    assert (without["repeat.p50"].verdict, without["repeat.p50"].low) == ("inconclusive", None)
    with_events = compared(tmp_path, Made(1), Made(2, ms=800.0), events=True)
    assert with_events["repeat.p50"].verdict == "slower"
    assert with_events["first.p50"].verdict == "slower"


def test_events_fall_into_the_bins_that_the_intervals_say(tmp_path: Path) -> None:
    a, b = Made(1, workers=3, tally=2.5, failing=0.2), Made(2, workers=3, tally=2.5)
    path, other = a.write(tmp_path, "a"), b.write(tmp_path, "b")
    by_events = read_run(path, a.write_events(tmp_path, "a"))
    by_intervals = read_run(path)
    place, _ = cut(by_intervals, read_run(other))
    one, two = fill(by_intervals, place), fill(by_events, place)
    assert one.pulled.sum() == pytest.approx(a.document["pulled"])
    assert one.pulled.tolist() == pytest.approx(two.pulled.tolist())
    assert one.every.total.tolist() == pytest.approx(two.every.total.tolist())
    assert one.failed.tolist() == pytest.approx(two.failed.tolist())
    assert one.every.counted.tolist() == pytest.approx(two.every.counted.tolist())
    assert one.every.histogram is None
    assert two.every.histogram is not None
    assert two.every.histogram.sum(axis=1).tolist() == two.every.counted.tolist()


def test_an_interrupted_run_is_compared_as_far_as_it_went(tmp_path: Path) -> None:
    """The whole run's rate has the peak in it, the interrupted one's has not."""
    whole, short = Made(1, workers=4), Made(2, workers=4, until=35.0)
    found = compared(tmp_path, whole, short)
    assert whole.document["rate"] > 1.5 * short.document["rate"]
    assert found["rate"].verdict == "inconclusive"
    assert found["rate"].change == pytest.approx(0, abs=0.15)
    assert found["p95"].verdict == "inconclusive"
    slow = compared(tmp_path, whole, Made(3, workers=4, until=60.0, ms=560.0))
    assert slow["rate"].verdict == "slower"
    assert slow["mean"].verdict == "slower"


@pytest.mark.statistics
@pytest.mark.parametrize(
    "other", [{"step": 30.0}, {"workers": 3}, {"tally": 3.0}, {"step": 30.0, "tally": 7.0}]
)
def test_other_ramps_are_compared_where_they_are_alike(tmp_path: Path, other: dict[str, Any]) -> None:
    for events in (False, True):
        verdicts = [
            compared(tmp_path, Made(n), Made(n + 10, **other), events=events)["rate"].verdict
            for n in range(10)
        ]
        assert verdicts.count("inconclusive") + verdicts.count("same") >= 9
    assert compared(tmp_path, Made(1), Made(2, ms=600.0, **other))["rate"].verdict == "slower"


def by_schedule(made: Made) -> Made:
    """As with `--rate`: all steps have all workers, while the rate changes."""
    made.document["settings"]["rate"] = "10:200"
    for step in made.document["steps"]:
        step.update(workers=4, direction="up")
    return made


@pytest.mark.parametrize("events", [False, True])
def test_steps_by_a_schedule_are_paired_in_their_order(tmp_path: Path, events: bool) -> None:
    whole, short = by_schedule(Made(1, workers=4)), by_schedule(Made(2, workers=4, until=75.0))
    found = compared(tmp_path, whole, short, events=events)
    assert found["rate"].verdict == "inconclusive"
    assert found["rate"].change == pytest.approx(0, abs=0.1)
    same = compared(tmp_path, whole, by_schedule(Made(3, workers=4)), events=events)
    assert same["rate"].low is not None
    assert same["rate"].high is not None
    assert same["rate"].high - same["rate"].low < 0.1


def test_schedules_that_rise_in_other_steps_are_not_paired(tmp_path: Path) -> None:
    """The half of a step is not like the whole of another."""
    fast, slow = by_schedule(Made(1, workers=4)), by_schedule(Made(2, workers=4, step=40.0))
    assert compared(tmp_path, fast, slow)["rate"].low is None
    for made in (fast, slow):
        made.document["settings"]["rate"] = "50"  # which is the same everywhere
    assert compared(tmp_path, fast, slow)["rate"].low is not None


def test_images_that_shared_a_launch_have_one_latency(tmp_path: Path) -> None:
    runs = []
    for name, made in (("a", Made(1)), ("b", Made(2))):
        path = made.write_events(tmp_path, name)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        others = [{**line, "seconds": 9.0, "timed": False} for line in lines if line["op"] == "pull"]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines + others))
        made.document["pulled"] *= 2
        made.document["rate"] *= 2
        runs.append(read_run(made.write(tmp_path, name), path))
    place, _ = cut(*runs)
    bins = fill(runs[0], place)
    assert bins.pulled.sum() == runs[0].summary.pulled
    assert bins.every.counted.sum() == runs[0].summary.pulled / 2
    assert bins.every.total.sum() / bins.every.counted.sum() < 1000
    assert bins.first is not None
    assert bins.repeat is not None
    assert bins.first.counted.sum() + bins.repeat.counted.sum() == bins.every.counted.sum()


def test_a_run_without_samples(tmp_path: Path) -> None:
    a, b = Made(1), Made(2)
    b.document["samples"] = []
    found = compared(tmp_path, a, b)
    assert (found["rate"].verdict, found["rate"].low) == ("inconclusive", None)
    assert found["rate"].change is not None


def test_missing_latencies(tmp_path: Path) -> None:
    a, b = Made(1), Made(2)
    b.document["repeat_latency_ms"] = None
    for made in (a, b):
        made.document["samples"][3].update(pulled=0, latency_ms=None)
    found = compared(tmp_path, a, b)
    assert found["repeat.p50"].b is None
    assert found["repeat.p50"].change is None
    assert found["rate"].verdict == "inconclusive"


def test_the_spread_is_the_same_for_a_seed_only() -> None:
    assert (draws(40, 1) == draws(40, 1)).all()
    assert (draws(40, 1) != draws(40, 2)).any()
    assert draws(40, 1).sum(axis=1).tolist() == [40.0] * 1001
    assert spread(draws(40, 1).sum(axis=1), 40) == (0.0, 0.0)


def test_differences_of_settings(tmp_path: Path) -> None:
    a, b = Made(1), Made(2, prune=True, shuffle=True, summary_file="b.json")
    b.document["client"]["version"] = "0.23.0"
    b.document["images"] = 19
    runs = [read_run(made.write(tmp_path, name)) for name, made in (("a", a), ("b", b))]
    assert [(each.option, each.a, each.b) for each in differences(*runs)] == [
        ("--prune", False, True),
        ("--shuffle", None, True),
        ("client", "crane 0.22.1", "crane 0.23.0"),
        ("images", 20, 19),
    ]


@pytest.mark.statistics
def test_longer_runs_have_narrower_intervals() -> None:
    """Rates that vary by 10 %. With blocks of whole intervals, seven intervals gave 64 % more width than six."""
    predicted = [width(bins) for bins in range(6, 121)]
    assert predicted == sorted(predicted, reverse=True)
    halves: list[float] = []
    for bins in (6, 7, 9, 12, 24, 48):
        sides = np.exp(0.1 * np.random.default_rng(bins).standard_normal((2, 200, bins)))
        one, other = (np.log(side @ draws(bins, 1).T) for side in sides)
        found = [spread(each, bins) for each in other - one]
        halves.append(float(np.median([ends[1] - ends[0] for ends in found if ends])))
        assert halves[-1] / halves[0] == pytest.approx(predicted[bins - 6] / predicted[0], rel=0.15)
    assert all(later < 1.05 * earlier for earlier, later in pairwise(halves))


def notes_of(folder: Path, a: Made, b: Made) -> list[str]:
    runs = [read_run(made.write(folder, name)) for name, made in (("a", a), ("b", b))]
    return list(compare((runs[0],), (runs[1],), Rules()).notes)


def on_hosts(count: int, *there: dict[str, Any]) -> Made:
    made = Made()
    made.document["hosts"] = list(there) or [a_host(number, count) for number in range(1, count + 1)]
    made.document["complete"] = all(each["lost"] is None for each in there)
    return made


def test_different_numbers_of_hosts_are_noted(tmp_path: Path) -> None:
    assert not any("host" in note for note in notes_of(tmp_path, on_hosts(3), on_hosts(3)))
    (note,) = [note for note in notes_of(tmp_path, Made(), on_hosts(3)) if "numbers of hosts" in note]
    assert "a.json on 1 host, " in note
    assert "b.json on 3 hosts)" in note


def test_a_load_that_is_not_complete_is_noted(tmp_path: Path) -> None:
    lost = a_host(2, 2, lost={"at": 12.0, "reason": "worker gone"}, counted_until=12.0)
    first = notes_of(tmp_path, on_hosts(2), on_hosts(2, a_host(1, 2), lost))[0]
    assert first.endswith(
        "b.json is not complete, so its figures lack pulls: host host-2 lost at 12.0 s (worker gone); its share is "
        "missing after that"
    )

"""Runs whose ends differ: drains, fixed work, and first pulls that are cold or warm."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.comparison import Comparison, Rules, compare
from lib.compare.quantities import Quantity
from tests.support.held import held, run, run_with_events, write
from tests.support.made import latency


def compared(a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    return compare((run(a, "a.json"),), (run(b, "b.json"),), Rules())


def rows(comparison: Comparison) -> dict[str, Quantity]:
    return {each.name: each for each in comparison.quantities}


STEADY = held([200 + k % 3 for k in range(24)])


def with_a_drain(document: dict[str, Any]) -> dict[str, Any]:
    """The same run, in which one pull ended 30 s after the plan: the latency of all pulls includes it."""
    changed = copy.deepcopy(document)
    changed.update(
        pulled=document["pulled"] + 1,
        elapsed_seconds=document["elapsed_seconds"] + 30,
        drain={"seconds": 30, "pulled": 1, "failed": 0},
    )
    changed["latency_ms"] = {
        **document["latency_ms"],
        "mean": 1.3 * document["latency_ms"]["mean"],
        "max": 45_000.0,
    }
    return changed


def test_a_run_against_itself_with_a_drain_is_the_same() -> None:
    for a, b in ((STEADY, with_a_drain(STEADY)), (with_a_drain(STEADY), STEADY)):
        found = compared(a, b)
        for name in ("rate", "mean", "error_rate"):
            assert rows(found)[name].change == pytest.approx(0, abs=1e-9), name
            assert rows(found)[name].verdict == "same", name
        assert rows(found)["p95"].change == 0
        assert any("1 pull ended after the planned end" in note for note in found.notes)
        assert not any("loads differ" in note for note in found.notes)


def test_a_run_against_itself_with_a_drain_is_the_same_with_events() -> None:
    plain, drained = run_with_events(STEADY), run_with_events(with_a_drain(STEADY), drained=[30_000.0])
    for a, b in ((plain, drained), (drained, plain), (drained, drained)):
        found = rows(compare((a,), (b,), Rules()))
        for name in ("rate", "mean", "p50", "p95", "p99", "error_rate"):
            assert found[name].change == pytest.approx(0, abs=1e-9), name
            assert found[name].verdict == "same", name


def with_counts(document: dict[str, Any]) -> dict[str, Any]:
    """The same as the present version writes it: with the number of latencies."""
    changed = copy.deepcopy(document)
    for part in (changed, *changed["samples"], *changed["steps"]):
        part["latency_ms"] = {**part["latency_ms"], "count": part["pulled"]}
    return changed


def test_an_older_run_that_may_have_a_drain_is_told() -> None:
    drained = with_counts(with_a_drain(STEADY))
    note = "an earlier version wrote it, so its rate and mean latency may cover pulls that ended after the planned end"
    assert [each for each in compared(STEADY, drained).notes if note in each] == [
        f"a.json: {note}: repeat the run"
    ]
    for a, b in ((with_counts(STEADY), drained), (drained, drained), (STEADY, STEADY)):
        assert not any(note in each for each in compared(a, b).notes)


def test_percentiles_are_those_of_the_summaries_whatever_the_intervals_say() -> None:
    """A drain, and intervals of another length, must not change them."""
    drained = with_a_drain(STEADY)
    drained["latency_ms"].update(p50=401.0, p90=550.5, p95=612.0, p99=999.0)
    for a, b in ((run(STEADY), run(drained)), (run_with_events(STEADY), run_with_events(drained))):
        found = rows(compare((a,), (b,), Rules()))
        for name in ("p50", "p90", "p95", "p99"):
            one, other = STEADY["latency_ms"][name], drained["latency_ms"][name]
            assert (found[name].a, found[name].b) == (one, other)
            assert found[name].change == pytest.approx(other / one - 1)


def test_percentiles_need_events_for_a_verdict() -> None:
    found = rows(compared(STEADY, STEADY))
    for name in ("p50", "p90", "p95", "p99"):
        assert (found[name].low, found[name].verdict, found[name].why) == (
            None, "inconclusive", "needs --events",
        )  # fmt: skip
    both = rows(compare((run_with_events(STEADY),), (run_with_events(STEADY),), Rules()))
    assert {both[name].verdict for name in ("p50", "p90", "p95", "p99")} == {"same"}
    groups = compare((run(STEADY, "1"), run(STEADY, "2")), (run(STEADY, "3"), run(STEADY, "4")), Rules())
    assert rows(groups)["p95"].verdict == "same"


def in_batches(document: dict[str, Any], images: int) -> dict[str, Any]:
    """The same number of latencies, each of a launch of several images."""
    changed = with_counts(document)
    changed.update(latency_unit="launch", pulled=images * document["pulled"], rate=images * document["rate"])
    for part in (*changed["samples"], *changed["steps"]):
        part["pulled"] *= images
    return changed


def test_launches_count_for_percentiles_not_images() -> None:
    few = held([6 + k % 2 for k in range(24)])
    launches = run_with_events(few).pulls
    runs = [replace(run(in_batches(few, 10), name), pulls=launches) for name in ("a.json", "b.json")]
    assert runs[0].summary.pulled == 1560
    found = compare((runs[0],), (runs[1],), Rules())
    assert rows(found)["p99"].low is None
    assert rows(found)["p95"].low is not None
    assert any("p99: no verdict, because a run has only 156 pulls" in note for note in found.notes)


def test_the_mean_of_batches_weighs_launches() -> None:
    """One interval has all its images in one launch, the others have a launch for each image."""
    mixed = with_counts(held([10] * 24))
    mixed["samples"][0]["latency_ms"].update(count=1, mean=4000.0)
    mixed.update(drain={"seconds": 1, "pulled": 1, "failed": 0})
    alike = held([10] * 24)["latency_ms"]["mean"]
    found = rows(compared(mixed, mixed))["mean"]
    assert found.a == pytest.approx((4000 + 230 * alike) / 231)


def test_the_last_step_of_an_older_file_may_have_a_drain_in_it() -> None:
    """Such a file counts the drain in the last step and interval, and in the rate."""
    drained = copy.deepcopy(STEADY)
    drained["elapsed_seconds"] += 30
    drained["pulled"] += 1
    for part in (drained["steps"][-1], drained["samples"][-1]):
        part["seconds"] += 30
        part["pulled"] += 1
    drained["rate"] = drained["pulled"] / drained["elapsed_seconds"]
    found = compared(STEADY, drained)
    assert rows(found)["rate"].change == pytest.approx(0, abs=0.03)
    assert rows(found)["rate"].verdict not in ("slower", "faster")
    assert any("loads differ" in note for note in found.notes)


def fixed_work(rates: list[int], passes: int = 2) -> dict[str, Any]:
    document = held(rates)
    document["settings"]["passes"] = passes
    return document


def test_fixed_work_is_compared_over_its_whole_time() -> None:
    """Both begin alike. The second half of the work takes three times as long in one of them."""
    work = [300] * 20
    slow = [300] * 10 + [100] * 30
    assert sum(work) == sum(slow)
    found = compared(fixed_work(work), fixed_work(slow))
    rate = rows(found)["rate"]
    assert rate.change == pytest.approx(-0.5)
    assert not any("loads differ" in note for note in found.notes)
    even = rows(compared(fixed_work(work), fixed_work([150] * 40)))["rate"]
    assert even.change == pytest.approx(-0.5)
    assert even.verdict == "slower"


def test_fixed_work_that_was_interrupted_is_compared_as_far_as_it_went() -> None:
    short = fixed_work([300] * 10)
    short["interrupted"] = True
    found = compared(fixed_work([300] * 10 + [100] * 30), short)
    assert rows(found)["rate"].change == pytest.approx(0)
    assert any("loads differ: rate and latencies cover only the 150 seconds" in note for note in found.notes)


def test_loads_with_nothing_in_common_cannot_be_compared() -> None:
    """A shorter interval would not help, so nothing asks for one."""
    other = copy.deepcopy(STEADY)
    for step in other["steps"]:
        step["workers"] += 1
    for found in (
        compared(STEADY, other),
        compare((run_with_events(STEADY),), (run_with_events(other),), Rules()),
    ):
        (told,) = [note for note in found.notes if "no step in common" in note]
        assert "repeat one run with the load of the other" in told
        assert not [note for note in found.notes if "interval" in note and "confidence" not in note]
        assert (rows(found)["rate"].verdict, rows(found)["rate"].why) == ("inconclusive", "the loads differ")
        assert rows(found)["rate"].a is None
        assert rows(found)["error_rate"].why == "the loads differ"


@pytest.mark.parametrize(("a", "b"), [("cold", "warm"), ("unknown", "cold"), ("warm", "unknown")])
def test_first_pulls_of_different_kinds_have_no_verdict(a: str, b: str) -> None:
    found = compared({**STEADY, "first_pulls": a}, {**STEADY, "first_pulls": b})
    for name, row in rows(found).items():
        if name.startswith("first."):
            assert (row.low, row.verdict) == (None, "inconclusive")
            assert row.change is not None
    assert any(f"different kinds ({'; '.join(sorted((a, b)))})" in note for note in found.notes)
    runs = [run({**STEADY, "first_pulls": kind}, f"{k}") for kind in (a, b) for k in range(2)]
    groups = compare(tuple(runs[:2]), tuple(runs[2:]), Rules())
    assert rows(groups)["first.p50"].low is None
    assert rows(groups)["repeat.p50"].low is not None


@pytest.mark.parametrize(
    ("a", "b", "one_kind"),
    [
        ({"prune_first": True}, {"prune_first": False}, False),
        ({"prune_first": True}, {}, False),
        ({"prune": True}, {"prune": False}, False),
        ({"prune": True, "prune_first": True}, {"prune_first": True}, True),
        ({"prune": True}, {"prune": True}, True),
        ({}, {"prune": False}, True),
    ],
)
def test_files_that_do_not_name_the_kind_have_it_in_their_settings(
    a: dict[str, bool], b: dict[str, bool], one_kind: bool
) -> None:
    first, second = ({**STEADY, "settings": {**STEADY["settings"], **each}} for each in (a, b))
    for found in (
        compared(first, second),
        compare((run(first, "1"), run(first, "2")), (run(second, "3"), run(second, "4")), Rules()),
    ):
        told = [note for note in found.notes if "first pulls were" in note]
        assert bool(told) != one_kind
        if not one_kind:
            assert rows(found)["first.mean"].low is None
            assert rows(found)["first.mean"].why == "first pulls of different kinds"


def test_a_rate_of_nothing_misses_every_gate(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The only pulls of b ended in its drain."""
    nothing = held([1] * 24)
    nothing.update(rate=0.0, pulled=5, drain={"seconds": 3, "pulled": 5, "failed": 0})
    nothing["steps"][0].update(pulled=0, rate=0.0, latency_ms=None)
    for sample in nothing["samples"]:
        sample.update(pulled=0, rate=0.0, latency_ms=None)
    files = [str(write(tmp_path, name, each)) for name, each in (("a", STEADY), ("b", nothing))]
    for option in ("miss", "pass"):
        assert main(["compare", *files, "--threshold=rate>-50%", f"--inconclusive={option}"]) == 3
        out = capfd.readouterr().out
        assert "missed (-100 %, a run pulled nothing before its planned end)" in out


def test_first_pulls_of_one_kind_can_be_compared() -> None:
    runs = [run({**STEADY, "first_pulls": "cold"}, f"{k}") for k in range(4)]
    found = compare(tuple(runs[:2]), tuple(runs[2:]), Rules())
    assert rows(found)["first.p50"].verdict == "same"
    assert not [note for note in found.notes if "first pulls" in note]


@pytest.mark.parametrize(("pulls", "without"), [(199, ["p99"]), (200, []), (19, ["p90", "p95", "p99"])])
def test_percentiles_of_few_pulls_have_no_verdict(pulls: int, without: list[str]) -> None:
    few = held([pulls // 24 + (k < pulls % 24) for k in range(24)])
    for a, b in ((few, STEADY), (STEADY, few)):
        found = compare((run_with_events(a),), (run_with_events(b),), Rules())
        assert [name for name in ("p50", "p90", "p95", "p99") if rows(found)[name].low is None] == without
        assert {rows(found)[name].verdict for name in without} <= {"inconclusive"}
        assert any("no verdict, because a run has only" in note for note in found.notes) == bool(without)
    groups = compare((run(few, "1"), run(STEADY, "2")), (run(STEADY, "3"), run(STEADY, "4")), Rules())
    assert [name for name in ("p50", "p90", "p95", "p99") if rows(groups)[name].low is None] == without


def test_a_percentile_without_a_value_has_no_verdict() -> None:
    assert rows(compared(STEADY, {**STEADY, "latency_ms": latency([])}))["p99"].verdict == "inconclusive"


def test_likeness_of_neighbouring_intervals_is_shown() -> None:
    wave = held([200 + (100 if k // 6 % 2 else -100) for k in range(24)])
    assert any(
        "neighbouring intervals are alike (autocorrelation 0." in note
        for note in compared(STEADY, wave).notes
    )
    zigzag = held([200 + (100 if k % 2 else -100) for k in range(24)])
    assert not any("alike" in note for note in compared(STEADY, zigzag).notes)

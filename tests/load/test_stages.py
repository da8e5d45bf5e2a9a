"""Stages, constant load and the held peak: who runs when, and what the schedule wants."""

from __future__ import annotations

import pytest

from lib.errors import UsageError
from lib.load.constant import plan_constant
from lib.load.curve import Curve, Rate
from lib.load.plan import Plan
from lib.load.ramp import plan_ramp, plan_schedule
from lib.load.stages import Stage, parse_stages, plan_stages
from tests.support.simulated import Simulation

Table = list[tuple[int, str, float, float]]


def table(plan: Plan) -> Table:
    return [(step.workers, step.direction, step.start, step.end) for step in plan.steps]


def stages(*texts: str, workers: int = 9) -> Plan:
    return plan_stages(parse_stages("--stage", texts), workers)


@pytest.mark.parametrize(
    ("texts", "steps"),
    [
        (
            ["20s:4", "20s:4", "10s:0"],
            [
                *((n, "up", 5.0 * n, 5.0 * n + 5) for n in range(4)),
                (4, "hold", 20.0, 40.0),
                *((4 - n, "down", 40 + 2.5 * n, 42.5 + 2.5 * n) for n in range(4)),
            ],
        ),
        (["3s:3", "1m:3"], [(0, "up", 0, 1), (1, "up", 1, 2), (2, "up", 2, 3), (3, "hold", 3, 63)]),
        (["2s:2", "4s:1"], [(0, "up", 0, 1), (1, "up", 1, 2), (2, "down", 2, 6)]),
        (["5s:0", "1s:1", "1s:1"], [(0, "hold", 0, 5), (0, "up", 5, 6), (1, "hold", 6, 7)]),
    ],
)
def test_workers_change_one_at_a_time_equally_spaced(texts: list[str], steps: Table) -> None:
    """As in k6: the i-th of d changes comes after i/d of the stage, so the target is reached at its end."""
    assert table(stages(*texts)) == steps


def test_stages_of_rates_keep_all_workers_and_go_in_straight_lines() -> None:
    plan = stages("20s:40/s", "20s:40/s", "10s:0/s", workers=3)
    assert table(plan) == [(3, "up", 0, 20), (3, "hold", 20, 40), (3, "down", 40, 50)]
    assert plan.curve == Curve(((Rate(0, 40), 20), (Rate(40, 40), 20), (Rate(40, 0), 10)))
    assert plan.curve.total == pytest.approx(400 + 800 + 200)
    assert [plan.curve.due_by(second) for second in (10, 20, 30, 45, 99)] == [100, 400, 800, 1350, 1400]
    assert [plan.curve.second_of(pulls) for pulls in (100, 400, 800, 1350)] == pytest.approx([10, 20, 30, 45])
    assert plan.curve.offered(10, 30) == pytest.approx(35)


def test_the_words_of_stages() -> None:
    assert stages("20s:4", "1h30m:4").about == "stages 20s:4, 1h30m:4, 1h30m20s in all"
    assert (
        "stages 5m:200/s, 5m in all, on a schedule, 2 workers throughout"
        in stages("5m:200/s", workers=2).about
    )


@pytest.mark.parametrize(
    "texts",
    [["20s"], ["4"], ["20s:"], [":4"], ["0s:4"], ["20s:4", "20s:4/s"], ["20s:-1"], ["x:4"], ["20s:4.5"], ["1s:0"],
     ["400d:1"], ["1s:1000000"], ["1s:1e3/s"], ["1s:200001/s"], [f"1s:{'9' * 5000}"], [f"1s:{'9' * 5000}/s"],
     [f"{'9' * 5000}s:1"], ["9s:1"], ["5s:0", "9s:1"]],
)  # fmt: skip
def test_no_stages(texts: list[str]) -> None:
    with pytest.raises(UsageError, match="--stage"):
        parse_stages("--stage", texts)


def test_stages_are_shown_as_they_are_given() -> None:
    texts = ["20s:4", "1m30s:0", "5m:200/s"]
    assert [str(parse_stages("--stage", [text])[0]) for text in (texts[0], texts[2])] == [texts[0], texts[2]]
    assert str(Stage(90.0, 0, None)) == texts[1]


def test_a_held_peak_is_one_step() -> None:
    assert table(plan_ramp(3, 10.0, 60.0)) == [
        (1, "up", 0, 10), (2, "up", 10, 20), (3, "hold", 20, 80), (2, "down", 80, 90), (1, "down", 90, 100),
    ]  # fmt: skip
    assert table(plan_ramp(1, 10.0, 5.0)) == [(1, "hold", 0, 5)]
    plan = plan_schedule(2, 10.0, Rate(1, 5), 30.0)
    assert table(plan) == [(2, "up", 0, 10), (2, "hold", 10, 40), (2, "up", 40, 50)]
    assert plan.curve == Curve(((Rate(1, 5), 50),))


def test_constant_load_is_one_step() -> None:
    plan = plan_constant(20, 600.0, None)
    assert (table(plan), plan.curve) == ([(20, "hold", 0, 600)], None)
    assert plan.about == "constant load of 20 workers for 10m"
    plan = plan_constant(2, 30.0, Rate(5, 5))
    assert plan.curve == Curve(((Rate(5, 5), 30),))


# --- the driver carries them out


@pytest.mark.parametrize(
    "plan",
    [
        plan_stages(parse_stages("", ["4s:4", "2s:4", "3s:1", "3s:4", "4s:0"]), 4),
        plan_ramp(3, 2.0, 4.0),
        plan_constant(3, 4.0, None),
    ],
)
def test_the_workers_follow_the_plan(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    """Also where a stage stops workers and the next one starts them again."""
    run = Simulation(monkeypatch, plan, pull=0.0625, tally=1.0)
    run.drive()
    samples = run.tally.samples
    assert [sample.workers for sample in samples] == [plan.workers_at(sample.at) for sample in samples]
    assert len(run.events) == run.tally.pulled
    assert run.driver.hopeless is None


@pytest.mark.parametrize("pull", [0.0625, 0.4, 3.5])
def test_a_worker_that_was_stopped_starts_again_or_goes_on(
    monkeypatch: pytest.MonkeyPatch, pull: float
) -> None:
    """It goes on if its last pull has not ended yet. Its passes are counted on."""
    plan = stages("1s:1", "4s:1", "1s:0", "1s:1", "4s:1", workers=1)
    run = Simulation(monkeypatch, plan, pull=pull, tally=1.0)
    run.drive()
    again = [line for line in run.log if "start worker 0" in line or "worker 0 goes on" in line]
    assert len(again) == 2
    assert ("goes on" in again[1]) == (pull == 3.5)
    assert run.workers[0].begun == len(run.events)

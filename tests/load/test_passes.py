"""Fixed work: its plan, and drivers that walk through it."""

from __future__ import annotations

from signal import SIGTERM

import pytest

from lib.load.passes import plan_passes
from lib.load.plan import WITH_THE_LAST_WORKER, Step
from lib.outcomes import FAILED, OK
from tests.support.simulated import Simulation

END = WITH_THE_LAST_WORKER


@pytest.mark.parametrize(
    ("images", "passes", "seconds", "steps", "pulls", "about"),
    [
        ([4, 4, 4], 3, None, [Step(3, "hold", 0, END)], 36, "3 workers, 3 passes each, 36 pulls in all"),
        ([7], 1, None, [Step(1, "hold", 0, END)], 7, "1 worker, 1 pass each, 7 pulls in all"),
        ([7], 2, 5.0, [Step(1, "hold", 0, END)], 14, "workers start 5s apart"),
        (
            [3, 2, 2],
            2,
            0.5,
            [Step(1, "up", 0, 0.5), Step(2, "up", 0.5, 1), Step(3, "hold", 1, END)],
            14,
            "workers start 0.5s apart",
        ),
    ],
)
def test_the_plan(
    images: list[int], passes: int, seconds: float | None, steps: list[Step], pulls: int, about: str
) -> None:
    plan = plan_passes(images, passes, seconds)
    assert list(plan.steps) == steps
    assert (plan.passes, plan.pulls, plan.end, plan.curve) == (passes, pulls, None, None)
    assert about in plan.about
    assert plan.left(3.0) is None
    assert plan.workers_at(1e9) == len(images)


@pytest.mark.parametrize("pull", [0.001, 0.3, 400])
@pytest.mark.parametrize("apart", [None, 1.0])
@pytest.mark.parametrize("outcome", [OK, FAILED])
def test_all_the_work_is_done_and_no_more(
    monkeypatch: pytest.MonkeyPatch, pull: float, apart: float | None, outcome: str
) -> None:
    plan = plan_passes([2, 2, 2], 4, apart)
    work = Simulation(monkeypatch, plan, pull=pull, outcome=outcome, keep_going=True)
    work.drive()
    assert work.tally.attempts == plan.pulls == 24
    assert [each.pulled + each.failed for each in work.tally.workers] == [8, 8, 8]
    assert [worker.passes for worker in work.workers] == [4, 4, 4]
    steps = [(each.step.workers, each.step.direction) for each in work.tally.steps]
    assert steps == ([(1, "up"), (2, "up"), (3, "hold")] if apart else [(3, "hold")])
    assert work.driver.elapsed == pytest.approx(8 * pull + 2 * (apart or 0))
    assert work.log[-1] == "all workers have finished their passes"
    assert work.driver.hopeless is None


def test_workers_that_end_before_the_next_one_starts_do_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2, 2], 1, 60.0), pull=0.5)
    work.drive()
    assert work.driver.elapsed == 121
    assert [(each.seconds, each.pulled) for each in work.tally.steps] == [(60, 2), (60, 2), (1, 2)]
    assert [each.workers for each in work.samples] == [0] * 12 + [1]


def test_the_workers_of_the_last_interval_are_those_that_ended_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2], 3, None), pull=2, tally=5)
    work.workers[1].seconds = 4
    work.drive()
    # the first one ended after 12 s
    assert [(each.seconds, each.workers, each.pulled) for each in work.samples] == [
        (5, 2, 3), (5, 2, 4), (5, 1, 2), (5, 1, 2), (4, 1, 1),
    ]  # fmt: skip
    assert (work.driver.running, work.driver.planned) == (0, 0)


@pytest.mark.parametrize(
    ("signals", "grace", "outcomes", "elapsed"), [(1, 60, (2, 0), 4), (1, 1, (0, 2), 3), (2, 60, (0, 2), 2)]
)
def test_a_signal_ends_it(
    monkeypatch: pytest.MonkeyPatch, signals: int, grace: float, outcomes: tuple[int, int], elapsed: float
) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2], 1000, None), pull=4, grace=grace)
    for _ in range(signals):
        work.time.after(2, lambda: work.stop.request(SIGTERM))
    work.drive()
    assert (work.tally.pulled, work.tally.interrupted) == outcomes
    assert work.driver.elapsed == elapsed
    assert "all workers have finished their passes" not in work.log


def test_a_signal_before_all_have_started_keeps_the_others_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2, 2], 5, 10.0), pull=1)
    work.time.after(15, lambda: work.stop.request(SIGTERM))
    work.drive()
    assert [worker.begun for worker in work.workers] == [10, 5, 0]
    assert [(each.step.workers, each.seconds) for each in work.tally.steps] == [(1, 10), (2, 5)]


def test_a_hopeless_beginning_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Simulation(monkeypatch, plan_passes([2], 1000, None), outcome=FAILED)
    work.drive()
    assert work.driver.hopeless is not None
    assert work.driver.hopeless.startswith("none of the first 10 pulls succeeded: refused")
    assert 10 <= work.tally.failed <= 12

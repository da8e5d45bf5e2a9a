"""Herds: who waits for whom, in simulated time and with threads; and what the tally makes of their pulls."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from random import Random
from signal import SIGTERM

import pytest

from lib.images import Image, ImageSet
from lib.load.constant import plan_constant
from lib.load.event import PRUNE, PULL, Event, HerdPull
from lib.load.herd import Herds, HerdTurns
from lib.load.herd_tally import HerdTally
from lib.load.order import AsListed
from lib.load.passes import plan_passes
from lib.load.plan import Plan
from lib.load.pull import Pulled
from lib.load.ramp import plan_ramp
from lib.load.stages import parse_stages, plan_stages
from lib.load.turns import OwnTurns, Turn
from lib.load.worker import Warm, Work, Worker
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.servers.prune import Pruned
from tests.support.simulated import SimulatedWorker, Simulation
from tests.support.waiting import SECONDS

IMAGES = tuple(Image(f"app-{k}", "v1") for k in range(3))


def herds_of(
    planned: Callable[[], int], *, prune: bool = False, warm: Warm | None = None, shuffled: bool = False
) -> Herds:
    order = AsListed(ImageSet("1/1", IMAGES), Random(1) if shuffled else None)
    turns = OwnTurns(0, order, batch=1, passes=None)
    return Herds(turns, planned, prune=prune, warm=warm or Warm())


# --- a driver in simulated time -------------------------------------------------------------------------------


class HerdWorker(SimulatedWorker):
    """Pulls in herds. Its client starts `delay` seconds after the herd begins; a prune takes a second.

    It dies in the pull of the herd `dies`.
    """

    def __init__(self, index: int, simulation: Simulation, herds: Herds, passes: int | None) -> None:
        super().__init__(index, simulation, 1.0, OK)
        self.delay = 0.0
        self.dies = 0
        self.sizes: dict[int, int] = {}
        self.pruned: list[int] = []
        self.done = 0
        self._herds = herds
        self._passes = passes

    def start(self) -> None:
        self._herds.begin(self.index)
        self._simulation.time.after(0.0, self._next)

    def stop(self, *, hurry: bool = False) -> None:
        self.stopping = True
        self._herds.stop(self.index)

    def kill(self) -> None:
        if self._pulling:
            super().kill()
            self._herds.end(self.index)

    def _next(self) -> None:
        if self._passes is not None and self.done == self._passes * len(self.image_set.images):
            self._leave()
        else:
            self._herds.wait(self.index, self._go)

    def _leave(self) -> None:
        self._herds.end(self.index)
        self._simulation.driver.worker_ended(self)

    def _go(self, turn: Turn | None) -> None:
        if turn is None:
            self._leave()
            return
        assert turn.herd is not None
        if turn.is_prune:
            self.pruned.append(turn.herd.number)
            self._simulation.time.after(1.0, self._next)
            return
        self.begun += 1
        self.sizes[turn.herd.number] = turn.herd.size
        self._pulling, number, clock = True, self.begun, self._simulation.time
        herd = turn.herd._replace(started=clock.now + self.delay)
        clock.after(self.delay + self.seconds, lambda: self._pull_ended(number, herd))

    def _pull_ended(self, number: int, herd: HerdPull) -> None:
        if not self._pulling or number != self.begun:
            return
        if herd.number == self.dies:
            self.begun -= 1
            self._pulling = False
            self.error = ValueError("made up")
            self._leave()
            return
        self._pulling = False
        self.done += 1
        self._simulation.driver.emit(
            Event(
                op=PULL,
                worker=self.index,
                pass_number=1,
                image=self.image_set.images[0],
                outcome=self.outcome,
                ended=self._simulation.time.now,
                seconds=self.seconds,
                failure=Failure("refused", "nobody there") if self.outcome == FAILED else None,
                herd=herd,
            )
        )
        self._next()


class HerdSimulation(Simulation):
    """A driver whose workers pull in herds; `herders` are these workers, `herds` what was counted."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, plan: Plan, *, prune: bool = False, grace: float = 5.0
    ) -> None:
        super().__init__(monkeypatch, plan, grace=grace, images=len(IMAGES), keep_going=True)
        self.herds = self.tally.herds
        shared = herds_of(lambda: self.driver.planned, prune=prune)
        self.herders = [HerdWorker(k, self, shared, plan.passes) for k in range(len(self.workers))]
        self.workers = [*self.herders]

    def sizes(self) -> list[int]:
        """The number of pulls of each herd that had any, in order; each worker was told the same."""
        told = [(number, size) for worker in self.herders for number, size in worker.sizes.items()]
        counts = Counter(number for number, _ in told)
        assert all(counts[number] == size for number, size in told)
        return [counts[number] for number in sorted(counts)]


def test_each_herd_waits_for_the_slowest_pull_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    load = HerdSimulation(monkeypatch, plan_constant(4, 19.5, None))
    for worker in load.herders:
        worker.seconds = 1.0 + worker.index
    load.drive()
    assert load.sizes() == [4] * 5  # a herd every four seconds; the last one ends after the plan
    assert load.herds.count == 5
    latency, spread = load.herds.latencies.result(), load.herds.spread.result()
    assert latency is not None
    assert spread is not None
    assert latency.count == 5
    assert (latency.min, latency.max) == pytest.approx((4000, 4000))
    assert (spread.count, spread.max) == (5, 0.0)
    assert load.tally.drain is not None
    assert load.tally.pulled == 20


def test_the_spread_and_who_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    load = HerdSimulation(monkeypatch, plan_constant(4, 10.0, None))
    for worker in load.herders:
        worker.delay = worker.index / 32  # 0, 31, 63 and 94 ms
    load.drive()
    spread, latency = load.herds.spread.result(), load.herds.latencies.result()
    assert spread is not None
    assert latency is not None
    assert load.herds.count == spread.count == 10
    assert (spread.min, spread.max) == pytest.approx((93.75, 93.75))
    assert (latency.min, latency.max) == pytest.approx((1093.75, 1093.75))
    assert load.herds.late == 2 * 10


def test_a_worker_that_starts_in_the_middle_joins_the_next_herd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Herds of almost two seconds, and a step of the ramp every five."""
    load = HerdSimulation(monkeypatch, plan_ramp(3, 5.0))
    for worker in load.herders:
        worker.seconds = 1.9
    load.drive()
    assert load.sizes() == [1] * 3 + [2] * 3 + [3] * 5 + [2] * 3 + [1] * 2
    assert load.herds.count == 16
    assert [each.pulled for each in load.tally.workers] == [16, 11, 5]


def test_stages_up_and_down(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = parse_stages("--stage", ["4s:4", "10s:4", "8s:1", "3s:0"])
    load = HerdSimulation(monkeypatch, plan_stages(stages, 4))
    for worker in load.herders:
        worker.seconds = 0.45
    load.drive()
    sizes = load.sizes()
    assert [size for size, _ in groupby(sizes)] == [1, 2, 3, 4, 3, 2, 1]
    assert load.herds.count == len(sizes)


def test_a_retired_worker_that_still_pulls_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pull of 100 s begins in the second step. The others go on when it is stopped, after the third one."""
    load = HerdSimulation(monkeypatch, plan_ramp(2, 10.0), grace=200.0)
    load.herders[0].seconds, load.herders[1].seconds = 0.95, 100.0
    load.drive()
    assert load.sizes() == [1] * 11 + [2] + [1] * 11
    assert load.herds.count == 23
    assert load.tally.drain is not None
    assert load.tally.drain.pulled == 2  # of each worker one


@pytest.mark.parametrize("prune", [False, True])
def test_a_worker_that_dies_ends_the_run_and_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, prune: bool
) -> None:
    load = HerdSimulation(monkeypatch, plan_constant(3, 1000.0, None), prune=prune)
    load.herders[1].dies = 4
    load.herders[0].seconds = load.herders[2].seconds = 0.5  # they wait for it
    with pytest.raises(ValueError, match="made up"):
        load.drive()
    load.check_sums()
    # without a prune, the two others are in the next herd before the driver knows
    assert load.herds.count == (3 if prune else 4)
    assert load.driver.elapsed < 20.0


@pytest.mark.parametrize(("signals", "grace"), [(1, 5.0), (2, 60.0)])
@pytest.mark.parametrize("prune", [False, True])
def test_a_signal_ends_it_while_one_pulls_and_others_wait(
    monkeypatch: pytest.MonkeyPatch, signals: int, grace: float, prune: bool
) -> None:
    load = HerdSimulation(monkeypatch, plan_constant(3, 1000.0, None), grace=grace, prune=prune)
    load.herders[2].seconds = 300.0

    def happen() -> None:
        for _ in range(signals):
            load.stop.request(SIGTERM)

    load.time.after(10.0, happen)
    load.drive()
    assert load.driver.elapsed < 20.0
    assert (load.tally.pulled, load.tally.interrupted) == (2, 1)
    assert load.herds.count == 0


@pytest.mark.parametrize("apart", [None, 2.5])
@pytest.mark.parametrize("passes", [1, 4])
def test_fixed_work(monkeypatch: pytest.MonkeyPatch, passes: int, apart: float | None) -> None:
    load = HerdSimulation(monkeypatch, plan_passes([len(IMAGES)] * 3, passes, apart))
    load.drive()
    assert load.tally.attempts == load.plan.pulls == 3 * passes * len(IMAGES)
    assert [each.pulled for each in load.tally.workers] == [passes * len(IMAGES)] * 3
    if apart is None:
        assert load.sizes() == [3] * (passes * len(IMAGES))
    assert load.herds.count == len(load.sizes())


def test_one_worker_prunes_before_each_herd_while_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    load = HerdSimulation(monkeypatch, plan_passes([len(IMAGES)] * 3, 2, None), prune=True)
    load.drive()
    pruned = sorted(number for worker in load.herders for number in worker.pruned)
    assert pruned == [1, 2, 3, 4, 5, 6]
    assert load.driver.elapsed == pytest.approx(12.0)  # a second for each prune and for each herd
    assert load.sizes() == [3] * 6


def test_failed_pulls_are_in_the_spread_but_not_in_the_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    load = HerdSimulation(monkeypatch, plan_passes([len(IMAGES)] * 3, 2, None))
    load.time.after(2.5, lambda: setattr(load.herders[1], "outcome", FAILED))
    load.drive()
    spread, latency = load.herds.spread.result(), load.herds.latencies.result()
    assert spread is not None
    assert latency is not None
    assert (load.herds.count, spread.count, latency.count) == (6, 6, 2)
    assert load.tally.failed == 4


# --- who waits for whom ---------------------------------------------------------------------------------------


class Waiting:
    """Workers of herds that wait; `got` has what each was called with."""

    def __init__(self, planned: int, *, prune: bool = False, warm: Warm | None = None) -> None:
        self.planned = planned
        self.herds = herds_of(lambda: self.planned, prune=prune, warm=warm)
        self.got: dict[int, list[Turn | None]] = {}

    def wait(self, *workers: int) -> None:
        for worker in workers:
            self.herds.wait(worker, self.got.setdefault(worker, []).append)

    def begin(self, *workers: int) -> None:
        for worker in workers:
            self.herds.begin(worker)

    def now(self) -> dict[int, str]:
        """What came of each worker since the last call: `prune` or `pull` and the number of the herd, or `end`."""
        told = {
            worker: " ".join("end" if turn is None else _told(turn) for turn in turns)
            for worker, turns in self.got.items()
            if turns
        }
        for turns in self.got.values():
            turns.clear()
        return told


def _told(turn: Turn) -> str:
    assert turn.herd is not None
    return f"{'prune' if turn.is_prune else 'pull'} {turn.herd.number}"


def test_the_first_herd_waits_for_all_that_are_to_start_together() -> None:
    load = Waiting(3)
    load.begin(0)
    load.wait(0)
    load.begin(1)
    load.wait(1)
    assert load.now() == {}
    load.begin(2)
    assert load.now() == {}
    load.wait(2)
    assert load.now() == dict.fromkeys((0, 1, 2), "pull 1")


def test_who_cannot_start_is_not_waited_for_once_it_is_stopped() -> None:
    load = Waiting(2)
    load.begin(0)
    load.wait(0)
    load.herds.stop(1)
    assert load.now() == {0: "pull 1"}


def test_who_is_stopped_while_waiting_ends_at_once() -> None:
    load = Waiting(2)
    load.begin(0, 1)
    load.wait(0)
    load.herds.stop(0)
    assert load.now() == {0: "end"}
    load.wait(0)
    assert load.now() == {0: "end"}
    load.wait(1)
    assert load.now() == {1: "pull 1"}


def test_the_end_of_the_only_one_missing_begins_the_herd() -> None:
    for leave in (Herds.stop, Herds.end):
        load = Waiting(3)
        load.begin(0, 1, 2)
        load.wait(0, 2)
        leave(load.herds, 1)
        assert load.now() == {0: "pull 1", 2: "pull 1"}


def test_the_pruner_is_stopped_or_dies() -> None:
    """The herd begins when its prune is over, or when the worker that made it has ended."""
    load = Waiting(3, prune=True)
    load.begin(0, 1, 2)
    load.wait(0, 1, 2)
    assert load.now() == {2: "prune 1"}
    load.herds.stop(2)
    assert load.now() == {}
    load.wait(2)  # the prune is over
    assert load.now() == {0: "pull 1", 1: "pull 1", 2: "end"}
    load.wait(0, 1)
    assert load.now() == {1: "prune 2"}
    load.herds.end(1)
    assert load.now() == {0: "pull 2"}
    load.wait(0)
    assert load.now() == {0: "prune 3"}
    load.herds.stop(0)
    load.herds.end(0)
    assert load.now() == {}


def test_who_begins_during_a_prune_may_still_join_the_herd() -> None:
    load = Waiting(1, prune=True)
    load.begin(0)
    load.wait(0)
    assert load.now() == {0: "prune 1"}
    load.planned = 3
    load.begin(1, 2)
    load.wait(1)
    assert load.now() == {}
    load.wait(0)
    assert load.now() == {0: "pull 1", 1: "pull 1"}
    load.wait(0, 1)
    assert load.now() == {}
    load.wait(2)
    assert load.now() == {2: "prune 2"}


def test_a_worker_that_begins_again_is_waited_for() -> None:
    load = Waiting(2)
    load.begin(0, 1)
    load.herds.stop(1)
    load.herds.end(1)
    load.begin(1)
    load.wait(0)
    assert load.now() == {}
    load.wait(1)
    assert load.now() == {0: "pull 1", 1: "pull 1"}


def test_all_get_the_same_images_also_shuffled() -> None:
    herds = herds_of(lambda: 2, shuffled=True)
    got: dict[int, list[Turn | None]] = {0: [], 1: []}
    for worker in got:
        herds.begin(worker)
    for _ in range(9):
        for worker, turns in got.items():
            herds.wait(worker, turns.append)
    orders = [[turn.images[0] for turn in turns if turn is not None] for turns in got.values()]
    assert orders[0] == orders[1]
    passes = [orders[0][k : k + 3] for k in (0, 3, 6)]
    assert all(sorted(each) == sorted(IMAGES) for each in passes)
    assert [turn.pass_number for turn in got[0] if turn is not None] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_all_pulls_of_a_herd_are_first_pulls_or_none() -> None:
    warm = Warm()
    load = Waiting(2, warm=warm)
    load.begin(0, 1)
    firsts = []
    for _ in range(6):
        load.wait(0, 1)
        turns = [turns[0] for turns in load.got.values()]
        firsts.append({turn.first for turn in turns if turn is not None})
        warm.pulled(next(turn.images[0] for turn in turns if turn is not None))
        load.now()
    assert firsts == [{True}] * 3 + [{False}] * 3


# --- the tally ------------------------------------------------------------------------------------------------


def add(tally: HerdTally, herd: HerdPull, seconds: float = 1.0, outcome: str = OK, *, op: str = PULL) -> None:
    ended = (herd.started or 0.0) + seconds
    tally.add(Event(op, 0, 1, IMAGES[0], outcome, ended, seconds), herd)


def test_a_herd_counts_when_all_its_pulls_have_ended() -> None:
    tally = HerdTally()
    add(tally, HerdPull(1, 2, 10.0))
    add(tally, HerdPull(2, 1, 11.0))  # the other pull of the first herd still runs
    assert tally.count == 1
    add(tally, HerdPull(1, 2, 10.06), 5.0)
    assert (tally.count, tally.late) == (2, 1)
    latency, spread = tally.latencies.result(), tally.spread.result()
    assert latency is not None
    assert spread is not None
    assert (latency.min, latency.max) == pytest.approx((1000, 5060))
    assert (spread.min, spread.max) == pytest.approx((0, 60))


def test_what_is_no_pull_of_a_whole_herd_does_not_count() -> None:
    tally = HerdTally()
    add(tally, HerdPull(1, 2, 10.0))
    add(tally, HerdPull(1, 2, 10.1), outcome=INTERRUPTED)
    add(tally, HerdPull(2, 1), op=PRUNE)
    assert (tally.count, tally.late, tally.spread.result()) == (0, 0, None)


# --- workers in threads ---------------------------------------------------------------------------------------


class Puller:
    """Pulls at once; `images` are those that were pulled."""

    def __init__(self) -> None:
        self.images: list[Image] = []

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        if stopped():
            return []
        self.images += images
        return [Pulled(image, OK, time.monotonic(), 0.0, 1, 0) for image in images]


class Pruner:
    """Says of every image that the server does not have it, as if another worker had pruned it."""

    how = "made up"

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        for image in images:
            yield Pruned(image, FAILED, 0.0, Failure("not-found", "it is not there"))


class Overseer:
    """Keeps the events, and who has ended."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: queue.SimpleQueue[Worker] = queue.SimpleQueue()

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def worker_ended(self, worker: Worker) -> None:
        self.ended.put(worker)


def workers_of(
    count: int, overseer: Overseer, *, passes: int | None, prune: bool = False, shared: bool = True
) -> tuple[list[Worker], Puller]:
    puller, warm = Puller(), Warm()
    work = Work(puller=puller, pruner=Pruner() if prune else None, shared=shared, warm=warm, lean=False)
    herds = herds_of(lambda: count, prune=prune, warm=warm)
    return [
        Worker(
            index,
            ImageSet(f"{index + 1}/{count}", IMAGES),
            work,
            overseer,
            scratch=Path(),
            turns=HerdTurns(herds, index, images=len(IMAGES), passes=passes),
        )
        for index in range(count)
    ], puller


@pytest.mark.parametrize("prune", [False, True])
def test_workers_in_threads(prune: bool) -> None:
    overseer = Overseer()
    workers, puller = workers_of(20, overseer, passes=3, prune=prune)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert puller.images == [image for _ in range(3) for image in IMAGES for _ in workers]
    pulls = [event for event in overseer.events if event.op == PULL]
    prunes = [event for event in overseer.events if event.op == PRUNE]
    assert Counter(event.herd.number for event in pulls if event.herd) == dict.fromkeys(range(1, 10), 20)
    assert {event.worker: event.image_set for event in pulls} == {k: k for k in range(20)}
    assert {worker.passes for worker in workers} == {3}
    assert [event.herd.number for event in prunes if event.herd] == (list(range(1, 10)) if prune else [])
    assert {event.outcome for event in prunes} <= {OK}  # what another worker has pruned is pruned
    firsts = {event.herd.number for event in pulls if event.first and event.herd}
    assert firsts == (set(range(1, 10)) if prune else {1, 2, 3})
    assert all(len(worker.pruning) == (9 if prune else 0) for worker in workers)


def test_a_worker_with_images_of_its_own_fails_to_prune_what_is_not_there() -> None:
    overseer = Overseer()
    workers, _ = workers_of(1, overseer, passes=1, prune=True, shared=False)
    workers[0].start()
    workers[0].join()
    assert {event.outcome for event in overseer.events if event.op == PRUNE} == {FAILED}


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_nobody_waits_for_ever(seed: int) -> None:
    """Workers begin, are stopped and end in any order, also in the middle of a prune."""
    random, overseer = Random(seed), Overseer()
    workers, _ = workers_of(12, overseer, passes=random.choice([None, 2, 30]), prune=bool(seed % 2))
    begun: list[Worker] = []
    for worker in random.choices(workers, k=30):
        if worker in begun:
            worker.stop()
        else:
            begun.append(worker)
            worker.start()
    for worker in workers:
        worker.stop(hurry=True)
    for _ in begun:
        overseer.ended.get(timeout=SECONDS)
    for worker in begun:
        worker.join()
        assert worker.error is None

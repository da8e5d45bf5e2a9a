"""What a worker makes of its pulls, with a puller of which the test knows when it starts and when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lib.images import Image, ImageSet
from lib.load.event import Event
from lib.load.pace import MACHINE, Rate, Schedule
from lib.load.pull import Pulled
from lib.load.turns import OwnTurns, SharedTurns, Turns
from lib.load.worker import Work, Worker
from lib.outcomes import OK
from lib.servers.prune import Pruned

WAIT = 0.2
IMAGES = (Image("a", "1"), Image("b", "1"))


class Queuing:
    """A launch waits for its turn to start, and then takes a tenth of a second."""

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        time.sleep(WAIT)
        return [Pulled(image, OK, time.monotonic(), 0.1, 1, 0) for image in images]


class Crowded:
    """A launch's turn never comes; `waiting` is set once it waits for it."""

    def __init__(self) -> None:
        self.waiting = threading.Event()

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        self.waiting.set()
        while not stopped():
            time.sleep(0.01)
        return []


class Recorder:
    """A pruner that keeps what it was to prune."""

    how = "recorded"

    def __init__(self) -> None:
        self.images: list[Image] = []

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        self.images += images
        return iter(())


class Running:
    """A worker with both images in one batch, running; after its first Event it stops."""

    def __init__(self, puller: Queuing | Crowded, schedule: Schedule | None = None) -> None:
        self.events: list[Event] = []
        self.pruner = Recorder()
        images = ImageSet("p", IMAGES)
        turns: Turns = OwnTurns(0, images, batch=2, random=None, passes=None)
        if schedule is not None:
            turns = SharedTurns(schedule, [images], batch=2, randoms=[None])
        work = Work(puller=puller, pruner=self.pruner)
        self.worker = Worker(0, images, work, self, scratch=Path(), turns=turns)
        self.worker.start()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.worker.stop()

    def worker_ended(self, worker: Worker) -> None:
        pass


def begun_schedule() -> Schedule:
    schedule = Schedule(Rate(2.0, 2.0), 1.0)
    schedule.begin(time.monotonic())
    return schedule


def test_a_launch_takes_as_long_as_the_client_runs() -> None:
    running = Running(Queuing())
    running.worker.join()
    assert [(event.seconds, event.late) for event in running.events] == [(0.1, None)] * 2
    assert running.worker.passes == 1
    assert running.pruner.images == list(IMAGES)


def test_by_a_schedule_the_wait_for_a_turn_to_start_counts_too() -> None:
    schedule = begun_schedule()
    running = Running(Queuing(), schedule)
    running.worker.join()
    assert len(running.events) == schedule.taken == 2
    assert all(event.seconds >= 0.1 + WAIT and event.late == MACHINE for event in running.events)


def test_a_launch_that_a_stop_keeps_from_starting_is_no_attempt_and_goes_back_to_the_schedule() -> None:
    schedule, puller = begun_schedule(), Crowded()
    running = Running(puller, schedule)
    assert puller.waiting.wait(100)
    assert schedule.taken == 2
    running.worker.stop()
    running.worker.join()
    assert (running.events, running.worker.passes, running.pruner.images) == ([], 0, [])
    assert schedule.taken == 0
    assert schedule.unstarted(1.0) == 2

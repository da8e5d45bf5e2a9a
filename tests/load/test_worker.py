"""What a worker makes of its pulls, with a puller of which the test knows when it starts and when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lib.images import Image, ImageSet
from lib.load.curve import Curve, Rate
from lib.load.event import Event
from lib.load.order import AsListed
from lib.load.pace import MACHINE, Schedule
from lib.load.pull import Pulled, Puller
from lib.load.turns import OwnTurns, SharedTurns, Turns
from lib.load.worker import Work, Worker
from lib.outcomes import FAILED, OK
from lib.servers.prune import Pruned

WAIT = 0.2
IMAGES = (Image("a", "1"), Image("b", "1"))


class Queuing:
    """A launch waits for its turn to start, and then takes a tenth of a second."""

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        time.sleep(WAIT)
        return [Pulled(image, OK, time.monotonic(), 0.1, 1, 0) for image in images]


class Repulling:
    """The launch fails. One image is pulled again alone, and the other is the one to blame."""

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        started = time.monotonic()
        time.sleep(WAIT)
        return [
            Pulled(images[0], OK, time.monotonic(), 0.01, 2, 0, repulled=True),
            Pulled(images[1], FAILED, started, WAIT, 1, 0),
        ]


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

    def __init__(self, puller: Puller, schedule: Schedule | None = None, images: Any = IMAGES) -> None:
        self.events: list[Event] = []
        self.pruner = Recorder()
        image_set = ImageSet("p", images)
        turns: Turns = OwnTurns(0, AsListed(image_set), batch=2, passes=None)
        if schedule is not None:
            turns = SharedTurns(schedule, [image_set], batch=2, orders=[AsListed(image_set)])
        work = Work(puller=puller, pruner=self.pruner)
        self.worker = Worker(0, image_set, work, self, scratch=Path(), turns=turns)
        self.worker.start()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        self.worker.stop()

    def worker_ended(self, worker: Worker) -> None:
        pass


class Many(Sequence[Image]):
    """A million images, of which `read` counts those that somebody has looked at."""

    read = 0

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if index >= len(self):
            raise IndexError
        self.read = max(self.read, index + 1)
        return Image(f"app-{index}", "v1")


class Looking:
    """Pulls, and keeps how many images the worker had looked at by then."""

    def __init__(self, images: Many) -> None:
        self._images = images
        self.read: list[int] = []

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        self.read.append(self._images.read)
        return [Pulled(image, OK, time.monotonic(), 0.1, 1, 0) for image in images]


def test_the_first_pull_does_not_wait_for_a_million_images() -> None:
    images = Many()
    puller = Looking(images)
    running = Running(puller, images=images)
    running.worker.join()
    assert puller.read[0] <= 3  # a batch, and the image that shows its end


def begun_schedule() -> Schedule:
    schedule = Schedule(Curve(((Rate(2.0, 2.0), 1.0),)))
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


def test_an_image_that_is_pulled_again_alone_is_not_late() -> None:
    """A worker was free for the launch before it was due, and it started at once."""
    schedule = Schedule(Curve(((Rate(1.0, 1.0), 1.0),)))
    schedule.begin(time.monotonic() + 0.1)
    running = Running(Repulling(), schedule)
    running.worker.join()
    again, blamed = running.events
    assert (again.repulled, again.late) == (True, None)
    assert blamed.repulled is False


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

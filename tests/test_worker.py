"""What a worker makes of its pulls, with a puller of which the test knows when it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.events import OK, Event
from lib.images import Image, ImageSet
from lib.pace import Closed, Pace, Rate, Schedule
from lib.pull import Pulled
from lib.worker import Warm, Worker

WAIT = 0.2


class Crowded:
    """A launch waits for its turn to start, and then takes a tenth of a second."""

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        time.sleep(WAIT)
        return [Pulled(image, OK, time.monotonic(), 0.1, 1, 0) for image in images]


def one_event(pace: Pace) -> Event:
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        worker.stop()

    images = ImageSet("p", (Image("a", "1"),))
    worker = Worker(
        0, images, Crowded(), None, pace, Warm(), emit, lambda _: None, batch=1, scratch=Path(), random=None
    )
    worker.start()
    worker.join()
    return events[0]


def test_a_launch_takes_as_long_as_the_client_runs() -> None:
    event = one_event(Closed())
    assert (event.seconds, event.late) == (0.1, False)


def test_by_a_schedule_the_wait_for_a_turn_to_start_counts_too() -> None:
    schedule = Schedule(Rate(1.0, 1.0), 1.0)
    schedule.begin(time.monotonic())
    event = one_event(schedule)
    assert event.seconds >= 0.1 + WAIT
    assert event.late

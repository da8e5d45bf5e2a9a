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
    """A launch waits for its turn, in which a stop keeps it from starting, and then takes a tenth of a second."""

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> list[Pulled]:
        time.sleep(WAIT)
        if stopped():
            return []
        return [Pulled(image, OK, time.monotonic(), 0.1, 1, 0) for image in images]


def events_of(pace: Pace, *, stop_at: float = 2 * WAIT) -> list[Event]:
    """Of a worker that is stopped after so many seconds, and after its first Event."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        worker.stop()

    images = ImageSet("p", (Image("a", "1"), Image("b", "1")))
    worker = Worker(
        0, images, Crowded(), None, pace, Warm(), emit, lambda _: None, batch=1, scratch=Path(), random=None
    )
    worker.start()
    time.sleep(stop_at)
    worker.stop()
    worker.join()
    return events


def test_a_launch_takes_as_long_as_the_client_runs() -> None:
    (event,) = events_of(Closed())
    assert (event.seconds, event.late) == (0.1, False)


def test_by_a_schedule_the_wait_for_a_turn_to_start_counts_too() -> None:
    schedule = Schedule(Rate(1.0, 1.0), 1.0)
    schedule.begin(time.monotonic())
    (event,) = events_of(schedule)
    assert event.seconds >= 0.1 + WAIT
    assert event.late
    assert schedule.started == 1


def test_a_launch_that_a_stop_kept_from_starting_is_no_attempt_and_goes_back_to_the_schedule() -> None:
    schedule = Schedule(Rate(1.0, 1.0), 1.0)
    schedule.begin(time.monotonic())
    assert events_of(schedule, stop_at=WAIT / 2) == []
    assert schedule.started == 0
    assert schedule.unstarted(1.0) == 1

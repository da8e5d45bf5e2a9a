"""The warm-up in this process: each image once, in batches, as many at a time as there are folders, until a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic

import pytest

from lib.errors import RunError, Stopped
from lib.images import Image
from lib.load.pull import Pulled
from lib.load.warm_up import WarmUp, WarmUpOrders
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.processes.signals import Stop
from tests.support.waiting import SECONDS

IMAGES = [Image("app", f"v{k}") for k in range(10)]
GONE = Failure("not-found", "gone")


class Fake:
    """Pulls at once, except for some images: those fail, or last until `killed`."""

    def __init__(
        self, *, bad: Sequence[Image] = (), lasting: Sequence[Image] = (), together: int = 1
    ) -> None:
        self.launches: list[tuple[tuple[Image, ...], Path]] = []
        self.killed = threading.Event()
        self.lasts = threading.Event()
        self._bad, self._lasting = bad, lasting
        self._together = threading.Barrier(together)

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterable[Pulled]:
        self.launches.append((tuple(images), scratch))
        self._together.wait(SECONDS)
        for image in images:
            outcome = FAILED if image in self._bad else OK
            if image in self._lasting:
                self.lasts.set()
                assert self.killed.wait(SECONDS)
                outcome = INTERRUPTED
            elif outcome == FAILED and self._lasting:
                assert self.lasts.wait(SECONDS)
            yield Pulled(image, outcome, monotonic(), 0.0, 1, failure=GONE if outcome == FAILED else None)


def warm_up(fake: Fake, *, workers: int, batch: int = 1, images: Sequence[Image] = IMAGES) -> WarmUp:
    folders = [Path(f"/{k}") for k in range(workers)]
    return WarmUp(
        WarmUpOrders(
            puller=fake, images=images, batch=batch, folders=folders, kill=fake.killed.set, lean=False
        )
    )


@pytest.mark.parametrize(
    ("workers", "batch", "together"), [(1, 1, 1), (5, 1, 5), (2, 5, 2), (3, 4, 3), (20, 1, 10)]
)
def test_each_image_once_and_as_many_at_a_time_as_there_are_workers(
    workers: int, batch: int, together: int
) -> None:
    """The barrier would break if fewer pulls ran at a time."""
    fake = Fake(together=together)
    warming = warm_up(fake, workers=workers, batch=batch)
    warming.carry_out(Stop())
    assert sorted(image for images, _ in fake.launches for image in images) == IMAGES
    assert max(len(images) for images, _ in fake.launches) == batch
    assert len({folder for _, folder in fake.launches}) == together
    assert (warming.total, warming.pulled, warming.failed, warming.failure) == (10, 10, 0, None)
    assert warming.seconds > 0


def test_a_failure_ends_the_running_clients_and_starts_no_more() -> None:
    fake = Fake(bad=IMAGES[:1], lasting=IMAGES[1:2], together=2)
    warming = warm_up(fake, workers=2)
    warming.carry_out(Stop())
    assert [images for images, _ in fake.launches] in (
        [(IMAGES[0],), (IMAGES[1],)],
        [(IMAGES[1],), (IMAGES[0],)],
    )
    assert (warming.pulled, warming.failed, warming.failure) == (0, 1, (IMAGES[0], GONE))


def test_a_stop_ends_the_running_clients() -> None:
    fake, stop = Fake(lasting=IMAGES[:1]), Stop()
    warming = warm_up(fake, workers=1)

    def ask() -> None:
        assert fake.lasts.wait(SECONDS)
        stop.request(15)

    signal = threading.Thread(target=ask)
    signal.start()
    with pytest.raises(Stopped):
        warming.carry_out(stop)
    signal.join()
    assert (len(fake.launches), warming.pulled, warming.failed) == (1, 0, 0)


def test_after_a_stop_nothing_starts() -> None:
    fake, stop = Fake(), Stop()
    stop.request(2)
    with pytest.raises(Stopped):
        warm_up(fake, workers=3).carry_out(stop)
    assert fake.launches == []


def test_a_thread_that_cannot_start_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("warm-up"):
            begun.append(thread)
            if len(begun) > 1:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    fake = Fake(lasting=IMAGES)
    with pytest.raises(
        RunError, match=r"--warm-up: cannot start worker 1: can't start new thread; raise the limit"
    ):
        warm_up(fake, workers=3).carry_out(Stop())
    assert fake.killed.is_set()
    assert not begun[0].is_alive()


def test_a_fault_of_the_driver_ends_it() -> None:
    class Broken(Fake):
        def pull(
            self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
        ) -> Iterable[Pulled]:
            raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError):
        warm_up(Broken(), workers=2).carry_out(Stop())

"""Herds: all running workers pull the same image at the same moment, then the next one.

Before each image, the workers wait for each other. `Herds` decides who waits for whom. It calls workers back and never
waits itself, so a simulation can use it. Who belongs to a herd is known when it begins: all workers that wait then.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Container, Sequence
from time import monotonic

from ..images import Image
from .event import HerdPull
from .turns import OwnTurns, Turn

# The caller of a worker that waits: with its next turn, or with None if it has nothing more to do.
Go = Callable[[Turn | None], None]
_NEVER = threading.Event()


class Herds:
    """The herds of a run. Workers report when they begin, are stopped, wait for a turn, and end. Any thread may call.

    `order` gives the images, one by one. `planned` returns how many workers should run now: a herd waits until these
    have begun. If `prune`, one of the workers prunes the image before each herd, while the others wait. `warm` has the
    images that were pulled and not pruned since.
    """

    def __init__(
        self, order: OwnTurns, planned: Callable[[], int], *, prune: bool, warm: Container[Image] = ()
    ) -> None:
        self._order = order
        self._planned = planned
        self._prune = prune
        self._warm = warm
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._waiting: dict[int, Go] = {}
        self._known: set[int] = set()
        self._first_unknown = 0
        self._number = 0
        self._image: Turn | None = None
        self._pruner: int | None = None
        self._pruning_since = 0.0

    def begin(self, worker: int) -> None:
        """Adds a worker: the next herd waits for it."""
        with self._lock:
            self._running.add(worker)
            self._is_known(worker)

    def stop(self, worker: int) -> None:
        """Removes a worker: it gets no further launch, and no herd waits for it. A prune that it makes goes on."""
        with self._lock:
            calls = [*self._dismissed(worker), *self._next_calls()]
        _make(calls)

    def end(self, worker: int) -> None:
        """Removes a worker that has ended, for whatever reason. If it was to prune, the herd begins without that."""
        with self._lock:
            calls = self._dismissed(worker)
            calls += self._opened() if self._pruner == worker else self._next_calls()
        _make(calls)

    def wait(self, worker: int, go: Go) -> None:
        """Calls `go` with the worker's next turn: when the herd begins, when it is to prune, or when it is stopped."""
        with self._lock:
            if worker in self._running:
                self._waiting[worker] = go
                calls = self._opened() if self._pruner == worker else self._next_calls()
            else:
                calls = [(go, None)]
                calls += self._opened() if self._pruner == worker else []
        _make(calls)

    def _is_known(self, worker: int) -> None:
        """Notes that a worker has begun or will not. `_first_unknown` is the first of which neither is known."""
        if worker >= self._first_unknown:
            self._known.add(worker)
        while self._first_unknown in self._known:
            self._known.discard(self._first_unknown)
            self._first_unknown += 1

    def _dismissed(self, worker: int) -> list[tuple[Go, Turn | None]]:
        self._running.discard(worker)
        self._is_known(worker)
        go = self._waiting.pop(worker, None)
        return [] if go is None else [(go, None)]

    def _next_calls(self) -> list[tuple[Go, Turn | None]]:
        """Returns the calls that begin the next herd, or its prune, if nobody is missing."""
        missing = len(self._waiting) < len(self._running) or self._first_unknown < self._planned()
        if missing or not self._waiting or self._pruner is not None:
            return []
        self._image = self._order.next(_NEVER)
        assert self._image is not None  # the order is endless
        self._number += 1
        if not self._prune:
            return self._opened()
        self._pruner, go = self._waiting.popitem()
        self._pruning_since = monotonic()
        herd = HerdPull(self._number, len(self._waiting) + 1)
        return [(go, self._image._replace(image_set=self._pruner, is_prune=True, herd=herd))]

    def _opened(self) -> list[tuple[Go, Turn | None]]:
        """Returns the calls that begin the herd, with all workers that wait now."""
        assert self._image is not None
        pruner, self._pruner = self._pruner, None
        now, turn = monotonic(), self._image
        self._order.ended(turn, ())
        members, self._waiting = self._waiting, {}
        begun = turn._replace(
            herd=HerdPull(self._number, len(members)),
            first=turn.images[0] not in self._warm,
            due=now,
            asked=now,
        )
        pruning = None if pruner is None else (self._pruning_since, now)
        return [
            (go, begun._replace(image_set=worker, pruning=None if worker == pruner else pruning))
            for worker, go in members.items()
        ]


def _make(calls: Sequence[tuple[Go, Turn | None]]) -> None:
    for go, turn in calls:
        go(turn)


class HerdTurns:
    """The turns of one worker in the herds. With `passes`, it ends after so many passes over its `images`."""

    scheduled = False

    def __init__(self, herds: Herds, worker: int, *, images: int, passes: int | None) -> None:
        self._herds = herds
        self._worker = worker
        self._images = images
        self._left = None if passes is None else passes * images
        self._pulls = 0

    def begin(self) -> None:
        self._herds.begin(self._worker)

    def stop(self) -> None:
        self._herds.stop(self._worker)

    def end(self) -> None:
        self._herds.end(self._worker)

    def next(self, stopping: threading.Event) -> Turn | None:
        if self._pulls == self._left:
            return None
        box: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._herds.wait(self._worker, box.put)
        return box.get()

    def give_back(self, turn: Turn) -> None:
        """The worker ends, and its herd is not complete."""

    def ended(self, turn: Turn, pulled: Sequence[Image]) -> Sequence[Image]:
        self._pulls += 1
        return ()

    def passes(self, image_set: int) -> int:
        return self._pulls // self._images

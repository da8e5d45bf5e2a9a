"""Which images a launch pulls: those of the worker's own set (closed model), or those of the launch's number (open).

By a schedule, any free worker takes the next launch. If it took the next images of its own set, workers with slow
images would take fewer turns, and the server's speed would decide which images are pulled. So there is one sequence for
all workers: the image sets take turns, and each goes through its images in order. With batches, the launches of a small
set have fewer images, so it gets more turns: the sets have equal shares of the pulls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapreplace
from time import monotonic
from typing import NamedTuple, Protocol

from ..images import Image, ImageSet
from .event import HerdPull
from .order import Order
from .pace import Schedule
from .pull import batches


class Turn(NamedTuple):
    """The images of one launch. They are from image set `image_set` (an index) and from its pass `pass_number`, from 1.

    `due` is the monotonic time at which the launch is due; `asked` is when a worker was free for it. `group` is the
    number of the group of launches whose images are pruned together.

    In herds, `herd` is the herd of the launch, and `first` says whether its pulls are first pulls. `is_prune`: the
    worker is to prune the images, not to pull them. `pruning`: when the worker waited for another's prune (monotonic).
    """

    images: Sequence[Image]
    image_set: int
    pass_number: int
    due: float
    asked: float
    group: int = 0
    herd: HerdPull | None = None
    first: bool | None = None
    is_prune: bool = False
    pruning: tuple[float, float] | None = None


class Turns(Protocol):
    """Where workers get their launches. `scheduled`: latencies count from the time that a launch is due."""

    scheduled: bool

    def begin(self) -> None:
        """Records that a worker begins."""
        ...

    def stop(self) -> None:
        """Records that a worker is stopped. If it waits for its next launch, it gets none. May be called again."""
        ...

    def end(self) -> None:
        """Records that a worker has ended, for whatever reason."""
        ...

    def next(self, stopping: threading.Event) -> Turn | None:
        """Waits until a launch is due and returns it; None if the worker has nothing more to do."""
        ...

    def give_back(self, turn: Turn) -> None:
        """Takes back a launch that was not started."""
        ...

    def ended(self, turn: Turn, pulled: Sequence[Image]) -> Sequence[Image]:
        """Records that a launch ended and pulled these images. Returns the images that are to be pruned now."""
        ...

    def passes(self, image_set: int) -> int:
        """Returns how many passes over this image set are finished."""
        ...


class Independent:
    """Turns of workers that do not wait for each other."""

    def begin(self) -> None:
        """Nobody waits for the worker."""

    def stop(self) -> None:
        """Nobody waits for the worker."""

    def end(self) -> None:
        """Nobody waits for the worker."""


class _Passes:
    """Goes through the images of an order pass by pass, in batches.

    It makes batch by batch: a set may have a million images, and the first pull must not wait for them. `taken` is the
    number of images taken in this pass.
    """

    def __init__(self, order: Order, batch: int) -> None:
        self.number = 0
        self.taken = 0
        self._order = order
        self._batch = batch
        self._batches: Iterator[list[Image]] = iter(())
        self._ahead: list[Image] | None = None

    def next(self) -> Sequence[Image]:
        """Returns the next batch, of the next pass if this one is over."""
        if self.is_over:
            self._batches = batches(self._order.next_pass(), self._batch)
            self.number += 1
            self.taken = 0
        batch = self._ahead if self._ahead is not None else next(self._batches)
        self._ahead = None
        self.taken += len(batch)
        return batch

    @property
    def is_over(self) -> bool:
        """Whether no batch of this pass is left."""
        if self._ahead is None:
            self._ahead = next(self._batches, None)
        return self._ahead is None


class OwnTurns(Independent):
    """The turns of one worker of the closed model: it makes passes over its own images, `passes` of them or endless.

    `order` gives the images of its set. What a pass pulled more than once is to be pruned once.
    """

    scheduled = False

    def __init__(self, index: int, order: Order, *, batch: int, passes: int | None) -> None:
        self._index = index
        self._wanted = passes
        self._done = 0
        self._order = _Passes(order, batch)
        self._pulled: dict[Image, None] = {}
        self._returned: Turn | None = None

    def next(self, stopping: threading.Event) -> Turn | None:
        if stopping.is_set() or self._done == self._wanted:
            return None
        if self._returned is not None:
            turn, self._returned = self._returned, None
            return turn
        images, now = self._order.next(), monotonic()
        return Turn(images=images, image_set=self._index, pass_number=self._order.number, due=now, asked=now)

    def give_back(self, turn: Turn) -> None:
        self._returned = turn

    def ended(self, turn: Turn, pulled: Sequence[Image]) -> Sequence[Image]:
        self._pulled.update(dict.fromkeys(pulled))
        if not self._order.is_over:
            return ()
        self._done += 1
        done, self._pulled = list(self._pulled), {}
        return done

    def passes(self, image_set: int) -> int:
        return self._done


@dataclass(slots=True)
class _Group:
    """Launches of one set whose images are pruned together once all have ended. `whole`: no more launches join it."""

    running: int = 0
    whole: bool = False
    last_of_pass: bool = False
    pulled: dict[Image, None] = field(default_factory=dict)


class SharedTurns(Independent):
    """The turns of all workers of the open model: a launch takes the next images of the set with the fewest pulls yet.

    The images of a set are pruned in two groups, each a half of a pass. So there is half a pass of time to prune an
    image before its next turn.
    """

    scheduled = True

    def __init__(
        self,
        schedule: Schedule,
        image_sets: Sequence[ImageSet],
        *,
        batch: int,
        orders: Sequence[Order],
    ) -> None:
        self._schedule = schedule
        self._orders = [_Passes(order, batch) for order in orders]
        self._half = [-(-len(each.images) // 2) for each in image_sets]
        self._finished = [0] * len(image_sets)
        self._groups: dict[tuple[int, int], _Group] = {}
        # for each set: (the pulls taken so far, its index); the first is the next to take a turn
        self._shares = [(0, index) for index in range(len(image_sets))]
        self._lock = threading.Lock()

    def next(self, stopping: threading.Event) -> Turn | None:
        asked = monotonic()
        turn = self._take(asked)
        if turn is None:
            stopping.wait()  # until the load ends or the worker is stopped
            return None
        if not self._schedule.wait(turn.due, stopping):
            self.give_back(turn)
            return None
        return turn

    def _take(self, asked: float) -> Turn | None:
        with self._lock:
            due = self._schedule.due()
            if due is None:
                return None
            pulls, index = self._shares[0]
            order = self._orders[index]
            images = order.next()
            heapreplace(self._shares, (pulls + len(images), index))
            self._schedule.take(len(images))
            second = order.taken - len(images) >= self._half[index]
            number = 2 * order.number + second
            group = self._groups.setdefault((index, number), _Group())
            group.running += 1
            group.last_of_pass = order.is_over
            group.whole = order.is_over or (not second and order.taken >= self._half[index])
            return Turn(
                images=images, image_set=index, pass_number=order.number, due=due, asked=asked, group=number
            )

    def give_back(self, turn: Turn) -> None:
        self._schedule.give_back(len(turn.images))

    def ended(self, turn: Turn, pulled: Sequence[Image]) -> Sequence[Image]:
        with self._lock:
            group = self._groups[turn.image_set, turn.group]
            group.running -= 1
            group.pulled.update(dict.fromkeys(pulled))
            if group.running or not group.whole:
                return ()
            del self._groups[turn.image_set, turn.group]
            self._finished[turn.image_set] += group.last_of_pass
            return list(group.pulled)

    def passes(self, image_set: int) -> int:
        return self._finished[image_set]

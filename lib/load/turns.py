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
from random import Random
from time import monotonic
from typing import NamedTuple, Protocol

from ..images import Image, ImageSet
from .pace import Schedule
from .pull import batches


class Turn(NamedTuple):
    """The images of one launch. They are from image set `image_set` (an index) and from its pass `pass_number`, from 1.

    `due` is the monotonic time at which the launch is due; `asked` is when a worker was free for it. `group` is the
    number of the group of launches whose images are pruned together.
    """

    images: Sequence[Image]
    image_set: int
    pass_number: int
    due: float
    asked: float
    group: int = 0


class Turns(Protocol):
    """Where workers get their launches. `scheduled`: latencies count from the time that a launch is due."""

    scheduled: bool

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


class _Passes:
    """Goes through an image set again and again, in batches; shuffles it between passes if `random` is given.

    It makes batch by batch: a set may have a million images, and the first pull must not wait for them. `taken` is the
    number of images taken in this pass.
    """

    def __init__(self, image_set: ImageSet, batch: int, random: Random | None) -> None:
        self.number = 0
        self.taken = 0
        self._images: Sequence[Image] = image_set.images
        self._batch = batch
        self._random = random
        self._batches: Iterator[list[Image]] = iter(())
        self._ahead: list[Image] | None = None

    def next(self) -> Sequence[Image]:
        """Returns the next batch, of the next pass if this one is over."""
        if self.is_over:
            if self.number and self._random is not None:
                shuffled = list(self._images)
                self._random.shuffle(shuffled)
                self._images = shuffled
            self._batches = batches(self._images, self._batch)
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


class OwnTurns:
    """The turns of one worker of the closed model: it makes passes over its own images, `passes` of them or endless."""

    scheduled = False

    def __init__(
        self, index: int, image_set: ImageSet, *, batch: int, random: Random | None, passes: int | None
    ) -> None:
        self._index = index
        self._wanted = passes
        self._done = 0
        self._order = _Passes(image_set, batch, random)
        self._pulled: list[Image] = []

    def next(self, stopping: threading.Event) -> Turn | None:
        if stopping.is_set() or self._done == self._wanted:
            return None
        images, now = self._order.next(), monotonic()
        return Turn(images=images, image_set=self._index, pass_number=self._order.number, due=now, asked=now)

    def give_back(self, turn: Turn) -> None:
        """The worker ends, so nobody takes the launch again."""

    def ended(self, turn: Turn, pulled: Sequence[Image]) -> Sequence[Image]:
        self._pulled += pulled
        if not self._order.is_over:
            return ()
        self._done += 1
        done, self._pulled = self._pulled, []
        return done

    def passes(self, image_set: int) -> int:
        return self._done


@dataclass(slots=True)
class _Group:
    """Launches of one set whose images are pruned together once all have ended. `whole`: no more launches join it."""

    running: int = 0
    whole: bool = False
    last_of_pass: bool = False
    pulled: list[Image] = field(default_factory=list)


class SharedTurns:
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
        randoms: Sequence[Random | None],
    ) -> None:
        self._schedule = schedule
        self._orders = [
            _Passes(image_set, batch, random) for image_set, random in zip(image_sets, randoms, strict=True)
        ]
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
            group.pulled += pulled
            if group.running or not group.whole:
                return ()
            del self._groups[turn.image_set, turn.group]
            self._finished[turn.image_set] += group.last_of_pass
            return group.pulled

    def passes(self, image_set: int) -> int:
        return self._finished[image_set]

"""One worker: pulls one launch after another, as its turns come, and emits an Event for each image.

A failed pull or prune is an Event like any other. A worker ends when it is stopped or has finished its passes, and
never in the middle of a launch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

from ..images import Image, ImageSet
from ..outcomes import INTERRUPTED, OK
from ..processes.cpu_priority import use_batch_scheduling
from ..servers.prune import Pruned, Pruner, absent_is_pruned
from ..sizes import Sizes
from .event import PRUNE, PULL, Event
from .pace import why_late
from .pull import Pulled, Puller
from .share import WHOLE, Share
from .turns import Turn, Turns


class Doing(NamedTuple):
    """What a worker does now, for the live view. `number` counts its images in this pass, the current launch included.

    `image` is the first image of the current launch.
    """

    what: str
    number: int = 0
    image: Image | None = None


WAITING, PULLING, PRUNING, STOPPED = "waiting", "pulling", "pruning", "stopped"


class Warm:
    """The images pulled since the run began or since they were last pruned. All workers share one instance."""

    def __init__(self) -> None:
        self._pulled: set[Image] = set()

    def __contains__(self, image: object) -> bool:
        return image in self._pulled

    def pulled(self, image: Image) -> None:
        self._pulled.add(image)

    def pruned(self, image: Image) -> None:
        self._pulled.discard(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the workers of a run share.

    `pruner` is None unless images are pruned during the load. `shared`: workers have the same images, so another worker
    may have pruned an image already.
    `lean`: worker threads and clients run under SCHED_BATCH (see `cpu_priority`).
    `sizes`: those of the images; None if no size is known. `share`: which workers of the whole load these are.
    """

    puller: Puller
    pruner: Pruner | None
    shared: bool = False
    warm: Warm = field(default_factory=Warm)
    lean: bool = True
    sizes: Sizes | None = None
    share: Share = WHOLE


class Overseer(Protocol):
    """Receives what the workers report. Workers call it from their own threads."""

    def emit(self, event: Event) -> None:
        """Receives an Event."""
        ...

    def worker_ended(self, worker: Worker) -> None:
        """Receives a worker that has ended; no Event of it follows."""
        ...


class Worker:
    """Pulls in its own thread, from `start` until `stop` and the end of the current pull.

    It emits every Event to its overseer and reports its end. Its `turns` say what it pulls when, and end it after the
    last launch of fixed work. `pruning` has the begin and end (monotonic) of each time that it pruned. `index` is its
    place among the workers of this driver, `number` that in the whole load.
    """

    def __init__(
        self,
        index: int,
        image_set: ImageSet,
        work: Work,
        overseer: Overseer,
        *,
        scratch: Path,
        turns: Turns,
    ) -> None:
        self.index = index
        self.number = work.share.number_in_whole(index)
        self.image_set = image_set
        self.pruning: list[tuple[float, float]] = []
        self.doing = Doing(WAITING)
        self.error: BaseException | None = None
        self._work = work
        self._puller, self._turns, self._warm = work.puller, turns, work.warm
        self._sizes = work.sizes
        self._overseer = overseer
        self._scratch = scratch
        self._stopping = threading.Event()
        self._hurrying = threading.Event()
        self._lock = threading.Lock()
        self._ended = False
        self._resumed = False
        self._thread: threading.Thread | None = None

    @property
    def passes(self) -> int:
        """The finished passes over the worker's image set; with a schedule, all workers make them together."""
        return self._turns.passes(self.index)

    def start(self) -> None:
        """Starts a thread, also after an earlier one has ended. Raises RuntimeError if this machine cannot."""
        self._stopping.clear()
        self._ended = self._resumed = False
        thread = threading.Thread(target=self._run, name=f"worker {self.number}", daemon=True)
        self._turns.begin()
        thread.start()
        self._thread = thread

    def stop(self, *, hurry: bool = False) -> None:
        """Ends the worker after its current pull. If that pull finishes a pass, the prune follows unless `hurry`."""
        if hurry:
            self._hurrying.set()
        self._stopping.set()
        self._turns.stop()

    def resume(self) -> bool:
        """Takes back a stop. Returns False if the worker has ended already."""
        with self._lock:
            if self._ended:
                return False
            self._stopping.clear()
            self._resumed = True
            self._turns.begin()
            return True

    def join(self) -> None:
        """Waits for the end of the thread, if there is one."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        if self._work.lean:
            use_batch_scheduling()
        try:
            while True:
                self._launches()
                if self._is_over():
                    break
        except BaseException as error:
            self.error = error  # a fault in the driver must end the run, not vanish with the thread
        finally:
            self._turns.end()
            self.doing = Doing(STOPPED, self.doing.number)
            self._overseer.worker_ended(self)

    def _is_over(self) -> bool:
        with self._lock:
            resumed, self._resumed = self._resumed, False
            self._ended = not resumed
            return self._ended

    def _launches(self) -> None:
        number, pass_number = 0, 0
        while (turn := self._turns.next(self._stopping)) is not None:
            if turn.pruning is not None:
                self.pruning.append(turn.pruning)
            if turn.is_prune:
                self.doing = Doing(PRUNING, number)
                self._prune(turn, turn.images)
                self.doing = Doing(WAITING, number)
                continue
            number = number + len(turn.images) if turn.pass_number == pass_number else len(turn.images)
            pass_number = turn.pass_number
            self.doing = Doing(PULLING, number, turn.images[0])
            pulled = self._pull(turn)
            if pulled is None:
                return
            self.doing = Doing(WAITING, number)
            to_prune = self._turns.ended(turn, pulled)
            if to_prune and self._work.pruner is not None:
                self.doing = Doing(PRUNING, number)
                self._prune(turn, to_prune)

    def _pull(self, turn: Turn) -> list[Image] | None:
        """Returns the images that were pulled; None if a stop interrupted the launch or prevented its start.

        Each launch gives one latency. It counts as a first pull if any image of the batch is pulled for the first time.
        """
        first = {image for image in turn.images if self._is_first(turn, image)}
        timed = next(image for image in turn.images if image in first) if first else turn.images[0]
        done, cut_short, started = [], False, False
        fetched: set[str] = set()  # layers that this launch has fetched
        for pulled in self._puller.pull(turn.images, self._scratch, self._stopping.is_set):
            image, started = pulled.image, True
            cut_short |= pulled.outcome == INTERRUPTED
            if pulled.outcome == OK:
                self._warm.pulled(image)
                done.append(image)
            self._overseer.emit(
                self._pull_event(
                    turn,
                    pulled,
                    first=image in first,
                    timed=pulled.whole and image is timed,
                    size=self._size(pulled, fetched),
                )
            )
        if not started:
            self._turns.give_back(turn)
        return done if started and not cut_short else None

    def _size(self, pulled: Pulled, fetched: set[str]) -> int | None:
        if pulled.outcome != OK or self._sizes is None:
            return None
        # an image that was pulled again alone shares nothing with the others of its batch
        return self._sizes.of(pulled.image) if pulled.repulled else self._sizes.of_next(pulled.image, fetched)

    def _is_first(self, turn: Turn, image: Image) -> bool:
        return image not in self._warm if turn.first is None else turn.first

    def _pull_event(self, turn: Turn, pulled: Pulled, *, first: bool, timed: bool, size: int | None) -> Event:
        scheduled = self._turns.scheduled
        # the delay includes the wait for a free launch slot; a pull that is made again was not due
        delay = pulled.started - turn.due if scheduled and not pulled.repulled else 0.0
        ended = monotonic()
        return Event(
            op=PULL,
            worker=self.index,
            pass_number=turn.pass_number,
            image=pulled.image,
            outcome=pulled.outcome,
            ended=ended,
            seconds=pulled.seconds + delay,
            first=first,
            retries=pulled.retries,
            failure=pulled.failure,
            cpu_seconds=pulled.cpu_seconds,
            launch=pulled.launch,
            timed=timed,
            repulled=pulled.repulled,
            late=why_late(turn.due, turn.asked, pulled.started)
            if scheduled and not pulled.repulled
            else None,
            began=min(ended, ended - pulled.seconds),
            image_set=turn.image_set,
            herd=turn.herd._replace(started=pulled.started) if turn.herd is not None else None,
            size=size,
        )

    def _prune(self, turn: Turn, images: Sequence[Image]) -> None:
        pruner, began = self._work.pruner, monotonic()
        if pruner is None:
            return
        try:
            for each in pruner.prune(list(images), self._scratch, self._hurrying.is_set):
                pruned = absent_is_pruned(each) if self._work.shared else each
                if pruned.outcome == OK:
                    self._warm.pruned(pruned.image)
                event = prune_event(self.index, turn.pass_number, pruned, turn.image_set)
                self._overseer.emit(event._replace(herd=turn.herd))
        finally:
            self.pruning.append((began, monotonic()))


def prune_event(worker: int, pass_number: int, pruned: Pruned, image_set: int | None = None) -> Event:
    """Returns the Event for the prune of one image, ended now."""
    return Event(
        op=PRUNE,
        worker=worker,
        pass_number=pass_number,
        image=pruned.image,
        outcome=pruned.outcome,
        ended=monotonic(),
        seconds=pruned.seconds,
        retries=0,
        failure=pruned.failure,
        cpu_seconds=pruned.cpu_seconds,
        image_set=image_set,
    )

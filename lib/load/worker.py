"""One worker: makes passes over its ImageSet, one launch after another, and emits an Event for each image.

A failed pull or prune is an Event like any other. A worker ends when it is stopped or has finished its passes, and
never in the middle of a launch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import NamedTuple, Protocol

from ..images import Image, ImageSet
from ..outcomes import INTERRUPTED, OK
from ..processes.cpu_priority import use_batch_scheduling
from ..servers.prune import Pruned, Pruner
from .event import PRUNE, PULL, Event
from .pace import LATE_SECONDS, Pace
from .pull import Pulled, Puller, batches


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

    def __contains__(self, image: Image) -> bool:
        return image in self._pulled

    def pulled(self, image: Image) -> None:
        self._pulled.add(image)

    def pruned(self, image: Image) -> None:
        self._pulled.discard(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the workers of a run share.

    `pruner` is None unless each worker prunes its images after every pass. A launch pulls at most `batch` images.
    `passes` is the number of passes per worker; None if only a stop ends a worker.
    `lean`: worker threads and clients run under SCHED_BATCH (see `cpu_priority`).
    """

    puller: Puller
    pruner: Pruner | None
    pace: Pace
    warm: Warm = field(default_factory=Warm)
    batch: int = 1
    lean: bool = True
    passes: int | None = None


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

    It emits every Event to its overseer and reports its end. `passes` counts the finished passes. A worker with a fixed
    number of passes ends after the last one.
    """

    def __init__(
        self,
        index: int,
        image_set: ImageSet,
        work: Work,
        overseer: Overseer,
        *,
        scratch: Path,
        random: Random | None,
    ) -> None:
        self.index = index
        self.image_set = image_set
        self.passes = 0
        self.doing = Doing(WAITING)
        self.error: BaseException | None = None
        self._work = work
        self._puller, self._pace, self._warm = work.puller, work.pace, work.warm
        self._overseer = overseer
        self._scratch = scratch
        self._random = random
        self._stopping = threading.Event()
        self._hurrying = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker {index}", daemon=True)

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError if this machine cannot start one."""
        self._thread.start()

    def stop(self, *, hurry: bool = False) -> None:
        """Ends the worker after its current pull. If that pull finishes a pass, the prune follows unless `hurry`."""
        if hurry:
            self._hurrying.set()
        self._stopping.set()

    def join(self) -> None:
        """Waits for the end of the thread."""
        self._thread.join()

    def _run(self) -> None:
        if self._work.lean:
            use_batch_scheduling()
        try:
            self._passes()
        except BaseException as error:
            self.error = error  # a fault in the driver must end the run, not vanish with the thread
        finally:
            self.doing = Doing(STOPPED, self.doing.number)
            self._overseer.worker_ended(self)

    def _passes(self) -> None:
        images: Sequence[Image] = self.image_set.images
        while not self._stopping.is_set() and self.passes != self._work.passes:
            if self._random is not None and self.passes:
                shuffled = list(images)
                self._random.shuffle(shuffled)
                images = shuffled
            pulled: list[Image] = []
            number = 0
            # made one by one: a worker may have a million images, and its first pull must not wait for them
            for batch in batches(images, self._work.batch):
                due = self._pace.next(len(batch), self._stopping)
                if due is None:
                    return
                number += len(batch)
                self.doing = Doing(PULLING, number, batch[0])
                done = self._pull(batch, due)
                if done is None:
                    return
                pulled += done
                self.doing = Doing(WAITING, number)
            if self._work.pruner is not None:
                self.doing = Doing(PRUNING, len(images))
                self._prune(self._work.pruner, pulled)
            self.passes += 1

    def _pull(self, batch: Sequence[Image], due: float) -> list[Image] | None:
        """Returns the images that were pulled; None if a stop interrupted the launch or prevented its start.

        Each launch gives one latency. It counts as a first pull if any image of the batch is pulled for the first time.
        """
        first = {image for image in batch if image not in self._warm}
        timed = next(image for image in batch if image in first) if first else batch[0]
        done, cut_short, started = [], False, False
        for pulled in self._puller.pull(batch, self._scratch, self._stopping.is_set):
            image, started = pulled.image, True
            cut_short |= pulled.outcome == INTERRUPTED
            if pulled.outcome == OK:
                self._warm.pulled(image)
                done.append(image)
            # the delay includes the wait for a free launch slot
            delay = pulled.started - due if self._pace.scheduled else 0.0
            self._overseer.emit(
                self._pull_event(pulled, image in first, pulled.whole and image is timed, delay)
            )
        if not started:
            self._pace.give_back(len(batch))
        return done if started and not cut_short else None

    def _pull_event(self, pulled: Pulled, first: bool, timed: bool, delay: float) -> Event:
        return Event(
            op=PULL,
            worker=self.index,
            pass_number=self.passes + 1,
            image=pulled.image,
            outcome=pulled.outcome,
            ended=monotonic(),
            seconds=pulled.seconds if pulled.repulled else pulled.seconds + delay,
            first=first,
            retries=pulled.retries,
            failure=pulled.failure,
            cpu_seconds=pulled.cpu_seconds,
            launch=pulled.launch,
            timed=timed,
            repulled=pulled.repulled,
            late=delay > LATE_SECONDS,
        )

    def _prune(self, pruner: Pruner, images: list[Image]) -> None:
        for pruned in pruner.prune(images, self._scratch, self._hurrying.is_set):
            if pruned.outcome == OK:
                self._warm.pruned(pruned.image)
            self._overseer.emit(prune_event(self.index, self.passes + 1, pruned))


def prune_event(worker: int, pass_number: int, pruned: Pruned) -> Event:
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
    )

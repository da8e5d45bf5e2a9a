"""One worker: passes over its ImageSet, one launch after the other, each image becoming an Event.

A failed pull or prune is an Event like any other; only a stop ends a worker, and never in mid-launch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from time import monotonic
from typing import NamedTuple

from ..images import Image, ImageSet
from ..outcomes import INTERRUPTED, OK
from ..processes.cpu_priority import preempt_nobody
from ..servers.prune import Pruned, Pruner
from .event import PRUNE, PULL, Event
from .pace import LATE_SECONDS, Pace
from .pull import Pulled, Puller, batches


class Doing(NamedTuple):
    """What a worker does now, for who watches; `number` counts the images of its pass, to the last of the launch."""

    what: str
    number: int = 0
    image: Image | None = None


WAITING, PULLING, PRUNING, STOPPED = "waiting", "pulling", "pruning", "stopped"


class Warm:
    """Which images have been pulled since the run began or since they were pruned; all workers share one."""

    def __init__(self) -> None:
        self._pulled: set[Image] = set()

    def __contains__(self, image: Image) -> bool:
        return image in self._pulled

    def pulled(self, image: Image) -> None:
        self._pulled.add(image)

    def pruned(self, image: Image) -> None:
        self._pulled.discard(image)


class Worker:
    """Runs in a thread of its own from `start` until `stop` and the end of the pull that it is in.

    It hands every Event to `emit`, tells `ended` when it is over, and counts its finished passes in `passes`. Of fixed
    work it makes `passes_wanted`, and ends without being stopped.
    """

    def __init__(
        self,
        index: int,
        image_set: ImageSet,
        puller: Puller,
        pruner: Pruner | None,
        pace: Pace,
        warm: Warm,
        emit: Callable[[Event], None],
        ended: Callable[[Worker], None],
        *,
        batch: int,
        scratch: Path,
        random: Random | None,
        lean: bool = True,
        passes_wanted: int | None = None,
    ) -> None:
        self.index = index
        self.image_set = image_set
        self.passes = 0
        self.doing = Doing(WAITING)
        self.error: BaseException | None = None
        self._puller = puller
        self._pruner = pruner
        self._pace = pace
        self._warm = warm
        self._emit = emit
        self._ended = ended
        self._batch = batch
        self._scratch = scratch
        self._random = random
        self._lean = lean
        self._passes_wanted = passes_wanted
        self._stopping = threading.Event()
        self._hurrying = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker {index}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, hurry: bool = False) -> None:
        """End after the pull it is in and, where that finished a pass, its prune; in a hurry without the prune."""
        if hurry:
            self._hurrying.set()
        self._stopping.set()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        if self._lean:
            preempt_nobody()
        try:
            self._passes()
        except BaseException as error:
            self.error = error  # a fault of the driver's own must end the run, not vanish with the thread
        finally:
            self.doing = Doing(STOPPED, self.doing.number)
            self._ended(self)

    def _passes(self) -> None:
        images = list(self.image_set.images)
        in_batches = list(batches(images, self._batch))
        while not self._stopping.is_set() and self.passes != self._passes_wanted:
            if self._random is not None and self.passes:
                self._random.shuffle(images)
                in_batches = list(batches(images, self._batch))
            pulled: list[Image] = []
            number = 0
            for batch in in_batches:
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
            if self._pruner is not None:
                self.doing = Doing(PRUNING, len(images))
                self._prune(self._pruner, pulled)
            self.passes += 1

    def _pull(self, batch: Sequence[Image], due: float) -> list[Image] | None:
        """Those that were pulled, None where a stop cut it short or kept it from starting.

        A launch gives one latency, a first one where one of its images was.
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
            # a launch may have waited for its turn, too
            delay = pulled.started - due if self._pace.scheduled else 0.0
            self._emit(self._pull_event(pulled, image in first, pulled.whole and image is timed, delay))
        if not started:
            self._pace.give_back(len(batch))
        return done if started and not cut_short else None

    def _pull_event(self, pulled: Pulled, first: bool, timed: bool, delay: float) -> Event:
        return Event(
            PULL,
            self.index,
            self.passes + 1,
            pulled.image,
            pulled.outcome,
            monotonic(),
            pulled.seconds if pulled.repulled else pulled.seconds + delay,
            first,
            pulled.retries,
            pulled.failure,
            pulled.cpu_seconds,
            pulled.launch,
            timed,
            pulled.repulled,
            delay > LATE_SECONDS,
        )

    def _prune(self, pruner: Pruner, images: list[Image]) -> None:
        for pruned in pruner.prune(images, self._scratch, self._hurrying.is_set):
            if pruned.outcome == OK:
                self._warm.pruned(pruned.image)
            self._emit(prune_event(self.index, self.passes + 1, pruned))


def prune_event(worker: int, pass_number: int, pruned: Pruned) -> Event:
    return Event(
        PRUNE,
        worker,
        pass_number,
        pruned.image,
        pruned.outcome,
        monotonic(),
        pruned.seconds,
        False,
        0,
        pruned.failure,
        pruned.cpu_seconds,
    )

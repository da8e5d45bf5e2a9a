"""One worker: passes over its ImageSet, one pull after the other, each becoming an Event.

A failed pull or prune is an Event like any other; only a stop ends a worker, and never in mid-pull.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Protocol

from .clients import Client, failure_of
from .events import FAILED, INTERRUPTED, OK, PRUNE, PULL, Event
from .failures import Failure, retries
from .images import Image, ImageSet
from .launch import Launcher
from .prune import Pruned, Pruner

# A client that cannot even be started fails in microseconds; the pause keeps such a run from spinning.
_PAUSE_AFTER_NO_START = 0.1
# What a dry run spends on an image, in seconds.
_DRY_PULL = 0.005


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of pulling one image."""

    outcome: str
    seconds: float
    retries: int | None = None
    failure: Failure | None = None
    cpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Doing:
    """What a worker does now, for who watches; `number` counts the images of its pass."""

    what: str
    number: int = 0
    image: Image | None = None


WAITING, PULLING, PRUNING, STOPPED = "waiting", "pulling", "pruning", "stopped"


class Puller(Protocol):
    """Pulls one image; `scratch` is the worker's own folder."""

    def pull(self, image: Image, scratch: Path) -> Pulled: ...


class ClientPuller:
    """One launch of the client a pull."""

    def __init__(
        self, client: Client, launcher: Launcher, reference: Callable[[Image], str], timeout: float
    ) -> None:
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._timeout = timeout

    def pull(self, image: Image, scratch: Path) -> Pulled:
        outcome = self._launcher.run(self._client.pull(self._reference(image), scratch), self._timeout)
        cpu = outcome.cpu_seconds
        if outcome.returncode == 0:
            hidden = (
                0
                if not outcome.stderr and self._client.name == "crane"
                else self._retries(outcome.stderr, True)
            )
            return Pulled(OK, outcome.seconds, hidden, None, cpu)
        hidden = self._retries(outcome.stderr, False)
        _empty(scratch)
        if outcome.interrupted:
            return Pulled(INTERRUPTED, outcome.seconds, hidden, None, cpu)
        if outcome.error is not None:
            sleep(_PAUSE_AFTER_NO_START)
        return Pulled(FAILED, outcome.seconds, hidden, failure_of(self._client.name, outcome), cpu)

    def _retries(self, stderr: str, succeeded: bool) -> int | None:
        return retries(self._client.name, stderr, succeeded=succeeded)


class DryPuller:
    """Takes a few milliseconds an image and touches nothing."""

    def pull(self, image: Image, scratch: Path) -> Pulled:
        started = monotonic()
        sleep(_DRY_PULL)
        return Pulled(OK, monotonic() - started, 0)


def _empty(folder: Path) -> None:
    """Remove what a client that failed or was killed left in its folder; the folder itself stays."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


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

    It hands every Event to `emit`, tells `ended` when it is over, and counts its finished passes in `passes`.
    """

    def __init__(
        self,
        index: int,
        image_set: ImageSet,
        puller: Puller,
        pruner: Pruner | None,
        warm: Warm,
        emit: Callable[[Event], None],
        ended: Callable[[Worker], None],
        *,
        scratch: Path,
        random: Random | None,
    ) -> None:
        self.index = index
        self.image_set = image_set
        self.passes = 0
        self.doing = Doing(WAITING)
        self.error: BaseException | None = None
        self._puller = puller
        self._pruner = pruner
        self._warm = warm
        self._emit = emit
        self._ended = ended
        self._scratch = scratch
        self._random = random
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
        try:
            self._passes()
        except BaseException as error:
            self.error = error  # a fault of the driver's own must end the run, not vanish with the thread
        finally:
            self.doing = Doing(STOPPED, self.doing.number)
            self._ended(self)

    def _passes(self) -> None:
        images = list(self.image_set.images)
        while not self._stopping.is_set():
            if self._random is not None and self.passes:
                self._random.shuffle(images)
            pulled = []
            for number, image in enumerate(images, 1):
                if self._stopping.is_set():
                    return
                self.doing = Doing(PULLING, number, image)
                if self._pull(image):
                    pulled.append(image)
            if self._pruner is not None:
                self.doing = Doing(PRUNING, len(images))
                self._prune(self._pruner, pulled)
            self.passes += 1

    def _pull(self, image: Image) -> bool:
        first = image not in self._warm
        pulled = self._puller.pull(image, self._scratch)
        if pulled.outcome == OK:
            self._warm.pulled(image)
        self._emit(self._pull_event(image, pulled, first))
        return pulled.outcome == OK

    def _pull_event(self, image: Image, pulled: Pulled, first: bool) -> Event:
        return Event(
            PULL,
            self.index,
            self.passes + 1,
            image,
            pulled.outcome,
            monotonic(),
            pulled.seconds,
            first,
            pulled.retries,
            pulled.failure,
            pulled.cpu_seconds,
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

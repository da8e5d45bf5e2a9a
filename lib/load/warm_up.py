"""The warm-up: pulls each image once before the load, as many at a time as there are workers.

Its pulls are not pulls of the load: they make no Event and count in no tally.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ..errors import RunError, Stopped
from ..images import Image
from ..outcomes import FAILED, OK, Failure
from ..processes.cpu_priority import use_batch_scheduling
from ..processes.signals import Stop
from .pull import Puller, batches


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpOrders:
    """What the warm-up pulls, `batch` images per launch, and how.

    `folders` has one temporary folder for each pull that may run at the same time. `kill` ends all running clients.
    `lean`: threads and clients run under SCHED_BATCH (see `cpu_priority`).
    """

    puller: Puller
    images: Sequence[Image]
    batch: int
    folders: Sequence[Path]
    kill: Callable[[], None]
    lean: bool = True


class WarmUp:
    """Carries out a warm-up. Any thread may read its counts: `total` images, `pulled` and `failed` ones, `seconds`.

    `failure` is the first pull that failed, or None. It ends the warm-up, and so does a signal.
    """

    def __init__(self, orders: WarmUpOrders) -> None:
        self.total = len(orders.images)
        self.pulled = 0
        self.failed = 0
        self.failure: tuple[Image, Failure] | None = None
        self._began: float | None = None
        self._took: float | None = None
        self._orders = orders
        self._left = batches(orders.images, orders.batch)
        self._lock = threading.Lock()
        self._over = False
        # each thread that has ended, with its fault or None
        self._ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    @property
    def seconds(self) -> float:
        """How long the warm-up took, or has taken so far."""
        if self._began is None:
            return 0.0
        return self._took if self._took is not None else monotonic() - self._began

    def carry_out(self, stop: Stop) -> None:
        """Pulls all images. Returns when every thread has ended: also after a failure, which ends running clients.

        Raises Stopped after a signal, and RunError if this machine cannot start a thread.
        """
        self._began = monotonic()
        threads: list[threading.Thread] = []
        try:
            with stop.calling(self._end):
                self._start(threads, min(len(self._orders.folders), -(-self.total // self._orders.batch)))
        finally:
            with stop.calling(self._end):
                faults = [self._ended.get() for _ in threads]
            for thread in threads:
                thread.join()
            self._took = monotonic() - self._began
        for fault in faults:
            if fault is not None:
                raise fault
        if stop.count:
            raise Stopped

    def _start(self, threads: list[threading.Thread], count: int) -> None:
        for index in range(count):
            if self._over:
                return
            name = f"warm-up {index}"
            thread = threading.Thread(
                target=self._run, args=(self._orders.folders[index],), name=name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                self._end()
                raise RunError(
                    f"--warm-up: cannot start worker {index}: {error}; raise the limit on processes (ulimit -u)"
                ) from None
            threads.append(thread)

    def _end(self) -> None:
        """Ends all running clients, and starts no more. Any thread may call this."""
        self._orders.kill()
        self._over = True

    def _run(self, folder: Path) -> None:
        fault = None
        try:
            if self._orders.lean:
                use_batch_scheduling()
            while not self._over and (batch := self._take()):
                self._pull(batch, folder)
        except BaseException as error:
            fault = error  # a fault in the driver must end the run, not vanish with the thread
            self._end()
        finally:
            self._ended.put(fault)

    def _take(self) -> Sequence[Image]:
        with self._lock:
            return next(self._left, ())

    def _pull(self, batch: Sequence[Image], folder: Path) -> None:
        for pulled in self._orders.puller.pull(batch, folder, lambda: self._over):
            with self._lock:
                self.pulled += pulled.outcome == OK
                self.failed += pulled.outcome == FAILED
                if pulled.failure is not None and self.failure is None:
                    self.failure = pulled.image, pulled.failure
            if pulled.failure is not None:
                self._end()
                return

"""A driver in simulated time: workers that pull nothing, and a clock that jumps to whatever is due next.

No outcome depends on the machine's speed, and an hour of a plan takes a moment.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from lib.images import Image, ImageSet
from lib.load import driver as drivers
from lib.load.closed import Drain, Sample
from lib.load.driver import Clients, Driver, Reports, Rules
from lib.load.event import PULL, Event
from lib.load.plan import Plan
from lib.load.tally import Tally
from lib.load.worker import Worker
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.processes import signals
from lib.processes.signals import Stop

# A driver that waits longer for its workers, in simulated seconds, waits in vain.
_LONGEST = 1e6


class Time:
    """Seconds that pass only where somebody waits; what happens in them happens in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._happenings: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def after(self, seconds: float, happening: Callable[[], object]) -> None:
        """Call it when so many seconds have passed from now."""
        heapq.heappush(self._happenings, (self.now + seconds, next(self._numbers), happening))

    def advance(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let so many seconds pass, or fewer: until something happens after which `until` holds."""
        end = max(self.now + seconds, math.nextafter(self.now, math.inf))  # a wait takes some time
        assert end < _LONGEST, "the driver waits for something that never happens"
        while self._happenings and self._happenings[0][0] <= end:
            self.now, _, happening = heapq.heappop(self._happenings)
            happening()
            if until():
                return
        self.now = end


class _Queue:
    """A SimpleQueue for one thread: who waits for an item lets the time pass."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._items: deque[object] = deque()

    def put(self, item: object) -> None:
        self._items.append(item)

    def qsize(self) -> int:
        return len(self._items)

    def get(self, timeout: float) -> object:
        if not self._items:
            self._time.advance(timeout, lambda: bool(self._items))
        return self.get_nowait()

    def get_nowait(self) -> object:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()


class SimulatedWorker(Worker):
    """Passes over its images; each pull takes `seconds` and comes to `outcome`, unless it is killed before."""

    passes = 0

    def __init__(self, index: int, simulation: Simulation, seconds: float, outcome: str) -> None:
        self.index = self.number = index
        self.image_set = ImageSet(f"p{index}", simulation.images)
        self.error: BaseException | None = None
        self.begun = 0
        self.stopping = False
        self.seconds = seconds
        self.outcome = outcome
        self._simulation = simulation
        self._pulling = False

    def start(self) -> None:
        self.stopping = False
        self._next()

    def resume(self) -> bool:
        self.stopping &= not self._pulling
        return self._pulling

    def stop(self, *, hurry: bool = False) -> None:
        self.stopping = True

    def join(self) -> None:
        assert not self._pulling

    def kill(self) -> None:
        """As the launcher ends a client."""
        if self._pulling:
            self._emit_pull(INTERRUPTED)
            self._simulation.driver.worker_ended(self)

    def _next(self) -> None:
        if self.stopping or self.passes == self._simulation.plan.passes:
            self._simulation.driver.worker_ended(self)
            return
        self.begun += 1
        self._pulling, number = True, self.begun
        self._simulation.time.after(self.seconds, lambda: self._end(number))

    def _end(self, number: int) -> None:
        if self._pulling and number == self.begun:
            self._emit_pull(self.outcome)
            if self.begun % len(self.image_set.images) == 0:
                self.passes += 1
            self._next()

    def _emit_pull(self, outcome: str) -> None:
        self._pulling = False
        images = self.image_set.images
        event = Event(
            op=PULL,
            worker=self.index,
            pass_number=self.passes + 1,
            image=images[(self.begun - 1) % len(images)],
            outcome=outcome,
            ended=self._simulation.time.now,
            seconds=self.seconds,
            failure=Failure("refused", "nobody there") if outcome == FAILED else None,
        )
        self._simulation.driver.emit(event)


class Simulation:
    """A driver with its workers, and all that came of them."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        plan: Plan,
        *,
        pull: float = 0.0625,
        outcome: str = OK,
        tally: float = 10.0,
        grace: float = 5.0,
        keep_going: bool = False,
        images: int = 2,
        beat: float | None = None,
    ) -> None:
        self.time = Time()
        self.plan = plan
        self.images = tuple(Image(f"app-{k}", "v1") for k in range(images))
        self.samples: list[Sample] = []
        self.events: list[Event] = []
        self.log: list[str] = []
        self.running_cpu = 0.0
        for module in (drivers, signals):
            monkeypatch.setattr(module, "monotonic", self.time.monotonic)
        waiting = SimpleNamespace(SimpleQueue=lambda: _Queue(self.time), Empty=queue.Empty)
        monkeypatch.setattr(drivers, "queue", waiting)
        most = max(step.workers for step in plan.steps)
        self.stop = Stop()
        self.tally = Tally(most, retries_known=True, on_sample=self.samples.append)
        self.driver = Driver(
            plan,
            self.tally,
            self.stop,
            Rules(tally_seconds=tally, grace=grace, keep_going=keep_going, beat_seconds=beat),
            Clients(kill=self._kill, running_cpu=lambda: self.running_cpu),
            Reports(observe=self.events.append, log=self.log.append, caution=self.log.append),
        )
        self.workers = [SimulatedWorker(k, self, pull, outcome) for k in range(most)]

    def _kill(self) -> None:
        for worker in self.workers:
            worker.kill()

    def drive(self) -> None:
        """To the end; then every sum is the same."""
        self.driver.drive(self.workers, self.time.now)
        self.check_sums()

    def check_sums(self) -> None:
        drain = self.tally.drain or Drain(0.0, 0, 0)
        planned = self.tally.planned_seconds
        for part in (self.tally.samples, self.tally.steps):
            assert sum(each.pulled for each in part) + drain.pulled == self.tally.pulled
            assert sum(each.failed for each in part) + drain.failed == self.tally.failed
            assert sum(each.seconds for each in part) == pytest.approx(planned)
        for whole in (self.samples, self.tally.workers, self.tally.image_sets):
            assert sum(each.pulled for each in whole) == self.tally.pulled
            assert sum(each.failed for each in whole) == self.tally.failed
        assert planned <= self.driver.elapsed + 1e-6
        if drain.seconds:
            assert planned + drain.seconds == pytest.approx(self.driver.elapsed)
        assert len(self.events) == self.tally.attempts == sum(worker.begun for worker in self.workers)

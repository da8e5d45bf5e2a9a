"""Carries out the plan: starts and stops the workers, counts their Events, closes tally intervals and steps.

One thread does all of this, so threads share no counter. It counts Events in groups, every `LOOK` seconds: waking up
for each Event would cost more than counting it. It closes an interval `SLACK` seconds after its end, when all Events of
the interval have arrived. An Event that ended later is held back and counted in the next interval.
"""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from ..counted import counted
from ..durations import spoken
from ..outcomes import FAILED, Failure
from ..processes.cpu import own_seconds
from ..processes.machine import MachineMeter
from ..processes.signals import Stop
from .event import PULL, Event
from .plan import WITH_THE_LAST_WORKER, Plan, Step
from .tally import Tally
from .worker import Worker

# Seconds between the end of an interval or step and the moment when it is closed.
SLACK = 0.05
# Times that differ by less than this, in seconds, count as equal.
_ROUNDING = 1e-6
# Longest wait between two looks for Events, in seconds.
LOOK = 0.2
# Without --keep-going, a run ends after this many failed pulls if no pull has succeeded.
HOPELESS_AFTER = 10


def stopping(grace: float) -> str:
    """Returns what to tell the user after the first signal. Clients have `grace` seconds to finish."""
    return f"stopping: clients have {spoken(grace)} to finish; a second signal ends them at once"


def none_succeeded(failed: int, failure: Failure) -> str:
    """Returns why a load ends early: none of its first pulls succeeded. `failure` is one of theirs."""
    return (
        f"none of the first {failed:,} pulls succeeded: {failure.error_class}: {failure.message} "
        "(to find the cause, run ocidriver doctor; to continue regardless, use --keep-going)"
    )


@dataclass(frozen=True, slots=True)
class _Boundary:
    """What ends at `at` seconds after the load began: `step`, or without one a beat or a tally interval."""

    at: float
    step: Step | None = None
    is_beat: bool = False


@dataclass(slots=True)
class _Span:
    """The time in which a worker ran, in seconds since the load began. `end` is infinite while it runs."""

    start: float
    end: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits that a load observes.

    A tally interval lasts `tally_seconds`. After a stop, clients have `grace` seconds to finish.
    `keep_going`: the load goes on even if none of the first pulls succeeds. A piece lasts at most `beat_seconds`, if
    they are given.
    """

    tally_seconds: float
    grace: float
    keep_going: bool
    beat_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Access to all running clients: `kill` ends them at once, `running_cpu` returns their CPU seconds so far."""

    kill: Callable[[], None]
    running_cpu: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Where the driver reports: `observe` receives each Event when it is counted, `log` receives log lines.

    `caution` receives warnings, for the log and for the user's terminal.
    """

    observe: Callable[[Event], None]
    log: Callable[[str], None]
    caution: Callable[[str], None]


class Driver:
    """Carries out one plan and receives what its workers report.

    After `drive`: `began` is monotonic, `elapsed` and `cpu_seconds` (the driver's own) are seconds. `hopeless` is the
    reason why the driver ended the load early, or None.
    """

    def __init__(
        self, plan: Plan, tally: Tally, stop: Stop, rules: Rules, clients: Clients, reports: Reports
    ) -> None:
        self.began = 0.0
        self.elapsed = 0.0
        self.cpu_seconds = 0.0
        self.hopeless: str | None = None
        self._plan = plan
        self._steps = plan.steps
        self._tally = tally
        self._stop = stop
        self._rules = rules
        self._clients = clients
        self._observe, self._log, self._caution = reports.observe, reports.log, reports.caution
        self._cpu_began = 0.0
        self._events: deque[Event] = deque()
        # wakes the driver: holds each worker that has ended, and None for a signal or a failed pull
        self._queue: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        self._held: list[Event] = []
        self._workers: Sequence[Worker] = ()
        # when workers ran; a stage may stop a worker and start it again
        self._spans: list[_Span] = []
        self._open: dict[int, _Span] = {}
        self._ends = 0
        self._planned_end = WITH_THE_LAST_WORKER if plan.end is None else plan.end
        self._step_index = -1
        self._wanted = 0
        self._closed_steps = 0
        self._closed_samples = 0
        self._sampled_until = 0.0
        self._cut_at = 0.0
        self._meter: MachineMeter | None = None
        self._stopping_since: float | None = None
        self._kill_at: float | None = None
        self._killed = False

    @property
    def running(self) -> int:
        """The number of workers running now. Any thread may read it."""
        ends = self._ends
        return len(self._spans) - ends

    @property
    def client_cpu_seconds(self) -> float:
        """The CPU seconds of all clients so far, running ones included. Any thread may read it."""
        return self._tally.client_cpu_seconds + self._clients.running_cpu()

    @property
    def second(self) -> float:
        """Seconds since the load began, at most until its planned end or its stop. Any thread may read it."""
        return min(self._now(), self._planned_end) if self.began else 0.0

    @property
    def planned(self) -> int:
        """The number of workers that the plan has running now. Any thread may read it.

        It includes workers that have finished their fixed work.
        """
        index = self._step_index
        return self._steps[index].workers if index >= 0 and self._stopping_since is None else 0

    def worker_seconds(self) -> tuple[float, float]:
        """Returns (pruning, running): what all workers together spent up to the planned end, in seconds.

        Call it after `drive`.
        """
        end = self._planned_end
        running = sum(max(0.0, min(span.end, end) - span.start) for span in self._spans)
        pruning = sum(
            max(0.0, min(until - self.began, end) - (since - self.began))
            for worker in self._workers
            for since, until in worker.pruning
        )
        return pruning, running

    def emit(self, event: Event) -> None:
        """Receives an Event. Workers call this from their threads."""
        self._events.append(event)
        if event.outcome == FAILED and not self._tally.pulled:
            self._queue.put(None)  # it may be the failure that makes the run hopeless

    def worker_ended(self, worker: Worker) -> None:
        """Receives a worker that has ended. Workers call this from their threads."""
        self._queue.put(worker)

    def give_up(self, reason: str) -> None:
        """Ends the load early. Any thread may call this. The driver notices it after its callback, or within `LOOK`."""
        if self.hopeless is None:
            self.hopeless = reason

    def drive(self, workers: Sequence[Worker], began: float) -> None:
        """Runs the load until the last worker has ended, every Event is counted and every thread is joined.

        The load begins at `began` (monotonic), which is now or just was.

        Raises the error of the first worker that ended with one.
        """
        self._workers = workers
        self.began, self._cpu_began = began, own_seconds()
        self._meter = MachineMeter(self.began)
        self._tally.begin(self.began)
        self._tally.pauses.begin(self.began)
        if self._tally.schedule is not None:
            self._tally.schedule.begin(self.began)
        with self._stop.calling(lambda: self._queue.put(None)), self._tally.pauses.watching():
            try:
                self._walk(workers)
            finally:
                self._end(workers)
                self._close_the_last()
        faults = [worker.error for worker in workers if worker.error is not None]
        if faults:
            raise faults[0]

    def _now(self) -> float:
        return monotonic() - self.began

    def _cpu(self) -> float:
        return own_seconds() - self._cpu_began

    def _walk(self, workers: Sequence[Worker]) -> None:
        while True:
            if self._stopping_since is None:
                self._follow_the_plan(workers)
            self._heed_stops(workers)
            self._close_what_is_due()
            if self._stopping_since is not None and not self._open:
                return
            self._take(self._until_next())

    def _follow_the_plan(self, workers: Sequence[Worker]) -> None:
        """Starts and stops workers if the next step is due. One call begins at most one step."""
        if self._step_index + 1 < len(self._steps) and self._steps[self._step_index + 1].start <= self._now():
            self._step_index += 1
            wanted = self._steps[self._step_index].workers
            for worker in workers[self._wanted : wanted]:
                if self._stop.count or self.hopeless is not None:
                    return  # a step may start hundreds of workers: start no more after a signal or a failed start
                self._start(worker)
            for worker in workers[wanted : self._wanted]:
                self._retire(worker)
            self._wanted = wanted
        elif self._now() >= self._planned_end:
            self._stop_all(workers, hurry=False)
        elif self._work_is_done():
            # the load ends exactly when the last worker did, so the last interval still counts that worker as running
            self._stopping_since = self._planned_end = max(span.end for span in self._spans)
            self._log("all workers have finished their passes")

    def _work_is_done(self) -> bool:
        return self._plan.passes is not None and self._step_index + 1 == len(self._steps) and not self._open

    def _start(self, worker: Worker) -> None:
        """Starts a worker, again if it ran before. One that has not finished its last pull just goes on."""
        chosen, now = worker.image_set, self._now()
        if worker.index in self._open:
            if worker.resume():
                self._log(f"worker {worker.number} goes on")
                return
            worker.join()
            self._take(0.0)
        self._log(
            f"start worker {worker.number} with pattern {chosen.pattern}, {counted(len(chosen.images), 'image')}"
        )
        try:
            worker.start()
        except RuntimeError as error:
            self.hopeless = (
                f"cannot start worker {worker.number}: {error}; raise the limit on processes (ulimit -u)"
            )
        else:
            self._open[worker.index] = span = _Span(now)
            self._spans.append(span)

    def _retire(self, worker: Worker) -> None:
        self._log(f"stop worker {worker.number}")
        worker.stop()

    def _stop_all(self, workers: Sequence[Worker], *, hurry: bool) -> None:
        if self._stopping_since is None:
            self._stopping_since = self._now()
            self._planned_end = min(self._planned_end, self._stopping_since)
            self._log("stop all workers")
        for worker in workers:
            worker.stop(hurry=hurry)

    def _heed_stops(self, workers: Sequence[Worker]) -> None:
        """Stops the load after a signal, or if it is hopeless.

        Clients then have the grace period to finish. A second signal ends them at once.
        """
        since = self._stop.at - self.began if self._stop.count else None
        if since is None and self.hopeless is not None:
            since = self._stopping_since if self._stopping_since is not None else self._now()
        if since is None:
            return
        if self._kill_at is None and self._stop.count:
            self._caution(stopping(self._rules.grace))
        self._stop_all(workers, hurry=True)
        self._kill_at = since + self._rules.grace
        if not self._killed and (self._stop.count > 1 or self._now() >= self._kill_at):
            self._killed = True
            self._log("end the clients that still run")
            self._clients.kill()

    def _until_next(self) -> float:
        """Returns the seconds until the next step, boundary or kill is due."""
        due = []
        if self._stopping_since is None:
            following = self._step_index + 1
            due.append(self._steps[following].start if following < len(self._steps) else self._planned_end)
        boundary = self._next_boundary()
        if boundary is not None:
            due.append(boundary.at + SLACK)
        if self._kill_at is not None and not self._killed:
            due.append(self._kill_at)
        return max(0.0, min(due) - self._now()) if due else 3600.0

    def _take(self, timeout: float) -> None:
        """Waits at most `timeout` or `LOOK` seconds, then counts the Events that are there.

        Events that arrive meanwhile are left for the next call, so that they do not delay the plan.
        """
        ended = []
        with suppress(queue.Empty):
            ended.append(
                self._queue.get(timeout=min(timeout, LOOK)) if timeout > 0 else self._queue.get_nowait()
            )
            for _ in range(self._queue.qsize()):
                ended.append(self._queue.get_nowait())
        self._count_arrived()
        for worker in ended:
            if worker is not None:
                self._note_end(worker)  # its Events arrived before it and are counted

    def _count_arrived(self) -> None:
        self._count_or_hold([self._events.popleft() for _ in range(len(self._events))])

    def _note_end(self, worker: Worker) -> None:
        self._open.pop(worker.index).end = self._now()
        self._ends += 1
        if worker.error is not None and self.hopeless is None:
            self.hopeless = f"worker {worker.number} ended with {worker.error!r}"

    def _count_or_hold(self, events: Sequence[Event]) -> None:
        boundary = self._next_boundary()
        end = self.began + boundary.at if boundary is not None else math.inf
        for event in events:
            if event.ended > end:
                self._held.append(event)
            else:
                self._count(event)

    def _count(self, event: Event) -> None:
        self._tally.add(event)
        self._observe(event)
        if (
            event.op == PULL
            and event.outcome == FAILED
            and not self._rules.keep_going
            and self.hopeless is None
        ):
            self._judge_beginning(event)

    def _judge_beginning(self, event: Event) -> None:
        failed, failure = self._tally.failed, event.failure
        if failed >= HOPELESS_AFTER and not self._tally.pulled and failure is not None:
            self.hopeless = none_succeeded(failed, failure)

    def _next_boundary(self) -> _Boundary | None:
        """Returns the end of the open interval or step, or the next beat, whichever is first; None if all are closed.

        The last interval and the last step end with the plan, or with a stop. There is no beat where one of them ends.
        """
        ends, end = [], self._planned_end
        if self._sampled_until < end - _ROUNDING or not self._closed_samples:
            sample_end = (self._closed_samples + 1) * self._rules.tally_seconds
            ends.append(_Boundary(sample_end if sample_end < end - _ROUNDING else end))
        if self._closed_steps < len(self._steps):
            step = self._steps[self._closed_steps]
            if not self._closed_steps or step.start < end - _ROUNDING:
                ends.append(_Boundary(min(step.end, end), step))
        first = min(ends, key=lambda boundary: boundary.at, default=None)
        beat = self._rules.beat_seconds
        if beat is not None and first is not None:
            at = (math.floor((self._cut_at + _ROUNDING) / beat) + 1) * beat
            if at < first.at - _ROUNDING:
                return _Boundary(at, is_beat=True)
        return first

    def _close_what_is_due(self) -> None:
        now = self._now()
        self._count_arrived()
        while (boundary := self._next_boundary()) is not None and now >= boundary.at + SLACK:
            self._close(boundary)

    def _close(self, boundary: _Boundary) -> None:
        self._cut_at = boundary.at
        if boundary.is_beat:
            self._tally.beat(boundary.at)
        elif boundary.step is not None:
            self._tally.close_step(boundary.at, boundary.step)
            self._closed_steps += 1
        else:
            self._closed_samples += 1
            self._sampled_until = boundary.at
            uncounted = self._clients.running_cpu() + sum(event.cpu_seconds for event in self._held)
            use = self._meter.use(monotonic()) if self._meter is not None else None
            self._tally.close_sample(boundary.at, self._running_at(boundary.at), self._cpu(), uncounted, use)
        held, self._held = self._held, []
        self._count_or_hold(held)

    def _running_at(self, at: float) -> int:
        """Returns how many workers ran just before `at`."""
        return sum(span.start < at <= span.end for span in self._spans)

    def _end(self, workers: Sequence[Worker]) -> None:
        """Stops all workers, joins their threads and counts their last Events, also after an exception."""
        self._stop_all(workers, hurry=False)
        while self._open:
            self._heed_stops(workers)
            self._close_what_is_due()
            self._take(self._until_next())
        for worker in workers:
            worker.join()
        self.elapsed = self._now()
        self._count_arrived()

    def _close_the_last(self) -> None:
        while (boundary := self._next_boundary()) is not None:
            self._close(boundary)
        for event in self._held:
            self._count(event)
        self._held = []
        self.cpu_seconds = self._cpu()
        self._tally.end(self.elapsed, self._running_at(self._planned_end), self.cpu_seconds)

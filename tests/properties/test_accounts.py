"""The accounting identity: every attempt ends as exactly one of pulled, failed, interrupted, wherever it is counted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from signal import SIGTERM
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.images import Image, ImageSet
from lib.load.closed import Drain, Sample
from lib.load.driver import Clients, Driver, Reports, Rules
from lib.load.event import PRUNE, PULL, Event
from lib.load.plan import Step
from lib.load.ramp import plan_ramp
from lib.load.tally import Tally
from lib.load.worker import Worker
from lib.outcomes import FAILED, INTERRUPTED, OK, ErrorClass, Failure
from lib.processes.signals import Stop

WORKERS = 3
OUTCOMES = st.sampled_from([OK, FAILED, INTERRUPTED])
IMAGE = Image("app", "v1")


@st.composite
def events(draw: st.DrawFn) -> Event:
    outcome = draw(OUTCOMES)
    failure = Failure(draw(st.sampled_from(list(ErrorClass))).value, draw(st.text(max_size=5)))
    return Event(
        op=draw(st.sampled_from([PULL, PULL, PULL, PRUNE])),
        worker=draw(st.integers(0, WORKERS - 1)),
        pass_number=1,
        image=IMAGE,
        outcome=outcome,
        ended=0.0,
        seconds=draw(st.floats(1e-6, 1000)),
        first=draw(st.booleans()),
        retries=draw(st.none() | st.integers(0, 5)),
        failure=failure if outcome == FAILED else None,
        cpu_seconds=draw(st.floats(0, 10)),
    )


# An Event, or the end of a step, or the end of a tally interval with the CPU seconds of the clients that run then.
HAPPENINGS = st.lists(events() | st.just("step") | st.floats(0, 10), max_size=60)


@given(HAPPENINGS, st.booleans())
def test_every_sum_is_the_same(happenings: list[Event | str | float], retries_known: bool) -> None:
    samples: list[Sample] = []
    tally = Tally(WORKERS, retries_known=retries_known, on_sample=samples.append)
    at = 0.0
    for happening in [*happenings, 0.0, "step"]:
        at += 1.0
        if isinstance(happening, Event):
            tally.add(happening)
        elif isinstance(happening, float):
            tally.close_sample(at, 1, running_cpu_seconds=happening)
        else:
            tally.close_step(at, Step(1, "up", 0, 1))
    added = [each for each in happenings if isinstance(each, Event)]
    check_outcomes(tally, added)
    check_sums(tally, samples, at)
    check_latencies(tally, added)
    assert tally.retried == (sum(each.retries or 0 for each in added) if retries_known else None)
    assert tally.client_cpu_seconds == pytest.approx(sum(each.cpu_seconds for each in added))
    assert min(each.client_cpu_seconds for each in samples) >= 0
    # a client cannot have used less at its end than while it ran, which these may
    assert sum(each.client_cpu_seconds for each in samples) >= tally.client_cpu_seconds - 1e-6


def check_outcomes(tally: Tally, added: list[Event]) -> None:
    """Of pulls and prunes; of all and of each worker."""

    def count(op: str, outcome: str, worker: int | None = None) -> int:
        return sum(
            1 for each in added if (each.op, each.outcome) == (op, outcome) and worker in (None, each.worker)
        )

    assert (tally.pulled, tally.failed, tally.interrupted) == tuple(
        count(PULL, each) for each in (OK, FAILED, INTERRUPTED)
    )
    assert (tally.pruned, tally.prune_failed) == (count(PRUNE, OK), count(PRUNE, FAILED))
    assert tally.attempts == sum(1 for each in added if each.op == PULL)
    for number, worker in enumerate(tally.workers):
        assert (worker.pulled, worker.failed, worker.interrupted) == tuple(
            count(PULL, each, number) for each in (OK, FAILED, INTERRUPTED)
        )
        assert (worker.pruned, worker.prune_failed, worker.prune_interrupted) == tuple(
            count(PRUNE, each, number) for each in (OK, FAILED, INTERRUPTED)
        )
    assert sum(tally.errors.values()) == tally.failed
    assert sum(tally.prune_errors.values()) == tally.prune_failed


def check_sums(tally: Tally, samples: list[Sample], elapsed: float) -> None:
    """Samples, steps and workers each add up to the totals, and to the time that has passed.

    `samples` are those that were reported: the drain is one of them, if there is one.
    """
    assert samples[: len(tally.samples)] == tally.samples
    assert len(samples) - len(tally.samples) == (tally.drain is not None)
    drain = tally.drain or Drain(0.0, 0, 0)
    for name in ("pulled", "failed"):
        total = getattr(tally, name)
        assert sum(getattr(each, name) for each in samples) == total
        assert sum(getattr(each, name) for each in tally.steps) + getattr(drain, name) == total
        assert sum(getattr(each, name) for each in tally.workers) == total
        assert sum(getattr(each, name) for each in tally.image_sets) == total
    assert sum(each.seconds for each in samples) <= elapsed
    assert sum(each.rate * each.seconds for each in samples) == pytest.approx(tally.pulled)


def check_latencies(tally: Tally, added: list[Event]) -> None:
    """Successful pulls only, each once: in all of them, and in those of first or of repeat pulls."""
    pulled = [each for each in added if (each.op, each.outcome) == (PULL, OK)]
    for latencies, seconds in (
        (tally.latencies, [each.seconds for each in pulled]),
        (tally.first, [each.seconds for each in pulled if each.first]),
        (tally.repeat, [each.seconds for each in pulled if not each.first]),
    ):
        result = latencies.result()
        assert (result is None) == (not seconds)
        if result is not None:
            assert (result.min, result.max) == (min(seconds) * 1000, max(seconds) * 1000)
            assert result.mean == pytest.approx(sum(seconds) / len(seconds) * 1000)
    assert sum(tally.first_buckets.counts) + sum(tally.repeat_buckets.counts) == len(pulled)


# --- the whole driver


@dataclass(frozen=True)
class Plan:
    """What a worker's pulls come to, one after the other and again, how long each takes, and where it breaks."""

    outcomes: tuple[str, ...]
    seconds: float
    breaks_after: int | None


class Puller(Worker):
    """A worker that pulls nothing but time, and counts what it has begun by itself."""

    passes = 0

    def __init__(self, index: int, plan: Plan, driver: Driver, killed: threading.Event) -> None:
        self.index = self.number = index
        self.image_set = ImageSet("p", (IMAGE,))
        self.error: BaseException | None = None
        self.begun = 0
        self._plan = plan
        self._driver = driver
        self._killed = killed
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self, *, hurry: bool = False) -> None:
        self._stopping.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self.begun == self._plan.breaks_after:
                    raise ZeroDivisionError
                self._driver.emit(self._pulled())
        except ZeroDivisionError as error:
            self.error = error
        finally:
            self._driver.worker_ended(self)

    def _pulled(self) -> Event:
        outcome = self._plan.outcomes[self.begun % len(self._plan.outcomes)]
        self.begun += 1
        if self._killed.wait(self._plan.seconds):
            outcome = INTERRUPTED
        return Event(
            op=PULL,
            worker=self.index,
            pass_number=1,
            image=IMAGE,
            outcome=outcome,
            ended=monotonic(),
            seconds=self._plan.seconds,
            failure=Failure("refused", "nobody there") if outcome == FAILED else None,
        )


PLANS = st.builds(
    Plan,
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=4).map(tuple),
    seconds=st.sampled_from([0.002, 0.01, 0.08]),
    breaks_after=st.sampled_from([None, None, None, 0, 3]),
)
SIGNALS = st.lists(st.floats(0.0, 0.5), max_size=2)


@settings(max_examples=25, deadline=None)
@given(st.lists(PLANS, min_size=1, max_size=4), SIGNALS, st.sampled_from([0.0, 0.05, 5.0]), st.booleans())
def test_each_pull_that_was_begun_is_counted_once_however_the_run_ends(
    plans: list[Plan], signals: list[float], grace: float, keep_going: bool
) -> None:
    """Ends of the ramp, one signal or two, a hopeless beginning, faults of workers, and all at once."""
    samples: list[Sample] = []
    observed: list[Event] = []
    stop, killed = Stop(), threading.Event()
    tally = Tally(len(plans), retries_known=True, on_sample=samples.append)
    driver = Driver(
        plan_ramp(len(plans), 0.06),
        tally,
        stop,
        Rules(tally_seconds=0.05, grace=grace, keep_going=keep_going),
        Clients(kill=killed.set, running_cpu=lambda: 0.0),
        Reports(observe=observed.append, log=lambda _: None, caution=lambda _: None),
    )
    workers = [Puller(index, plan, driver, killed) for index, plan in enumerate(plans)]
    timers = [threading.Timer(seconds, stop.request, (SIGTERM,)) for seconds in signals]
    for timer in timers:
        timer.start()
    try:
        driver.drive(workers, monotonic())
    except ZeroDivisionError:
        assert any(worker.error for worker in workers)
    else:
        assert not any(worker.error for worker in workers)
    for timer in timers:
        timer.cancel()
    assert tally.attempts == sum(worker.begun for worker in workers) == len(observed)
    assert [each.pulled + each.failed + each.interrupted for each in tally.workers] == [
        worker.begun for worker in workers
    ]
    check_outcomes(tally, observed)
    check_sums(tally, samples, driver.elapsed + 1e-6)
    assert sum(each.seconds for each in tally.steps) == pytest.approx(tally.planned_seconds)
    assert tally.planned_seconds <= driver.elapsed + 1e-6
    if tally.drain is not None:
        assert tally.planned_seconds + tally.drain.seconds == pytest.approx(driver.elapsed)

"""Whole searches against simulated servers, which know no machine and no clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

import pytest

from lib.capacity.hunt import Bounds, Hunt
from lib.capacity.judge import is_lost
from lib.capacity.observed import Observed
from lib.capacity.result import CLIENT, MACHINE, MAX_RATE, MAX_TIME, SLO, UNSTARTED
from lib.capacity.search import REPEATS, Search
from lib.capacity.trial import Trial
from lib.load.pulls import Pull
from lib.load.tally import Tally
from lib.options.thresholds import Threshold, parse_slo
from lib.outcomes import FAILED, OK

TRIAL = 30.0


class Places:
    """A server with `places`, in each of which a pull takes `seconds`, give or take `jitter`; pulls wait in a queue.

    `workers` is how many pulls may be under way. `limited` says what limits a trial at a rate.
    """

    def __init__(
        self,
        slos: Sequence[Threshold],
        *,
        places: int = 3,
        seconds: float = 0.1,
        jitter: float = 0.0,
        workers: int = 1000,
        seed: int = 1,
        machine_from: float | None = None,
    ) -> None:
        self._slos = slos
        self._places = places
        self._seconds = seconds
        self._jitter = jitter
        self._workers = workers
        self._random = random.Random(seed)
        self._machine_from = machine_from

    def carry_out(self, rate: float, seconds: float) -> Trial:
        observed = Observed(rate, seconds)
        tally = Tally(1, retries_known=True, on_sample=lambda _: None)
        free, busy = [0.0] * self._places, [0.0] * self._workers
        late = 0
        for number in range(int(rate * seconds)):
            due = number / rate
            begun = max(due, heapq.heappop(busy))
            if begun > seconds:
                heapq.heappush(busy, begun)
                observed.unstarted += 1
                continue
            late += begun > due + 0.05
            takes = self._seconds + self._random.uniform(-self._jitter, self._jitter)
            ended = max(begun, heapq.heappop(free)) + takes
            heapq.heappush(free, ended)
            heapq.heappush(busy, ended)
            observed.pulls.append(Pull(due, ended - due, ended - begun, OK))
        tally.totals.pulled, tally.totals.late_no_worker = len(observed.pulls), late
        if self._machine_from is not None and rate >= self._machine_from:
            tally.totals.late_machine = tally.pulled
        observed.lasted = self._ends(observed)
        return Trial(observed, tally)

    def _ends(self, observed: Observed) -> float:
        """As the driver ends a trial that is lost at the end of a tally interval."""
        pulls = sorted(observed.pulls, key=lambda pull: pull.due + pull.latency)
        for k in range(1, 12):
            at = k * observed.seconds / 12
            there = [pull for pull in pulls if pull.due + pull.latency <= at]
            if is_lost(Observed(observed.offered, observed.seconds, lasted=at, pulls=there), self._slos):
                observed.pulls[:] = there
                return at
        return observed.seconds


def hunt(*slos: str, first: float = 10.0, most: float = 100_000.0, seconds: float | None = None) -> Hunt:
    return Hunt(
        [parse_slo(slo) for slo in slos], Search(first, 0.05, most), Bounds(trial=TRIAL, most_seconds=seconds)
    )


@pytest.mark.parametrize("jitter", [0.0, 0.03])
@pytest.mark.parametrize("seed", range(10))
def test_three_places_of_100_ms_hold_30(jitter: float, seed: int) -> None:
    searched, lines = hunt("p95<250ms"), list[str]()
    searched.carry_out(Places(searched.slos, jitter=jitter, seed=seed), 64, lines.append)
    held = searched.search.held
    assert held == pytest.approx(30, rel=0.05)
    assert len(searched.results) == len(lines) <= 10
    assert searched.limit == SLO
    assert searched.results[-1].held is not None


@pytest.mark.parametrize(("places", "seconds"), [(1, 0.05), (8, 0.4), (20, 0.02), (2, 0.125)])
def test_other_servers(places: int, seconds: float) -> None:
    searched = hunt("p95<2s", first=1.0)
    searched.carry_out(Places(searched.slos, places=places, seconds=seconds), 1000, lambda _: None)
    # a queue of up to two seconds may build up within the trial
    least, most = places / seconds, places / seconds * (1 + 2 / TRIAL)
    assert 0.95 * least <= (searched.search.held or 0) <= 1.05 * most


def test_too_few_workers_are_no_limit_of_the_server() -> None:
    """Two of three places are ever used; each pull by itself takes 100 ms."""
    searched, lines = hunt("p95<250ms"), list[str]()
    searched.carry_out(Places(searched.slos, workers=2), 2, lines.append)
    assert (searched.limit, searched.search.held, searched.search.failed) == (CLIENT, 20, None)
    assert lines[-1].endswith(
        "no verdict on the server: the client side was the limit (all 2 workers were busy; give more --workers)"
    )


def test_with_few_workers_the_server_is_the_limit_if_its_own_latency_is_too_long() -> None:
    searched = hunt("p95<250ms")
    searched.carry_out(Places(searched.slos, workers=20), 20, lambda _: None)
    assert searched.limit == SLO
    assert searched.search.held == pytest.approx(30, rel=0.05)


def test_a_slow_machine_ends_it_without_a_verdict() -> None:
    searched = hunt("p95<250ms")
    searched.carry_out(Places(searched.slos, machine_from=40), 64, lambda _: None)
    assert (searched.limit, searched.search.held, searched.search.failed) == (MACHINE, 20, None)
    assert [(each.rate, each.limited_by) for each in searched.results] == [
        (10, None),
        (20, None),
        (40, "machine"),
    ]


class Busy:
    """A machine that is busy in every trial. The pulls of each trial have these outcomes in turn."""

    def __init__(self, *failures: str | None, latency: float = 0.1) -> None:
        self._failures = failures
        self._latency = latency

    def carry_out(self, rate: float, seconds: float) -> Trial:
        observed = Observed(rate, seconds, lasted=seconds)
        tally = Tally(1, retries_known=True, on_sample=lambda _: None)
        for number in range(int(rate * seconds)):
            failure = self._failures[number % len(self._failures)]
            outcome = FAILED if failure else OK
            observed.pulls.append(Pull(number / rate, self._latency, self._latency, outcome, failure))
        tally.totals.pulled = tally.totals.late_machine = len(observed.pulls)
        return Trial(observed, tally)


def test_a_busy_machine_does_not_excuse_failures_that_the_server_answered_with() -> None:
    searched = hunt("error_rate<1%")
    searched.carry_out(Busy(None, "server-error"), 64, lambda _: None)
    assert (searched.limit, searched.search.failed) == (SLO, 10)
    searched, lines = hunt("error_rate<1%"), list[str]()
    searched.carry_out(Busy(None, "timeout"), 64, lines.append)
    assert (searched.limit, searched.search.failed) == (MACHINE, None)
    assert "no verdict on the server: this machine was the limit" in lines[0]


def test_an_uncertain_trial_on_a_busy_machine_is_no_verdict_however_often_it_is_repeated() -> None:
    # 1 failure in 95 is more than 1 %, but too few pulls show it
    searched = hunt("error_rate<1%", first=3.2)
    searched.carry_out(Busy(*["timeout", *[None] * 94]), 64, lambda _: None)
    assert [each.held for each in searched.results] == [None] * (1 + REPEATS)
    assert (searched.limit, searched.search.failed, searched.reasons) == (MACHINE, None, {})


def test_without_an_slo_on_latency_what_never_starts_is_the_limit() -> None:
    searched = hunt("error_rate<1%", first=16.0)
    searched.carry_out(Places(searched.slos, workers=1000), 1000, lambda _: None)
    assert searched.limit == UNSTARTED
    # 30 a second and a hundredth of what is offered, and the queue of 1000 workers
    assert 30 < (searched.search.held or 0) < 70


def test_bounds() -> None:
    searched = hunt("p95<250ms", most=25.0)
    searched.carry_out(Places(searched.slos), 64, lambda _: None)
    assert (searched.limit, searched.search.held, searched.search.failed) == (MAX_RATE, 25, None)
    searched = hunt("p95<250ms", seconds=TRIAL - 1)
    searched.carry_out(Places(searched.slos), 64, lambda _: None)
    assert (searched.limit, searched.results) == (MAX_TIME, [])


def test_even_the_first_rate_does_not_hold() -> None:
    searched = hunt("p95<50ms")
    searched.carry_out(Places(searched.slos), 64, lambda _: None)
    assert (searched.limit, searched.search.held, searched.search.failed) == (SLO, None, 10)
    assert searched.results[0].missed == "p95 was 100 ms, must be under 50 ms"

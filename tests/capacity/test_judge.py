"""The verdict on trials, from pulls that are made up."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from lib.capacity.judge import is_lost, judge, share_interval
from lib.capacity.observed import BINS, Observed
from lib.load.pulls import Pull
from lib.options.thresholds import parse_slo
from lib.outcomes import FAILED, INTERRUPTED, OK

SECONDS = 30.0


def trial(pulls: Iterable[Pull], rate: float = 20.0, *, unstarted: int = 0) -> Observed:
    observed = Observed(rate, SECONDS, lasted=SECONDS, unstarted=unstarted)
    observed.pulls.extend(pulls)
    return observed


def pulls(rate: float, latencies: Sequence[float] | float, *, failed: float = 0.0) -> list[Pull]:
    """Evenly due pulls. `failed` is the share that fails, spread evenly."""
    count = int(rate * SECONDS)
    every = round(1 / failed) if failed else 0
    return [
        Pull(
            due=number / rate,
            latency=latencies if isinstance(latencies, float) else latencies[number],
            own=0.01,
            outcome=FAILED if every and number % every == 0 else OK,
            error_class="timeout" if every and number % every == 0 else None,
        )
        for number in range(count)
    ]


def held(observed: Observed, *slos: str) -> bool | None:
    return judge([observed], [parse_slo(slo) for slo in slos]).held


@pytest.mark.parametrize(
    ("slo", "verdict"),
    [
        ("p95<250ms", True), ("p95<100ms", False), ("p99<250ms", True), ("error_rate<5%", True),
        ("error_rate<0.5%", False), ("error_rate<2%", None), ("rate>17", True), ("rate>21", False),
        ("errors.timeout<=20", True), ("errors.timeout<=3", False), ("errors.dns<=0", True),
        ("mean<=200ms", True), ("max<100ms", False), ("failed<=100", True), ("retried<=0", True),
        ("retry_rate<1%", True),
    ],
)  # fmt: skip
def test_each_kind_of_slo(slo: str, verdict: bool | None) -> None:
    """Of 540 judged pulls of 0.2 s, 2 % failed."""
    assert held(trial(pulls(20, 0.2, failed=0.02)), slo) is verdict


def test_the_first_tenth_is_not_judged() -> None:
    slow_at_first = [pull._replace(latency=9.0) if pull.due < 3 else pull for pull in pulls(20, 0.1)]
    assert held(trial(slow_at_first), "p95<250ms", "max<1s") is True


def test_interrupted_pulls_are_not_judged() -> None:
    cut = [pull._replace(outcome=INTERRUPTED, latency=9.0) for pull in pulls(20, 0.1)[::3]]
    assert held(trial([*pulls(20, 0.1), *cut]), "max<1s", "error_rate<1%") is True


def test_failed_pulls_have_no_latency() -> None:
    """As in a run's summary."""
    failed = [pull._replace(outcome=FAILED, latency=9.0) for pull in pulls(20, 0.1)[::3]]
    assert held(trial([*pulls(20, 0.1), *failed]), "p99<1s") is True


@pytest.mark.parametrize(
    ("group", "verdict"), [("p95<1s", False), ("first.p95<1s", False), ("repeat.p95<1s", True)]
)
def test_first_and_repeat_pulls_apart(group: str, verdict: bool) -> None:
    some = [
        pull._replace(first=True, latency=5.0) if number % 3 == 0 else pull
        for number, pull in enumerate(pulls(20, 0.1))
    ]
    assert held(trial(some), group) is verdict


@pytest.mark.parametrize("slo", ["retried<=0", "retry_rate<1%"])
def test_a_client_that_does_not_report_its_retries_meets_no_slo_on_them(slo: str) -> None:
    assert held(trial([pull._replace(retries=None) for pull in pulls(20, 0.1)]), slo) is False


def test_few_pulls_are_not_certain() -> None:
    assert held(trial(pulls(1, 0.1)), "error_rate<1%") is None
    assert judge([trial(pulls(1, 0.1))], [parse_slo("error_rate<1%")]).likely


def test_trials_at_one_rate_are_judged_together() -> None:
    slo = [parse_slo("error_rate<0.5%")]
    one = trial(pulls(10, 0.1), 10)
    assert judge([one], slo).held is None
    assert judge([one] * 4, slo).held is True


def test_one_burst_is_not_certain() -> None:
    """40 failures in one of the bins: as independent failures they would be certain."""
    burst = [pull._replace(outcome=FAILED) if 12 <= pull.due < 14 else pull for pull in pulls(20, 0.1)]
    assert held(trial(burst), "error_rate<5%") is None
    assert held(trial(pulls(20, 0.1, failed=0.1)), "error_rate<5%") is False


def test_a_growing_queue_does_not_hold() -> None:
    """The server has room for 20 pulls/s, and 21 are offered: the last pull waits for 1.4 s."""
    rate = 21.0
    waits = [0.1 + number * (1 / 20 - 1 / rate) for number in range(int(rate * SECONDS))]
    assert held(trial(pulls(rate, waits), rate), "p95<250ms") is False


@pytest.mark.parametrize(("unstarted", "verdict"), [(1, True), (5, True), (7, False), (300, False)])
def test_more_than_a_hundredth_that_never_started(unstarted: int, verdict: bool) -> None:
    judged = judge([trial(pulls(20, 0.1), unstarted=unstarted)], [parse_slo("error_rate<1%")])
    assert (judged.held, judged.unstarted) == (verdict, not verdict)


def test_pulls_that_never_started_are_slow() -> None:
    """100 of them: the last 5 were due less than the limit before the end, so nobody knows."""
    verdict = judge([trial(pulls(20, 0.1)[:-100], unstarted=100)], [parse_slo("p95<250ms")])
    assert verdict.held is False
    assert verdict.missed is not None
    assert judge([trial(pulls(20, 0.1)[:-4], unstarted=4)], [parse_slo("p99<250ms")]).held is True


def test_own_latencies_leave_out_the_wait_for_a_worker() -> None:
    slow = trial(pulls(20, 3.0), unstarted=50)
    slos = [parse_slo("p95<250ms")]
    assert judge([slow], slos).held is False
    assert judge([slow], slos, own=True).held is True


def test_nothing_pulled_meets_no_latency() -> None:
    failed = [pull._replace(outcome=FAILED) for pull in pulls(20, 0.1)]
    assert held(trial(failed), "p95<250ms") is False


def test_a_trial_that_runs_is_lost_only_for_certain() -> None:
    slos = [parse_slo("p95<250ms")]
    running = Observed(20.0, SECONDS, lasted=10.0)
    slow = [pull._replace(latency=1.0) for pull in pulls(20, 0.1) if pull.due < 10]
    running.pulls.extend(slow)
    assert is_lost(running, slos)
    running.pulls[:] = [pull if place % 10 else pull._replace(latency=0.1) for place, pull in enumerate(slow)]
    assert is_lost(running, slos)
    # a tenth of them are slow; that is less than 5 % of all that are due
    running.pulls[:] = [pull._replace(latency=0.1) if place % 10 else pull for place, pull in enumerate(slow)]
    assert not is_lost(running, slos)
    # the settling time
    running.pulls[:] = [pull for pull in slow if pull.due < 3]
    assert not is_lost(running, slos)
    running.pulls.clear()
    assert not is_lost(running, slos)


@pytest.mark.parametrize(
    ("share", "count"), [(0.05, 270), (0.05, 810), (0.01, 600), (0.01, 2400), (0.5, 300)]
)
def test_the_interval_misses_a_share_as_seldom_as_it_says(share: float, count: int) -> None:
    """At most 2.5 % on each side, for independent pulls and for bursts that are not rare."""
    chance, runs = random.Random(7), 1500

    def misses(concentration: float | None) -> tuple[float, float]:
        below = above = 0
        for _ in range(runs):
            bins = []
            for _ in range(BINS):
                here = share
                if concentration is not None:
                    here = chance.betavariate(share * concentration, (1 - share) * concentration)
                bins.append((sum(chance.random() < here for _ in range(count // BINS)), count // BINS))
            low, high = share_interval(bins)
            below += high < share
            above += low > share
        return below / runs, above / runs

    assert max(misses(None)) <= 0.025
    if share * count / BINS >= 3:
        assert max(misses(50.0)) <= 0.05


def test_one_bin_says_nothing() -> None:
    assert share_interval([(3, 100)]) == (0.0, 1.0)
    assert share_interval([]) == (0.0, 1.0)

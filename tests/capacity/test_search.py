"""Which rates are tried, with servers that are functions: the verdict on a rate is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lib.capacity.judge import Verdict
from lib.capacity.search import REPEATS, Search

HELD = Verdict(held=True, likely=True, findings=())
FAILED = Verdict(held=False, likely=False, findings=())
LIKELY = Verdict(held=None, likely=True, findings=())
UNLIKELY = Verdict(held=None, likely=False, findings=())


def tried(search: Search, server: Callable[[float], Verdict]) -> list[float]:
    """The rates of all trials."""
    rates = []
    while (rate := search.next_rate()) is not None:
        rates.append(rate)
        search.add(rate, server(rate))
        assert len(rates) < 60
    return rates


def up_to(capacity: float) -> Callable[[float], Verdict]:
    return lambda rate: HELD if rate <= capacity else FAILED


@pytest.mark.parametrize("capacity", [10, 12.3, 30, 61.7, 99, 1234, 40_000])
@pytest.mark.parametrize("within", [0.01, 0.05, 0.5])
def test_it_doubles_and_then_halves_the_gap(capacity: float, within: float) -> None:
    search = Search(10.0, within, 100_000.0)
    rates = tried(search, up_to(capacity))
    assert search.held is not None
    assert search.failed is not None
    assert search.held <= capacity < search.failed <= search.held * (1 + within) * 1.001
    up = rates[: next(place for place, rate in enumerate(rates) if rate > capacity)]
    assert up == [pytest.approx(10.0 * 2**k, rel=0.01) for k in range(len(up))]
    assert len(rates) == len(set(rates))


def test_a_capacity_of_30_takes_seven_trials() -> None:
    search = Search(10.0, 0.05, 100_000.0)
    assert tried(search, up_to(30)) == [10, 20, 40, 28.3, 33.6, 30.8, 29.5]


def test_a_first_rate_that_does_not_hold_ends_it() -> None:
    search = Search(10.0, 0.05, 100.0)
    assert tried(search, up_to(5)) == [10]
    assert (search.held, search.failed) == (None, 10)


@pytest.mark.parametrize("most", [10.0, 3.0, 15.0, 30.0])
def test_no_rate_above_the_highest(most: float) -> None:
    search = Search(10.0, 0.05, most)
    rates = tried(search, up_to(1000))
    assert max(rates) == search.held == most
    assert search.failed is None


def test_rates_are_those_that_are_shown() -> None:
    search = Search(1 / 3, 0.05, 100.0)
    assert all(float(f"{rate:.3g}") == rate for rate in tried(search, up_to(7)))


def test_doubling_does_not_wait_for_certainty() -> None:
    """A higher rate tells more: it has more pulls."""
    search = Search(10.0, 0.05, 1000.0)
    rates = tried(search, lambda rate: LIKELY if rate < 80 else HELD if rate < 200 else FAILED)
    assert rates[:6] == [10, 20, 40, 80, 160, 320]


@pytest.mark.parametrize(("doubt", "held"), [(LIKELY, True), (UNLIKELY, False)])
def test_what_is_not_certain_is_tried_again_and_then_guessed(doubt: Verdict, held: bool) -> None:
    search = Search(10.0, 0.05, 1000.0)
    rates = tried(search, lambda rate: doubt if rate == 28.3 else up_to(30)(rate))
    assert rates.count(28.3) == 1 + REPEATS
    assert ((search.failed or 0) > 28.3) == held


def test_what_gets_certain_is_not_tried_again() -> None:
    search, answers = Search(10.0, 0.05, 1000.0), [UNLIKELY, HELD]
    rates = tried(search, lambda rate: answers.pop(0) if rate == 28.3 else up_to(30)(rate))
    assert rates.count(28.3) == 2
    assert search.held == 29.5


def test_the_highest_rate_that_held_is_made_certain_at_the_end() -> None:
    """It held while the rate was doubled, but with too few pulls to be certain."""
    search, answers = Search(10.0, 0.05, 1000.0), [LIKELY, LIKELY, HELD]
    rates = tried(search, lambda rate: answers.pop(0) if rate == 20 else up_to(20.5)(rate))
    assert rates[-2:] == [20, 20]
    assert (search.held, search.verdicts[20].held) == (20, True)


def test_if_it_turns_out_not_to_hold_lower_rates_are_tried() -> None:
    search, answers = Search(10.0, 0.05, 1000.0), [LIKELY, FAILED]
    rates = tried(search, lambda rate: answers.pop(0) if rate == 20 else up_to(15)(rate))
    assert 10 < (search.held or 0) <= 15 < (search.failed or 0) <= 15 * 1.1
    assert rates[-1] < 20

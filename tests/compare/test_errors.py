"""Failures and retries of two runs: they come in bursts, so the intervals in which they are decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.compare.comparison import Rules, compare
from lib.compare.quantities import Margins, Quantity
from lib.compare.recorded_run import read_run
from tests.support.held import held, older, run
from tests.support.made import Made

EXACT = Rules(margins=Margins(0.02, 0.0))


def compared(a: dict[str, Any], b: dict[str, Any], rules: Rules = EXACT) -> dict[str, Quantity]:
    return {each.name: each for each in compare((run(a),), (run(b),), rules).quantities}


def burst(*places: int, of: int = 40, intervals: int = 24) -> list[int]:
    return [of if k in places else 0 for k in range(intervals)]


GOOD = held([200] * 24)


@pytest.mark.parametrize("form", [lambda document: document, older], ids=["by class", "older"])
def test_a_class_that_fails_in_one_burst_has_the_verdict_of_all_errors(form: Any) -> None:
    """4,800 pulls, 40 of them failed, all in one of 24 intervals, against none."""
    pulled = [200] * 24
    pulled[7] -= 40
    found = compared(GOOD, form(held(pulled, {"timeout": burst(7)})))
    for name in ("error_rate", "errors.timeout"):
        assert found[name].change == pytest.approx(40 / 4800)
        assert found[name].verdict == "inconclusive", name
    assert (found["errors.timeout"].low, found["errors.timeout"].high) == (
        found["error_rate"].low,
        found["error_rate"].high,
    )


def test_failures_all_over_the_run_are_more() -> None:
    found = compared(GOOD, held([198] * 24, {"timeout": [2] * 24}))
    assert {found[name].verdict for name in ("error_rate", "errors.timeout")} == {"more"}
    back = compared(held([198] * 24, {"timeout": [2] * 24}), GOOD)
    assert {back[name].verdict for name in ("error_rate", "errors.timeout")} == {"fewer"}


def test_each_class_has_its_own_bursts() -> None:
    mixed = held([196] * 24, {"timeout": burst(3, of=48), "reset": [2] * 24})
    found = compared(GOOD, mixed)
    assert (found["errors.reset"].verdict, found["errors.timeout"].verdict) == ("more", "inconclusive")


def test_a_class_of_an_older_file_is_taken_to_be_in_the_worst_intervals() -> None:
    """The two classes could be spread or not. The wider interval is that of one burst."""
    mixed = held([190] * 24, {"timeout": burst(3, of=20), "reset": [5] * 24})
    known, unknown = compared(GOOD, mixed), compared(GOOD, older(mixed))
    assert known["errors.reset"].verdict == "more"
    assert unknown["errors.reset"].low < known["errors.reset"].low  # type: ignore[operator]


def test_the_margin_of_errors_is_in_points_of_all_pulls() -> None:
    few, many = held([199] * 24, {"dns": [1] * 24}), held([190] * 24, {"dns": [10] * 24})
    assert compared(GOOD, GOOD, Rules())["error_rate"].verdict == "same"
    assert compared(GOOD, few, Rules(margins=Margins(0.02, 0.01)))["errors.dns"].verdict == "same"
    assert compared(GOOD, few, Rules())["errors.dns"].verdict == "inconclusive"
    assert compared(GOOD, many, Rules())["errors.dns"].verdict == "more"


def test_the_verdicts_with_events_and_without(tmp_path: Path) -> None:
    for events in (False, True):
        runs = [
            read_run(made.write(tmp_path, name), made.write_events(tmp_path, name) if events else None)
            for name, made in (("a", Made(1, failing=0.01)), ("b", Made(2, failing=0.2)))
        ]
        found = {each.name: each for each in compare((runs[0],), (runs[1],), Rules()).quantities}
        back = {each.name: each for each in compare((runs[1],), (runs[0],), Rules()).quantities}
        for name in ("error_rate", "errors.timeout"):
            assert (found[name].verdict, back[name].verdict) == ("more", "fewer")
            assert found[name].change == pytest.approx((found[name].b or 0) - (found[name].a or 0))


def test_one_failed_pull_is_no_verdict() -> None:
    one = held([200] * 24, {"other": burst(3, of=1)})
    assert compared(GOOD, one)["errors.other"].verdict == "inconclusive"


def test_too_few_intervals_give_no_verdict_on_errors() -> None:
    found = compared(held([200] * 5), held([150] * 5, {"dns": [50] * 5}))
    assert {(found[name].verdict, found[name].low) for name in ("error_rate", "errors.dns")} == {
        ("inconclusive", None)
    }
    assert found["errors.dns"].change == pytest.approx(0.25)


def test_failures_of_the_drain_are_one_burst() -> None:
    """Twenty pulls that hang when the plan ends time out together, after the last interval."""
    drained = held([200] * 24)
    drained.update(
        failed=20,
        error_rate=20 / 4820,
        errors={"timeout": 20},
        drain={"seconds": 300, "pulled": 0, "failed": 20},
    )
    for name in ("error_rate", "errors.timeout"):
        assert compared(GOOD, drained)[name].verdict == "inconclusive"


def with_retries(per_interval: list[int | None]) -> dict[str, Any]:
    document = held([200] * 24, retried=sum(each or 0 for each in per_interval))
    for sample, retried in zip(document["samples"], per_interval, strict=True):
        sample["retried"] = retried
    return document


def test_retries_have_a_row() -> None:
    none, some = with_retries([0] * 24), with_retries([10] * 24)
    found = compared(none, some)["retry_rate"]
    assert (found.a, found.verdict) == (0, "more")
    assert found.b == pytest.approx(0.05)
    assert compared(some, none)["retry_rate"].verdict == "fewer"
    assert compared(none, none, Rules())["retry_rate"].verdict == "same"
    assert compared(none, with_retries([*burst(5)]))["retry_rate"].verdict == "inconclusive"


def test_more_retries_than_pulls_can_be_compared() -> None:
    found = compared(with_retries([0] * 24), with_retries([500] * 24))["retry_rate"]
    assert (found.b, found.verdict) == (2.5, "more")


def test_a_client_that_reports_no_retries_has_a_row_without_figures() -> None:
    """The files of `GOOD` have none, as those of skopeo."""
    found = compared(GOOD, with_retries([0] * 24))["retry_rate"]
    assert (found.a, found.b, found.change, found.low, found.verdict) == (None, 0, None, None, "inconclusive")
    assert str(found.why).startswith("not reported")
    neither = compared(GOOD, GOOD)["retry_rate"]
    assert (neither.a, neither.b, neither.verdict) == (None, None, "inconclusive")


def test_retries_of_an_older_file_have_no_interval() -> None:
    found = compared(with_retries([None] * 24), with_retries([10] * 24))["retry_rate"]
    assert (found.low, found.verdict) == (None, "inconclusive")

"""`compare --threshold`: a test of non-inferiority, judged by the confidence interval."""

from __future__ import annotations

from dataclasses import replace
from math import exp, inf, log, log1p, sqrt
from pathlib import Path

import pytest

from lib.cli import main
from lib.compare.bootstrap import width
from lib.compare.comparison import Rules, compare
from lib.compare.quantities import Ends, Margins, Quantity, relative, share
from lib.compare.thresholds import error_classes, judge, parse_limit
from lib.errors import UsageError
from lib.options.thresholds import Threshold
from tests.support.held import held, run, write


def rate(low: float, high: float, change: float | None = None) -> Quantity:
    """A change of the rate with this interval, both in percent. The change is in the middle of its logarithm."""
    ends = [1 + each / 100 for each in (low, high)]
    middle = sqrt(ends[0] * ends[1]) if change is None else 1 + change / 100
    away = log(ends[0] / middle), log(ends[1] / middle)
    return relative("rate", 10.0, 10.0 * middle, away, Margins())


@pytest.mark.parametrize(
    ("low", "high", "expression", "verdict"),
    [
        (-25.2, 35.2, "rate>-5%", "inconclusive"),
        (-1.6, 3.1, "rate>-5%", "met"),
        (-12.0, -6.0, "rate>-5%", "missed"),
        (-12.0, -4.0, "rate>-5%", "inconclusive"),
        (-4.9, -3.0, "rate>-5%", "met"),
        (173.0, 420.0, "rate>-5%", "met"),
        (3.0, 9.0, "rate>+2%", "met"),
        (1.0, 9.0, "rate>+2%", "inconclusive"),
        (-3.0, 1.0, "rate>+2%", "missed"),
        (-3.0, 1.0, "rate>-100%", "met"),
        (-3.0, 1.0, "rate<+2%", "met"),
        (-3.0, 3.0, "rate<+2%", "inconclusive"),
    ],
)
def test_the_bad_end_of_the_interval_decides(low: float, high: float, expression: str, verdict: str) -> None:
    judged = judge(parse_limit(expression), [rate(low, high)])
    assert (judged.verdict, judged.passed) == (verdict, verdict == "met")
    assert judge(parse_limit(expression), [rate(low, high)], lenient=True).passed == (verdict != "missed")


def test_it_says_how_much_longer_the_runs_must_be() -> None:
    """The half width towards the limit is twice the distance of the change from it: four times as long."""
    distance = -log1p(-0.05)
    low, high = (100 * (exp(end * distance) - 1) for end in (-2, 3))
    assert judge(parse_limit("rate>-5%"), [rate(low, high, change=0)]).longer == pytest.approx(4)
    low, high = (100 * (exp(end * distance) * 0.95**2 - 1) for end in (-3, 2))
    beyond = rate(low, high, change=100 * (0.95**2 - 1))
    assert judge(parse_limit("rate>-5%"), [beyond]).longer == pytest.approx(4)


def test_the_advice_is_the_least_number_of_intervals_that_decides() -> None:
    """From 6 intervals that vary by 10 %, 48 suffice to exclude -5 %: the fewer intervals, the more they widen."""
    half = 0.205
    found = relative("rate", 10.0, 10.0, Ends(-half, half, 6, width), Margins())
    longer = judge(parse_limit("rate>-5%"), [found]).longer
    assert longer is not None
    number = round(6 * longer)
    assert 44 <= number <= 52
    assert half * width(number) / width(6) <= -log1p(-0.05) < half * width(number - 1) / width(6)


def test_the_advice_for_two_runs_comes_from_their_intervals() -> None:
    a, b = (held(pulled) for pulled in NOISY)
    rate = next(iter(compare((run(a),), (run(b),), Rules()).quantities))
    assert rate.ends is not None
    assert rate.ends.number == 6
    assert judge(parse_limit("rate>-50%"), [rate]).longer == rate.longer(-0.5) < 4


def test_what_no_reasonable_length_decides_takes_more_than_a_thousand_times_as_long() -> None:
    found = relative("rate", 10.0, 9.5001, Ends(-0.2, 0.2, 24, width), Margins())
    judged = judge(parse_limit("rate>-5%"), [found])
    assert judged.longer is not None
    assert 1000 < judged.longer < inf


@pytest.mark.parametrize(
    ("expression", "equally"), [("rate>-5%", 0.0), ("rate<-15%", -0.2), ("rate>-5%", -0.1)]
)
def test_a_gate_is_not_missed_against_the_equally_weighted_change(expression: str, equally: float) -> None:
    gate = parse_limit(expression)
    judged = judge(gate, [replace(rate(-12.0, -6.0), equally=equally)])
    assert judged.verdict == ("inconclusive" if gate.holds(equally) else "missed")
    assert judged.longer is None


def test_a_change_at_the_limit_and_at_the_end_of_the_interval() -> None:
    found = relative("rate", 10.0, 10.0, (0.0, 0.1), Margins())
    assert judge(parse_limit("rate>0%"), [found]).longer == inf


def test_no_length_decides_a_change_at_the_limit() -> None:
    found = share("error_rate", 0.0, 0.01, (-0.02, 0.04), Margins())
    assert judge(parse_limit("error_rate<1%"), [found]).longer == inf


def test_the_limit_of_errors_is_in_points() -> None:
    found = share("errors.dns", 0.01, 0.015, (-0.005, 0.015), Margins())
    judged = judge(parse_limit("errors.dns<+1%"), [found])
    assert judged.verdict == "inconclusive"
    assert judged.longer == pytest.approx(4)
    assert judge(parse_limit("errors.dns<+2%"), [found]).verdict == "met"
    assert judge(parse_limit("errors.dns<-1%"), [found]).verdict == "missed"


@pytest.mark.parametrize("change", [-0.1, 0.1])
def test_without_an_interval_it_is_inconclusive(change: float) -> None:
    found = [Quantity("rate", 10.0, 10.0 * (1 + change), change)]
    judged = judge(parse_limit("rate>-5%"), found)
    assert (judged.verdict, judged.longer, judged.passed) == ("inconclusive", None, False)
    assert judge(parse_limit("rate>-5%"), found, lenient=True).passed


@pytest.mark.parametrize("found", [[], [Quantity("rate", 10.0, None, None)]])
@pytest.mark.parametrize("lenient", [False, True])
def test_what_was_not_measured_is_missed(found: list[Quantity], lenient: bool) -> None:
    judged = judge(parse_limit("rate>-5%"), found, lenient=lenient)
    assert (judged.verdict, judged.longer, judged.passed) == ("missed", None, False)


def test_limits_are_read() -> None:
    assert parse_limit(" error_rate<=+1.5% ") == Threshold("error_rate<=+1.5%", "error_rate", "<=", 0.015)
    limits = [parse_limit(text) for text in ("errors.dns<1%", "rate>-5%", "retry_rate<1%")]
    assert error_classes(limits) == {"dns"}


@pytest.mark.parametrize(
    "text",
    ["", "rate", "rate>5", "rate>-5ms", "speed>-5%", "errors.nothing<1%", "rate==0%", "max<5%", "p95<+-5%"],
)
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--threshold: "):
        parse_limit(text)


NOISY = [(200, 100, 300, 150, 250, 200), (280, 150, 210, 100, 200, 260)]


@pytest.mark.parametrize(("option", "status"), [("miss", 3), ("pass", 0)])
def test_six_noisy_intervals_pass_no_gate_by_themselves(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, status: int
) -> None:
    files = [str(write(tmp_path, name, held(pulled))) for name, pulled in zip("ab", NOISY, strict=True)]
    words = ["compare", *files, "--threshold=rate>-5%", f"--inconclusive={option}"]
    assert main(words) == status
    out, err = capfd.readouterr()
    (line,) = (line for line in out.splitlines() if line.startswith("threshold rate>-5%: "))
    assert "inconclusive, which passes (" in line or status
    assert "inconclusive, which counts as missed (" in line or not status
    assert "; the runs must be about " in line
    assert " times as long)" in line
    assert bool(err) == bool(status)
    assert ("times as long" in err) == bool(status)


def test_a_class_that_neither_run_had_is_judged_by_its_interval(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No failure in ten pulls says little about one in a hundred."""
    for pulls, status in ((2, 3), (200, 0)):
        files = [str(write(tmp_path, name, held([pulls] * 24))) for name in "ab"]
        assert main(["compare", *files, "--threshold=errors.dns<+1%"]) == status
        assert "errors.dns %" in capfd.readouterr().out

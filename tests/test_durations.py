"""Times as users write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.durations import parse_duration, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("1.5", 1.5), (".5", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400),
        ("250ms", 0.25), ("1m30s", 90), ("1d", 86400), (" 10s ", 10), ("1e3", 1000), ("0", 0), ("1h5s", 3605),
    ],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "s", "5x", "5 m", "30s5m", "-1", "nan", "inf", "1h1h", "five", "٣", "1,5"]
)
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; give seconds, or units as in 30s, 5m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.25s"),
        (0.00001, "0.00001s"),
        (1e-20, "0s"),
        (30, "30s"),
        (60, "1m"),
        (90.5, "1m30.5s"),
        (5400, "1h30m"),
        (3605, "1h5s"),
    ],
)
def test_a_time_as_text(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


@given(st.integers(0, 10**9))
def test_what_is_shown_can_be_given(milliseconds: int) -> None:
    assert parse_duration(spoken(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, rel=1e-5)

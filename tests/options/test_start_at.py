"""When to begin."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

import pytest

from lib.errors import UsageError
from lib.options.start_at import parse_start

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=timezone.utc)


def test_today_tomorrow_and_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_start("22:30Z", NOW) == NOW.replace(hour=22, minute=30)
    assert parse_start("11:30Z", NOW) == NOW.replace(hour=11, minute=30) + timedelta(days=1)
    assert parse_start("2030-02-01 10:00 UTC", NOW) == datetime(2030, 2, 1, 10, tzinfo=timezone.utc)
    assert parse_start("2030-01-31T14:00:00+01:00", NOW) == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soon", "cannot read"),
        ("25:00", "cannot read"),
        ("22:30+99:00", "cannot read"),
        ("22:30 EST", "cannot read"),
        ("10", "no time of day"),
        ("Jan", "no time of day"),
        ("2029-01-01 10:00Z", "is in the past"),
    ],
)
def test_what_cannot_be_waited_for(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_start(text, NOW)


def test_a_date_has_the_offset_of_its_own_season(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        winter = datetime(2030, 1, 31, 12, 0).astimezone()
        assert parse_start("2030-07-01 22:30", winter).utcoffset() == timedelta(hours=2)
        assert parse_start("22:30", winter).utcoffset() == timedelta(hours=1)
    finally:
        monkeypatch.undo()
        time.tzset()

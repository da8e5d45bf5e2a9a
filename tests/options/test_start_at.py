"""When to begin."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.options.start_at import late_hint, parse_start
from tests.support.driving import drive, finish, start, wait_for_log

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=timezone.utc)


def test_today_tomorrow_and_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_start("22:30Z", NOW) == NOW.replace(hour=22, minute=30)
    assert parse_start("11:30Z", NOW) == NOW.replace(hour=11, minute=30) + timedelta(days=1)
    assert parse_start("2030-02-01 10:00 UTC", NOW) == datetime(2030, 2, 1, 10, tzinfo=timezone.utc)
    assert parse_start("2030-01-31T14:00:00+01:00", NOW) == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("11:59Z", "in 23 h 59 min"),
        ("12:00Z", "in 24 h 0 min"),
        ("00:30 UTC", "in 12 h 30 min"),
        ("12:59+01:00", "in 23 h 59 min"),
        ("12:01Z", None),
        ("22:30Z", None),
        ("2030-02-01 11:59Z", None),
    ],
)
def test_a_time_that_has_passed_today_is_hinted_at(text: str, wait: str | None) -> None:
    hint = late_hint(text, parse_start(text, NOW), NOW)
    assert (hint is None) == (wait is None)
    if hint is not None and wait is not None:
        assert "has passed today, so the load begins at 2030-02-01" in hint
        assert wait in hint


def test_a_run_that_waits_for_tomorrow_says_so(tmp_path: Path) -> None:
    """The time is told in a zone where it is about noon, so that midnight is far."""
    now = datetime.now().astimezone()
    zone = timezone((now.utcoffset() or timedelta()) + timedelta(hours=12 - now.hour))
    (tmp_path / "images").write_text("app:v1\n")
    words = [
        *("--pullthrough-url=a:1", "--registry-url=b:1", f"--image-list={tmp_path}/images"),
        *("--workers=1", "--dry-run", "--passes=1"),
    ]
    passed = (now.astimezone(zone) - timedelta(minutes=2)).strftime("%H:%M%z")
    running = start(tmp_path, *words, f"--start-at={passed}")
    wait_for_log(tmp_path, "waiting for")
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    assert ended.status == 143
    assert "has passed today, so the load begins at" in ended.stderr
    assert "has passed today, so the load begins at" in ended.log
    later = (now.astimezone(zone) + timedelta(seconds=3)).strftime("%Y-%m-%d %H:%M:%S%z")
    assert "has passed" not in drive(tmp_path, *words, f"--start-at={later}").stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soon", "cannot read"),
        ("25:00", "cannot read"),
        ("22:30+99:00", "cannot read"),
        ("22:30 EST", "cannot read"),
        (f"22:{'9' * 400}", "cannot read"),
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

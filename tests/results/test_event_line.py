"""Lines of events: written as JSON has always been here, and read without fields that a view does not need."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.clock import Clock
from lib.images import Image
from lib.load.event import PRUNE, PULL, Event
from lib.outcomes import FAILED, OK, Failure
from lib.results.event_line import event_line, known, read_event

LINE = {"time": "2026-01-31T12:00:00.500+00:00", "op": "pull", "outcome": "ok"}


@given(message=st.text(alphabet=st.characters(), max_size=50), seconds=st.floats(0, 1e6))
@example(message="a “quoted” \\ word \x1b[31m\x7f\u2028 \U0001f600 …", seconds=0.0)
@example(message="half of a pair: \ud83d", seconds=1e-6)
@example(message="plain", seconds=300.0)
def test_a_line_is_ascii_and_says_what_happened(message: str, seconds: float) -> None:
    event = Event(PULL, 1, 2, Image("app", "v1"), FAILED, 0.0, seconds, True, None, Failure("other", message))
    line = event_line(event, Clock())
    assert line.isascii()
    assert line.isprintable() or "\x7f" in message
    told = json.loads(line)
    assert (told["message"], told["seconds"], told["retries"]) == (message, round(seconds, 6), None)
    assert '{"time": "' in line
    assert ', "op": "pull", "worker": 1, "pass": 2, "image": "app:v1", "outcome": "failed", ' in line


def test_only_a_pull_of_a_batch_has_its_launch() -> None:
    pull = Event(PULL, 0, 1, Image("app", "v1"), OK, 0.0, 1.0, launch=7, timed=False)
    shared = {"launch": 7, "timed": False, "repulled": False}
    told = json.loads(event_line(pull, Clock(), batched=True))
    assert {name: told.get(name) for name in shared} == shared
    for event, batched in ((pull, False), (pull._replace(op=PRUNE), True)):
        assert not set(shared) & set(json.loads(event_line(event, Clock(), batched=batched)))


def test_a_line_may_lack_what_nobody_asks_for_and_hold_what_nobody_knows() -> None:
    event = read_event(json.dumps({**LINE, "seconds": 2, "news": [{"x": None}]}))
    assert (known(event.seconds), event.moment.isoformat()) == (2.0, "2026-01-31T12:00:00.500000+00:00")
    for missing in (event.image, event.first, event.error_class, event.worker):
        with pytest.raises(ValueError, match="missing"):
            known(missing)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, json.dumps(LINE)[:-4].encode(),
        *(json.dumps({name: value for name, value in LINE.items() if name != left}).encode() for left in LINE),
    ],
)  # fmt: skip
def test_what_is_no_event(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read_event(content)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time", None), ("op", 1), ("outcome", []), ("worker", -1), ("pass", 1.5), ("image", 3), ("class", {}),
        ("seconds", "1"), ("seconds", True), ("seconds", -1.0), ("seconds", 10**400), ("first", 1), ("retries", "0"),
        ("message", 5), ("launch", "1"), ("timed", None), ("repulled", 0),
    ],
)  # fmt: skip
def test_fields_of_another_kind(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        read_event(json.dumps({**LINE, field: value}))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_seconds_that_are_no_number(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        read_event(json.dumps(LINE)[:-1] + f', "seconds": {text}}}')

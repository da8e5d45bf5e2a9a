"""Messages of a host process: numbered, never dropped, and written again until they are acknowledged."""

from __future__ import annotations

import os

from lib.hosts.outbox import AGAIN_AFTER, Outbox
from lib.hosts.protocol import Note, decode_message


class Time:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def posted(count: int) -> tuple[Time, Outbox]:
    time = Time()
    outbox = Outbox(time)
    for number in range(count):
        outbox.post(Note(f"note {number}"))
    return time, outbox


def taken(outbox: Outbox) -> list[int]:
    found = []
    while (line := outbox.take(0.0)) is not None:
        message = decode_message(line)
        assert message.body == Note(f"note {message.number}")
        found.append(message.number)
    return found


def test_each_message_has_the_next_number_and_is_written_once() -> None:
    _, outbox = posted(3)
    assert taken(outbox) == [0, 1, 2]
    assert taken(outbox) == []
    outbox.post(Note("note 3"))
    assert taken(outbox) == [3]


def test_what_is_not_acknowledged_in_time_is_written_again() -> None:
    time, outbox = posted(3)
    taken(outbox)
    time.now += AGAIN_AFTER - 0.1
    outbox.post(Note("note 3"))
    assert taken(outbox) == [3]
    outbox.acknowledge(0)
    assert taken(outbox) == []
    time.now += 0.2
    outbox.acknowledge(0)
    assert taken(outbox) == [1, 2]
    outbox.acknowledge(0)
    assert taken(outbox) == []
    assert [outbox.has_arrived(number) for number in range(5)] == [True, False, False, False, False]
    outbox.acknowledge(3)
    assert [outbox.has_arrived(number) for number in range(5)] == [True, True, True, True, False]
    time.now += 10 * AGAIN_AFTER
    outbox.acknowledge(3)
    assert taken(outbox) == []


def test_what_waits_to_be_written_is_not_written_twice() -> None:
    """Its reader is slow, or it is acknowledged after it was to be written again."""
    time, outbox = posted(2)
    time.now += 2 * AGAIN_AFTER
    outbox.acknowledge(-1)
    assert taken(outbox) == [0, 1]
    time.now += 2 * AGAIN_AFTER
    outbox.acknowledge(-1)
    outbox.acknowledge(0)
    assert taken(outbox) == [1]


def test_it_knows_since_when_nothing_was_posted() -> None:
    time, outbox = posted(1)
    time.now += 7.0
    assert outbox.quiet_seconds == 7.0
    outbox.post(Note(""))
    assert outbox.quiet_seconds == 0.0


def test_nobody_waits_for_a_reader() -> None:
    """More than a pipe holds; then the reader takes all of it."""
    reader, writer = os.pipe()
    outbox = Outbox()
    outbox.write_all(writer)
    for number in range(200):
        outbox.post(Note(f"{number}" * 1000))
    outbox.post(Note("the last one"))
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as file:
        numbers = [decode_message(file.readline()).number for _ in range(201)]
    assert numbers == list(range(201))
    outbox.post(Note("nobody reads this"))  # and its thread ends
    os.close(writer)


def test_a_reader_that_is_gone_is_no_fault() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outbox = Outbox()
    outbox.post(Note(""))
    outbox._write(writer)
    os.close(writer)

"""The events of the hosts become one file, by time, with the name of each host."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import IO

import pytest

from lib.errors import RunError
from lib.hosts import collecting
from lib.hosts.collecting import Collection
from lib.hosts.protocol import Chunk, Fetch, Keep, Lease
from tests.support.controlling import Control
from tests.support.fake_fleet import Scene, packed


def event(seconds: float, worker: int = 0, message: str | None = None) -> bytes:
    minute, second = divmod(seconds, 60)
    line = {
        "time": f"2026-01-31T12:{int(minute):02}:{second:09.6f}+00:00",
        "op": "pull",
        "worker": worker,
        "outcome": "ok",
        "message": message,
    }
    return json.dumps(line).encode() + b"\n"


def ended(hosts: int = 3) -> Control:
    """A load that is over; each host has an event each second, the second host a third of a second later, and so on."""
    control = Control(hosts, Scene(workers=hosts, seconds=2))
    for number, host in enumerate(control.fleet.hosts.values()):
        host.events = b"".join(event(second + number / 3) for second in range(30))
    control.prepare()
    control.arm()
    assert control.follow() is None
    return control


def collected(
    control: Control, most_bytes: int = collecting.MOST_BYTES
) -> tuple[list[tuple[str, str]], list[str]]:
    """The host and the time of each event, and the hosts whose events are missing."""
    lines: list[str] = []
    collection = Collection(control.hearing, control.members)
    collection.write(lines.append, most_bytes)
    found = [json.loads(line) for line in lines]
    return [(each["host"], each["time"]) for each in found], collection.missing


def test_the_events_of_all_hosts_by_time() -> None:
    control = ended()
    found, missing = collected(control)
    assert len(found) == 90
    assert [host for host, _ in found] == ["load-1", "load-2", "load-3"] * 30
    assert [time for _, time in found] == sorted(time for _, time in found)
    assert missing == []
    assert control.cautions == []


def test_two_hosts_at_a_time() -> None:
    control = ended(6)
    for host in control.fleet.hosts.values():
        host.fetch_seconds = 1.0
    collected(control)
    moments = [at for at, _ in control.fleet.asked_of(Fetch)]
    assert max(sum(at <= other < at + 1.0 for at in moments) for other in moments) == 2


def test_hosts_without_events() -> None:
    control = ended(2)
    control[1].events = b""
    found, missing = collected(control)
    assert {host for host, _ in found} == {"load-2"}
    assert missing == []


def test_hosts_get_leases_meanwhile() -> None:
    control = ended(2)
    control[1].fetch_seconds = 15.0
    before = len(control.fleet.orders(Lease, control[2]))
    collected(control)
    assert len(control.fleet.orders(Lease, control[2])) - before >= 10


def test_a_chunk_that_gets_no_answer_is_asked_for_again() -> None:
    control = ended(2)
    control.fleet.freeze(control[2], 21)
    found, missing = collected(control)
    assert len(found) == 60
    assert missing == []


def test_a_host_that_gives_no_answer_has_no_events() -> None:
    control = ended(3)
    control.fleet.freeze(control[2], 1000)
    found, missing = collected(control)
    assert len(found) == 60
    assert missing == ["load-2"]
    assert control.cautions == ["the events of host load-2 are missing"]


def test_a_host_that_is_gone_after_its_load_has_no_events_but_is_not_lost() -> None:
    control = ended(3)
    control.fleet.lose(control[2])
    found, missing = collected(control)
    assert len(found) == 60
    assert missing == ["load-2"]
    assert control.summary().complete is True


def test_the_events_of_a_lost_host_are_missing() -> None:
    control = Control(3)
    control.prepare(lost_hosts=1)
    control.arm()
    control.at(4.5, lambda: control.fleet.lose(control[2]))
    assert control.follow() is None
    control[1].events = event(1)
    found, missing = collected(control)
    assert found == [("load-1", "2026-01-31T12:00:01.000000+00:00")]
    assert missing == ["load-2"]
    assert control.cautions[-1] == "the events of host load-2 are missing"


def test_a_lost_scheduler_ends_the_collection() -> None:
    control = ended(3)
    control.fleet.lose_scheduler()
    before = control.time.now
    assert collected(control) == ([], ["load-1", "load-2", "load-3"])
    assert control.time.now - before < 1


def test_a_signal_ends_the_collection_but_keeps_what_is_there() -> None:
    control = ended(3)
    control[2].fetch_seconds = 15.0
    control.time.after(3, lambda: control.fleet.signal(1))
    before = control.time.now
    found, missing = collected(control)
    assert {host for host, _ in found} <= {"load-1", "load-3"}
    assert "load-2" in missing
    assert control.time.now - before < 4


def test_a_signal_while_the_events_are_written() -> None:
    control = ended(2)
    for host in control.fleet.hosts.values():
        host.events = b"".join(event(second / 100) for second in range(2000))
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        if len(lines) == 1500:
            control.fleet.signal(1)

    Collection(control.hearing, control.members).write(write)
    assert len(lines) == 2000
    assert control.cautions == ["the events file is not complete, because a signal ended its writing"]


def test_too_many_bytes_stay_on_the_hosts() -> None:
    control = ended(3)
    size = sum(len(host.events) for host in control.fleet.hosts.values())
    found, missing = collected(control, size - 1)
    assert found == []
    assert missing == ["load-1", "load-2", "load-3"]
    assert len(control.fleet.asked_of(Keep)) == 3
    assert control.cautions == [
        "the events have 9.54 kB, so they stay on the hosts; the log names their files"
    ]
    assert control.logs[-3:] == [
        f"host load-{n}: its events are in /work/worker-{n}.jsonl" for n in (1, 2, 3)
    ]
    assert len(collected(ended(3), size)[0]) == 90


def test_many_bytes_have_time_to_be_copied() -> None:
    control = ended(2)
    control[1].keep_seconds = 600.0
    collected(control, 1)
    assert [line for line in control.logs if "its events are in /work/" in line] != []
    assert not any("missing" in caution for caution in control.cautions)


@pytest.mark.parametrize("way", ["signal", "loss"])
def test_nobody_waits_for_the_copy_of_a_host(way: str) -> None:
    control = ended(2)
    control[1].keep_seconds = 600.0
    happens = (
        (lambda: control.fleet.signal(1)) if way == "signal" else (lambda: control.fleet.lose(control[1]))
    )
    control.time.after(5.0, happens)
    began = control.time.now
    collected(control, 1)
    assert control.time.now - began < 6.0
    assert control.cautions[-1] == "the events of host load-1 are missing"
    assert "host load-2: its events are in /work/worker-2.jsonl" in control.logs


def test_the_sizes_are_known_before_the_rest_is_fetched() -> None:
    control = ended(2)
    for host in control.fleet.hosts.values():
        host.events = 10_000 * event(1)
    collected(control, 1000)
    assert len(control.fleet.asked_of(Fetch)) == 2


# ---- hosts that send what they should not


def bomb(data: bytes, offset: int) -> Chunk:
    return Chunk(data=packed(bytes(64 << 20)), next=offset + (64 << 20), size=1 << 30)


HOSTILE: dict[str, Callable[[bytes, int], Chunk | None]] = {
    "no base64": lambda data, offset: Chunk(data="§§§", next=offset + 1, size=len(data)),
    "no zlib": lambda data, offset: Chunk(data=b64encode(b"abc").decode(), next=offset + 3, size=len(data)),
    "cut zlib": lambda data, offset: Chunk(
        data=b64encode(zlib.compress(data)[:9]).decode(), next=offset + 1, size=len(data)
    ),
    "a bomb": bomb,
    "nothing new": lambda data, offset: Chunk(data=packed(b""), next=offset, size=len(data)),
    "a jump": lambda data, offset: Chunk(data=packed(data[:100]), next=offset + 200, size=len(data)),
    "back": lambda data, offset: Chunk(data=packed(data[:100]), next=0, size=len(data)),
    "more than there is": lambda data, offset: Chunk(data=packed(data), next=offset + len(data), size=10),
    "it grows": lambda data, offset: Chunk(data=packed(data[:9]), next=offset + 9, size=len(data) + offset),
    "a refusal": lambda data, offset: None,
}  # fmt: skip


@pytest.mark.parametrize("way", HOSTILE)
def test_what_is_no_chunk_is_not_taken(way: str) -> None:
    control = ended(2)
    control[2].chunk = HOSTILE[way]
    found, missing = collected(control)
    assert [host for host, _ in found] == ["load-1"] * 30
    assert missing == ["load-2"]
    assert len(control.fleet.asked_of(Fetch, control[2])) <= 4


def test_lines_that_are_no_events_are_left_out_and_counted() -> None:
    control = ended(2)
    control[2].events = b"".join(
        [
            b"no json\n",
            event(1),
            b'{"time": "yesterday", "op": "pull", "outcome": "ok"}\n',
            b'{"time": "0001-01-01T00:00:00+23:59", "op": "pull", "outcome": "ok"}\n',
            b'{"time": "2026-01-31T12:00:00", "op": "pull", "outcome": "ok", "host": "another"}\n',
            b"\xff\xfe\n",
            b"\n",
            b"x" * (3 << 20),
        ]
    )
    control[2].chunk = lambda data, offset: Chunk(
        data=packed(data[offset : offset + (1 << 20)]),
        next=min(len(data), offset + (1 << 20)),
        size=len(data),
    )
    found, missing = collected(control)
    assert [host for host, _ in found].count("load-2") == 3
    assert missing == []
    (told,) = control.cautions
    assert told.startswith("host load-2: ")
    assert told.endswith(" lines of its events are not valid")


def test_a_machine_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    control = ended(2)

    def full() -> IO[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(collecting, "TemporaryFile", full)
    with pytest.raises(
        RunError, match="cannot collect the events of the hosts: No space left on device; make room"
    ):
        collected(control)

"""The orders of a host process, and its lease, by a clock of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lib.hosts.orders import Orders
from lib.hosts.protocol import Arm, Disarm, FirstOrder, Lease, Leave, encode

FIRST = FirstOrder(
    run="r", host="h", share="1/2", options={"workers": 2}, selection="", ca_pem=None, beat_seconds=2.0
)


class Pipe:
    """A pipe and a clock. `happenings` are seconds that pass, texts that arrive meanwhile, or the end (None)."""

    def __init__(self, *happenings: float | bytes | None) -> None:
        self.reader, self.writer = os.pipe()
        self.now = 50.0
        self.happenings = list(happenings)
        self.waits: list[float] = []
        self.heard: list[object] = []

    def clock(self) -> float:
        return self.now

    def ready(self, seconds: float) -> bool:
        """What happens next, as long as the wait lasts."""
        self.waits.append(seconds)
        while self.happenings:
            happening = self.happenings.pop(0)
            if isinstance(happening, float):
                self.now += happening
                if happening >= seconds and not isinstance(next(iter(self.happenings), None), bytes):
                    return False
            elif happening is None:
                os.close(self.writer)
                return True
            else:
                os.write(self.writer, happening)
                return True
        self.now += seconds
        return False

    def heed(self, order: object) -> None:
        self.heard.append(order)

    def puzzled(self, reason: str) -> None:
        self.heard.append(reason)

    def forsaken(self, reason: str) -> None:
        self.heard.append((reason, self.now))


@pytest.fixture
def pipes() -> Iterator[list[Pipe]]:
    made: list[Pipe] = []
    yield made
    for pipe in made:
        os.close(pipe.reader)


def line(order: FirstOrder | Arm | Disarm | Lease | Leave) -> bytes:
    return encode(order) + b"\n"


def heard(pipes: list[Pipe], *happenings: float | bytes | None) -> Pipe:
    pipe = Pipe(line(FIRST), *happenings)
    pipes.append(pipe)
    orders = Orders(pipe.reader, 20.0, pipe.clock, pipe.ready)
    assert orders.first() == FIRST
    orders.obeyed(pipe)
    return pipe


def test_orders_come_in_parts_or_together(pipes: list[Pipe]) -> None:
    text = line(Lease(3, 1)) + line(Arm(1.5, 2.5)) + line(Disarm())
    pipe = heard(pipes, text[:10], text[10:60], text[60:], line(Leave()))
    assert pipe.heard == [Lease(3, 1), Arm(1.5, 2.5), Disarm(), Leave()]


def test_a_lease_ends(pipes: list[Pipe]) -> None:
    pipe = heard(pipes, 15.0, line(Lease(-1)), 15.0, line(Arm(1.0, 2.0)))
    assert pipe.heard[:2] == [Lease(-1), Arm(1.0, 2.0)]
    assert pipe.heard[2:] == [("no lease for 20 s", 50.0 + 15.0 + 20.0)]


def test_the_first_lease_begins_with_the_first_order(pipes: list[Pipe]) -> None:
    pipe = Pipe(19.0, line(FIRST))
    pipes.append(pipe)
    orders = Orders(pipe.reader, 20.0, pipe.clock, pipe.ready)
    assert orders.first() == FIRST
    orders.obeyed(pipe)
    assert pipe.heard == [("no lease for 20 s", 50.0 + 19.0 + 20.0)]


def test_leases_that_came_while_the_process_was_stopped_are_too_late(pipes: list[Pipe]) -> None:
    pipe = heard(pipes, 30.0, line(Lease(-1)) + line(Lease(-1)))
    assert pipe.heard == [("no lease for 20 s", 80.0)]


def test_the_end_of_the_orders(pipes: list[Pipe]) -> None:
    pipe = heard(pipes, 1.0, line(Lease(0)), None)
    assert pipe.heard == [Lease(0), ("its orders have ended", 51.0)]


def test_what_is_no_order_is_reported(pipes: list[Pipe]) -> None:
    pipe = heard(pipes, b"what?\n" + line(FIRST) + b'{"order":"lease","acked":"x"}\n' + line(Leave()))
    assert pipe.heard[-1] == Leave()
    assert len(pipe.heard) == 4
    assert all(str(each).startswith("an order is not valid: ") for each in pipe.heard[:3])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{}\n", "missing required field"),
        (b"\n", "truncated"),
        (line(Leave()), "it is not the order to prepare a load"),
        (None, "its orders have ended"),
        (30.0, "no lease for 20 s"),
    ],
)
def test_without_a_first_order_there_is_no_load(
    pipes: list[Pipe], text: bytes | float | None, reason: str
) -> None:
    pipe = Pipe(text)
    pipes.append(pipe)
    with pytest.raises(ValueError, match=reason):
        Orders(pipe.reader, 20.0, pipe.clock, pipe.ready).first()


def test_a_fault_in_obeying_counts_as_the_loss_of_the_controller(pipes: list[Pipe]) -> None:
    pipe = Pipe(line(FIRST), line(Lease(1)))
    pipes.append(pipe)

    def fail(order: object) -> None:
        raise RuntimeError("no")

    pipe.heed = fail  # type: ignore[method-assign]
    orders = Orders(pipe.reader, 20.0, pipe.clock, pipe.ready)
    orders.first()
    orders.obeyed(pipe)
    assert pipe.heard == [("RuntimeError('no')", 50.0)]

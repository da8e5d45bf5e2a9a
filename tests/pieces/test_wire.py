"""Pieces as text: the same after the journey, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.load.event import PULL, Event
from lib.load.piece import IntervalEnd, Piece, Place
from lib.load.shares import Shares
from lib.outcomes import OK
from lib.pieces.wire import PieceLine, decoded, encoded, piece_line, piece_of
from tests.properties.test_accounts import events


def a_piece(added: list[Event]) -> Piece:
    piece, steps = Piece(2.0), [Shares(0.0), Shares(3.0)]
    steps[0].close(3.0)
    for event in added:
        piece.add(event)
        if event.op == PULL and event.outcome == OK:
            piece.add_latency(event)
            for step, shares in enumerate(steps):
                piece.add_share(step, shares, (event.seconds, 2 * event.seconds), event.retries)
    piece.end = 5.5
    return piece


@given(st.lists(events(), max_size=30), st.booleans())
def test_a_piece_is_the_same_after_it_was_text(added: list[Event], ends: bool) -> None:
    before = a_piece(added)
    place = Place(7, 3, 1, "interval" if ends else "step")
    interval = IntervalEnd(
        workers=3, driver_cpu_seconds=0.5, client_cpu_seconds=2.5, cores=2.0, machine=None, paused_seconds=0.0
    )
    line = decoded(encoded(piece_line(before, place, interval if ends else None)))
    assert isinstance(line, PieceLine)
    after = piece_of(line)
    assert (line.number, line.sample, line.step, line.ends) == place
    assert line.interval == (interval if ends else None)
    assert (after.start, after.end, after.counts) == (before.start, before.end, before.counts)
    for one, other in ((after.first, before.first), (after.repeat, before.repeat)):
        assert one.result() == other.result()
    assert {step: shares.state() for step, shares in after.shares.items()} == {
        step: shares.state() for step, shares in before.shares.items()
    }


LINE: dict[str, Any] = json.loads(encoded(piece_line(a_piece([]), Place(0, 0, 0, "step"))))


def read(document: object) -> None:
    line = decoded(json.dumps(document))
    assert isinstance(line, PieceLine)
    piece_of(line)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", -1),
        ("number", "1"),
        ("start", None),
        ("ends", "nothing"),
        ("line", "pieces"),
        ("counts", {**LINE["counts"], "numbers": {"pulled": -1}}),
        ("counts", {**LINE["counts"], "numbers": {"unheard": 1}}),
        ("counts", {**LINE["counts"], "workers": {"0": [1]}}),
        ("counts", {**LINE["counts"], "workers": {"x": [0] * 6}}),
        ("first", ["", 1, 0.1, 0.1, 0.1]),
        ("shares", {"0": [0.0, 0.003, 0.0, 0.0, True, 0, []]}),
        ("shares", {"0": [0.0, 0.0, 0.0, 0.0, True, 0, []]}),
        ("shares", {"0": [0.0, 0.002, 0.0, 0.0, True, 500, [1.0] * 13]}),
        ("shares", {"0": [0.0, 0.002, 0.0, 0.0, True, -1, []]}),
    ],
)
def test_what_is_no_piece_is_refused(field: str, value: object) -> None:
    read(LINE)
    with pytest.raises(ValueError, match=r".+"):
        read({**LINE, field: value})


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"number": 1'])
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decoded(text)

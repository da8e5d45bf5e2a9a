"""Pulls as columns: what a host sends is what a search judges, and what is not valid is refused."""

from __future__ import annotations

import base64
import math
import zlib
from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.capacity.judge import judge
from lib.capacity.observed import Observed
from lib.images import Image
from lib.load.event import PRUNE, PULL, Event
from lib.load.pulls import PackedPulls, Pull, pack, pull_of, unpack
from lib.options.thresholds import parse_slo
from lib.outcomes import FAILED, INTERRUPTED, OK, ErrorClass, Failure

_TIMES = st.floats(0, 1e6, allow_nan=False)
_CLASSES = st.sampled_from([each.value for each in ErrorClass])
PULLS = st.lists(
    st.builds(
        Pull,
        due=_TIMES,
        latency=_TIMES,
        own=_TIMES,
        outcome=st.sampled_from([OK, FAILED, INTERRUPTED]),
        error_class=st.none() | _CLASSES,
        first=st.booleans(),
        retries=st.none() | st.integers(0, 2**31 - 1),
        timed=st.booleans(),
    ),
    max_size=50,
)
SLOS = [
    parse_slo(text)
    for text in ("p95<250ms", "error_rate<1%", "errors.refused<3", "first.mean<1s", "retried<9")
]
PULL_OF_ONE = Pull(0.0, 0.1, 0.1, OK)


@given(PULLS)
def test_they_arrive_as_they_were_sent(pulls: list[Pull]) -> None:
    line = msgspec.json.encode(pack(pulls))
    found = unpack(msgspec.json.decode(line, type=PackedPulls))
    assert found == pulls
    assert all(type(each.error_class) in (str, type(None)) for each in found)


@given(PULLS, st.integers(1, 20))
def test_the_verdict_on_what_arrives_is_that_on_the_events(pulls: list[Pull], piece: int) -> None:
    sent = Observed(10.0, 30.0, lasted=30.0, pulls=pulls)
    arrived = Observed(10.0, 30.0, lasted=30.0)
    for start in range(0, len(pulls), piece):
        arrived.pulls.extend(unpack(pack(pulls[start : start + piece])))
    assert judge([arrived], SLOS) == judge([sent], SLOS)


@pytest.mark.parametrize("repulled", [False, True])
def test_a_pull_of_an_event(repulled: bool) -> None:
    event = Event(
        op=PULL, worker=1, pass_number=1, image=Image("a", "v1"), outcome=FAILED, ended=112.5, seconds=2.0, first=True,
        retries=3, failure=Failure("refused", "no"), began=111.5, repulled=repulled,
    )  # fmt: skip
    pull = Pull(
        due=10.5,
        latency=2.0,
        own=1.0,
        outcome=FAILED,
        error_class="refused",
        first=True,
        retries=3,
        timed=not repulled,
    )
    assert pull_of(event, 100.0) == pull
    observed = Observed(1.0, 30.0, began=100.0)
    observed.add(event)
    observed.add(event._replace(op=PRUNE))
    assert observed.pulls == [pull]


def test_they_are_small() -> None:
    """A tenth of the lines of an events file, about."""
    pulls = [Pull(number / 7, 0.1 + number % 13 / 1000, 0.1, OK) for number in range(1000)]
    assert len(msgspec.json.encode(pack(pulls))) < 32_000


def columns(due: float = 0.0, retries: int = 0, kind: int = 0) -> bytes:
    return array("d", [due, 0.1, 0.1]).tobytes() + array("i", [retries]).tobytes() + bytes([kind])


def text_of(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


GOOD = pack([PULL_OF_ONE])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (msgspec.structs.replace(GOOD, count=2), "as many as"),
        (msgspec.structs.replace(GOOD, count=0), "as many as"),
        (msgspec.structs.replace(GOOD, columns=text_of(bytes(10**6))), "as many as"),
        (msgspec.structs.replace(GOOD, columns=base64.b64encode(b"no zlib").decode()), "not valid"),
        (msgspec.structs.replace(GOOD, columns="no base64!"), "base64|padding|data"),
        (msgspec.structs.replace(GOOD, columns=GOOD.columns[:8]), "as many as"),
        (msgspec.structs.replace(GOOD, columns=text_of(columns(due=math.nan))), "too long"),
        (msgspec.structs.replace(GOOD, columns=text_of(columns(due=math.inf))), "too long"),
        (msgspec.structs.replace(GOOD, columns=text_of(columns(due=-1e300))), "too long"),
        (msgspec.structs.replace(GOOD, columns=text_of(columns(retries=-2))), "negative"),
        (msgspec.structs.replace(GOOD, columns=text_of(columns(kind=1))), "kind"),
        (msgspec.structs.replace(GOOD, kinds=[]), "kind"),
    ],
)  # fmt: skip
def test_what_is_not_valid_is_refused(given: PackedPulls, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unpack(given)


@pytest.mark.parametrize(
    "kind",
    [
        ["well", None, False, True],
        ["ok", "no-class", False, True],
        ["ok", None, 1, True],
        ["ok", None, False],
    ],
)
def test_a_kind_that_is_not_known_is_refused(kind: list[object]) -> None:
    given = msgspec.json.encode({"count": 0, "kinds": [kind], "columns": ""})
    with pytest.raises(ValueError, match="kinds"):
        msgspec.json.decode(given, type=PackedPulls)


def test_good_columns_are_taken() -> None:
    assert unpack(msgspec.structs.replace(GOOD, columns=text_of(columns(retries=-1)))) == [
        PULL_OF_ONE._replace(retries=None)
    ]

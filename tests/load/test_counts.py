"""Counts of Events add up, whoever counted which."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lib.load.counts import Counts, Sums
from lib.load.event import Event
from tests.properties.test_accounts import events


@given(st.lists(st.tuples(events(), st.integers(0, 3)), max_size=40))
def test_counts_of_parts_add_up_to_those_of_the_whole(added: list[tuple[Event, int]]) -> None:
    whole, merged, sums, parts = Counts(), Counts(), Sums(), [Counts() for _ in range(4)]
    for event, number in added:
        whole.add(event)
        parts[number].add(event)
    for part in parts:
        merged.merge_all(part)
        sums.merge(part)
    for name in Counts.__dataclass_fields__:
        if name == "client_cpu_seconds":
            assert abs(merged.client_cpu_seconds - whole.client_cpu_seconds) < 1e-6
        elif name == "examples":  # the first one of the first part
            assert merged.examples.keys() == whole.examples.keys()
        else:
            assert getattr(merged, name) == getattr(whole, name), name
    assert (sums.pulled, sums.failed, sums.errors) == (whole.pulled, whole.failed, whole.errors)

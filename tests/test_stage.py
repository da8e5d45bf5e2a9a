"""Stages: each is carried out once, and fails with the failure of the one that it builds on."""

from __future__ import annotations

import pytest

from lib.errors import RunError, UsageError
from lib.stage import Staged, stage, stages_of


class Made(Staged):
    """Three stages, of which the second fails with `error`, or gives None."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error
        self.done: list[str] = []

    @stage
    def first(self) -> int:
        self.done.append("first")
        return 7

    @stage
    def second(self) -> None:
        self.done.append("second")
        if self.error is not None:
            raise self.error

    @stage
    def third(self) -> int:
        self.second()
        self.done.append("third")
        return self.first() + 1


def test_a_stage_is_carried_out_once() -> None:
    made = Made(None)
    assert [made.third(), made.third(), made.first(), made.second()] == [8, 8, 7, None]
    assert made.done == ["second", "third", "first"]
    assert made.values == {"first": 7, "second": None, "third": 8}


@pytest.mark.parametrize("error", [UsageError("wrong"), RunError("broken")])
def test_a_failure_is_that_of_the_stage_where_it_happened(error: Exception) -> None:
    made = Made(error)
    for each in (made.third, made.second, made.third):
        with pytest.raises(type(error)) as raised:
            each()
        assert raised.value is error
    assert made.done == ["second"]
    assert made.first() == 7


def test_what_is_no_refusal_is_not_kept() -> None:
    made = Made(ZeroDivisionError())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            made.second()
    assert made.done == ["second", "second"]
    assert made.failures == {}


def test_the_stages_are_in_their_order() -> None:
    assert stages_of(Made) == ("first", "second", "third")

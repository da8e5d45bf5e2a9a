"""A number of things, in the singular and the plural."""

from __future__ import annotations

import pytest

from lib.counted import counted
from lib.doctor.machine import descriptors
from lib.load.passes import plan_passes
from lib.load.ramp import plan_ramp


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (1, ("worker",), "1 worker"),
        (0, ("worker",), "0 workers"),
        (12, ("further pair",), "12 further pairs"),
        (2059, ("pull",), "2,059 pulls"),
        (1, ("pass", "passes"), "1 pass"),
        (2, ("pass", "passes"), "2 passes"),
    ],
)
def test_counted(number: int, words: tuple[str, ...], expected: str) -> None:
    assert counted(number, *words) == expected


@pytest.mark.parametrize(("workers", "expected"), [(1, "1 worker"), (2, "2 workers")])
def test_messages_use_it(workers: int, expected: str) -> None:
    assert descriptors(workers).message.endswith(f" for {expected}")
    assert plan_ramp(workers, 1.0).about.endswith(f" up to {expected}")
    assert f": {expected}, 1 pass each, {workers} pull" in plan_passes([1] * workers, 1, None).about

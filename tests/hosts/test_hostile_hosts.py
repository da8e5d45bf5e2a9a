"""A host that sends damaged or forged numbers costs the run at most this host."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lib.results.summary_file import summary_of, summary_text
from tests.support.controlling import Control
from tests.support.fake_fleet import Scene

NUMBERS = [0, 1, -1, 2**31, 2**63, 2**64, 10**25, 1e308, 1e-320, 0.5, 10**6]
WORDS = ["", "x", "\x00", "step", "beat", "load", "interval", "1/1"]


def changed(value: Any, luck: random.Random) -> Any:
    """The value with one of its parts changed."""
    if isinstance(value, dict) and value:
        key = luck.choice(list(value))
        if luck.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: changed(value[key], luck)}
    if isinstance(value, list) and value:
        place = luck.randrange(len(value))
        return [*value[:place], changed(value[place], luck), *value[place + 1 :]]
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return luck.choice([*NUMBERS, value + 1, value * 2])
    if isinstance(value, str):
        return luck.choice([*WORDS, value[:-1], value + "A"])
    return luck.choice([None, 0, 1, "x", [], {}])


# the first ones have found faults
@pytest.mark.parametrize("seed", [49, 330, 483, 1015, 1031, 1240, 1438, *range(40)])
def test_a_damaged_message_costs_one_host_at_most(seed: int) -> None:
    luck = random.Random(seed)
    control = Control(2, Scene(workers=4, seconds=8))
    damaged = luck.randrange(2, 10)
    control.prepare(lost_hosts=1)
    process = control[2].process
    assert process is not None
    write = process.write

    def damage(number: int, line: str, incarnation: str | None = None) -> None:
        if number == damaged:
            message = json.loads(line)
            for _ in range(luck.choice([1, 1, 2, 3])):
                message = changed(message, luck)
            message["number"] = number
            line = json.dumps(message)
        write(number, line, incarnation)

    process.write = damage  # type: ignore[method-assign]
    control.arm()
    control.follow()
    control.bye()
    control.load.lines()
    summary = control.summary()
    text = summary_text(summary)
    assert "Infinity" not in text
    assert "NaN" not in text
    assert summary_of(json.loads(text)) is not None
    assert summary.of_hosts[0].pulled == 16
    assert summary.of_hosts[0].lost is None

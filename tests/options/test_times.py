"""Times among the settings are shown with their units, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from lib.options.times import shown_setting


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("pull_timeout", 300.0, "5m"),
        ("tally_seconds", 15, "15s"),
        ("iteration_seconds", 60.0, "1m"),
        ("hold", 5400.0, "1h30m"),
        ("duration", 0.25, "0.25s"),
        ("grace", 0.0, "0s"),
        ("duration", None, None),
        ("batch", 20, 20),
        ("warm_up", True, True),
        ("pull_timeout", "text", "text"),
        ("pull_timeout", True, True),
        ("pull_timeout", float("inf"), float("inf")),
        ("pull_timeout", -1.0, -1.0),
        ("of another version", 300.0, 300.0),
    ],
)
def test_only_times_get_units(name: str, value: Any, shown: Any) -> None:
    assert shown_setting(name, value) == shown

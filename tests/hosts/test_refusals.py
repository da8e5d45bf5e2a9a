"""What is wrong with hosts, in few words however many they are."""

from __future__ import annotations

import pytest

from lib.hosts.refusals import grouped, hosts, named

MANY = [f"h{number}" for number in range(17)]


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([], ""),
        ([("a", "no crane")], "host a: no crane"),
        ([("a", "no crane"), ("b", "no crane")], "2 hosts (a, b): no crane"),
        (
            [("a", "no login"), ("b", "no crane"), ("c", "no crane")],
            "2 hosts (b, c): no crane; host a: no login",
        ),
        ([(name, "no crane") for name in MANY], "17 hosts (h0, h1, h2, h3, h4 and 12 others): no crane"),
    ],
)
def test_equal_reasons_are_together(reasons: list[tuple[str, str]], told: str) -> None:
    assert grouped(reasons) == told


def test_only_so_many_reasons() -> None:
    text = grouped((name, f"reason {name}") for name in MANY)
    assert text.count("host h") == 8
    assert text.endswith("; and 9 other reasons")


def test_names() -> None:
    assert named(["a"]) == "a"
    assert named(MANY[:5]) == "h0, h1, h2, h3, h4"
    assert named(MANY[:6]) == "h0, h1, h2, h3, h4 and 1 other"
    assert hosts(["a"]) == "host a"
    assert hosts(["a", "b"]) == "2 hosts (a, b)"

"""One server by two names."""

from __future__ import annotations

import pytest

from lib.http.address import parse_endpoint, same_server, spelled_alike


@pytest.mark.parametrize(
    ("one", "other", "alike", "same"),
    [
        ("up.example:5000", "http://UP.example:5000/", True, True),
        ("up.example", "http://up.example:80", True, True),
        ("https://up.example", "up.example:443", True, True),
        ("up.example:5000", "up.example:5001", False, False),
        ("127.0.0.1:5000", "localhost:5000", False, True),
        ("127.0.0.1:5000", "127.0.0.2:5000", False, True),
        ("127.0.0.1:5000", "[::1]:5000", False, True),
        ("127.0.0.1:5000", "10.0.0.1:5000", False, False),
        ("no.such.invalid:5000", "127.0.0.1:5000", False, False),
    ],
)
def test_two_names(one: str, other: str, alike: bool, same: bool) -> None:
    first, second = parse_endpoint("--x", one), parse_endpoint("--x", other)
    assert spelled_alike(first, second) is alike
    assert same_server(first, second) is same

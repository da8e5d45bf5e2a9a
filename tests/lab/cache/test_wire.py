"""How the lab's cache reads a request."""

from __future__ import annotations

import pytest

from lib.lab.cache.wire import Address, parse_query, resolve


@pytest.mark.parametrize(
    ("path", "header", "ns", "default", "url"),
    [
        ("a/b", "up:5000", None, None, "up:5000/a/b:v1"),
        ("a/b", "up:5000", "other", "third", "up:5000/a/b:v1"),
        ("a/b", "", "up:5000", "third", "up:5000/a/b:v1"),
        ("a/b", "", "", "third", "/a/b:v1"),
        ("up.example/a", "", None, "third", "up.example/a:v1"),
        ("a", "", None, "third", "third/a:v1"),
        ("a", "", None, None, None),
        ("up.example", "", None, None, None),
        ("up.example/a", "up:5000", None, None, None),
        ("up.example/a.b/c", "", None, None, None),
        ("a/b.c", "up:5000", None, None, "up:5000/a/b.c:v1"),
    ],
)
def test_addressing(path: str, header: str, ns: str | None, default: str | None, url: str | None) -> None:
    address = resolve(path.split("/"), "V1", header, ns, default)
    assert (address.url if address else None) == url


def test_names_by_digest() -> None:
    address = Address("up.example", "a/b", "sha256:" + "1" * 64)
    assert address.by_digest
    assert address.url == address.with_digest("sha256:" + "1" * 64) == f"up.example/a/b@sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("a=1+2%2B3%2C&b", {"a": ["1 2+3,"], "b": [""]}),
        ("a=1;2&b=%zz&c=%4", {}),
        ("a=b=c&&=d", {"a": ["b=c"], "": ["d"]}),
    ],
)
def test_queries_are_read_as_go_reads_them(raw: str, values: dict[str, list[str]]) -> None:
    assert parse_query(raw) == values

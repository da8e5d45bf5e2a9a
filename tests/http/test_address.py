"""Registry addresses: how they are read, and which are none."""

from __future__ import annotations

import pytest

from lib.errors import UsageError
from lib.http.address import parse_endpoint


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("cache:8080", "http://cache:8080", "cache:8080"),
        ("http://cache:8080/", "http://cache:8080", "cache:8080"),
        ("https://cache.example", "https://cache.example", "cache.example"),
        ("cache", "http://cache", "cache:80"),
        ("https://cache", "https://cache", "cache:443"),
        ("localhost", "http://localhost", "localhost"),
        ("[::1]:5000", "http://[::1]:5000", "[::1]:5000"),
    ],
)
def test_addresses(text: str, url: str, host: str) -> None:
    endpoint = parse_endpoint("--pullthrough-url", text)
    assert (endpoint.url, endpoint.host) == (url, host)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a host"),
        ("ftp://cache", "'ftp://' is not supported"),
        ("http://cache/proxy", "--layout"),
        ("http://me:secret@cache", "must not have a user name or password"),
        ("cache:port", "not a host"),
        ("cache:0", "not a host"),
        ("cache:70000", "not a host"),
        ("ca che", "not a host"),
        ("cache?x", "not a host"),
    ],
)
def test_wrong_addresses(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_endpoint("--pullthrough-url", text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url", "host", "path"),
    [
        (
            "https://art.example/artifactory/api/docker/key/",
            None,
            "art.example",
            "artifactory/api/docker/key",
        ),
        ("art:8081/a", "http://art:8081/a", "art:8081", "a"),
        ("http://art/a.b/c-d_e~f/%20", None, "art:80", "a.b/c-d_e~f/%20"),
        ("https://[::1]:5000/a", None, "[::1]:5000", "a"),
        ("https://reg.example", None, "reg.example", ""),
    ],
)
def test_a_path_that_a_registry_is_below(text: str, url: str | None, host: str, path: str) -> None:
    endpoint = parse_endpoint("--registry-url", text, below=True)
    assert (endpoint.url, endpoint.host, endpoint.path) == (url or text.rstrip("/"), host, path)
    assert endpoint.root.url == endpoint.url.removesuffix(f"/{path}")
    assert endpoint.root.host == host


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://art/a//b", "has a path that is not valid"),
        ("http://art/../b", "has a path that is not valid"),
        ("http://art/a/.", "has a path that is not valid"),
        ("http://art/a?key=1", "has a path that is not valid"),
        ("http://art/a#b", "has a path that is not valid"),
        ("http://art/a b", "has a path that is not valid"),
        ("http://art/%zz", "has a path that is not valid"),
        ("http:///a", "not a host"),
        ("http://ar t/a", "not a host"),
        ("http://me:secret@art/a", "must not have a user name or password"),
    ],
)
def test_wrong_paths(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_endpoint("--registry-url", text, below=True)
    assert "secret" not in str(caught.value)

"""The loopback gateway: where it sends, and what it refuses."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from lib.gateway import Gateway
from lib.http.network import Network
from lib.stop import Stop


@pytest.fixture
def address() -> Iterator[str]:
    with Network(Stop()) as network:
        gateway = Gateway("http://cache.example:8080", "up.example:5000")
        yield network.run(gateway.start())
        network.run(gateway.close())


def ask(
    address: str, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/team/app/manifests/v1.0_x-y", f"/v2/app/blobs/sha256:{'a' * 64}"])
def test_requests_are_sent_on_with_the_upstream_named(address: str, method: str, path: str) -> None:
    assert ask(address, method, path) == (307, f"http://cache.example:8080{path}?ns=up.example%3A5000")


def test_ping(address: str) -> None:
    assert ask(address, "GET", "/v2/") == (200, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/app/blobs/uploads/", 405),
        ("PUT", "/v2/app/manifests/v1", 405),
        ("GET", "/", 404),
        ("GET", "/v2/_catalog", 404),
        ("GET", "/v2/../cmd/stop/manifests/x", 404),
        ("GET", "/v2/app/manifests/%2e%2e/%2e%2e/cmd", 404),
        ("GET", "//evil.example/v2/app/manifests/v1", 404),
        ("DELETE", "/cmd/prune?type=pattern&expr=.", 404),
    ],
)
def test_nothing_else_is(address: str, method: str, path: str, status: int) -> None:
    assert ask(address, method, path) == (status, None)


def test_other_hosts_names_are_refused(address: str) -> None:
    assert ask(address, "GET", "/v2/app/manifests/v1", {"Host": "evil.example"}) == (421, None)


def test_it_listens_on_loopback_only(address: str) -> None:
    assert address.startswith("127.0.0.1:")


def test_a_tls_hello_is_answered_at_once_with_400(address: str) -> None:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        started = time.monotonic()
        connection.sendall(b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + b"\x00" * 240)
        answer = connection.recv(4096)
    assert answer.split()[1] == b"400"
    assert time.monotonic() - started < 4  # no waiting for more of the hello

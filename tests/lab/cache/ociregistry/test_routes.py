"""What Ociregistry answers at all, and what it refuses."""

from __future__ import annotations

import re
import socket
import ssl
import time

import pytest

from tests.support.ociregistry import ZEROS, Ociregistry
from tests.support.waiting import SECONDS

NO_ROUTE = b'{"message":"no matching operation was found"}\n'
WRONG_METHOD = b'{"message":"Method Not Allowed"}\n'


def test_ping(server: Ociregistry) -> None:
    answer = server.ask("GET", "/v2/")
    assert (answer.status, answer.body) == (200, b'"true"\n')
    assert answer.headers["content-type"] == "application/json"
    assert server.ask("HEAD", "/v2/").status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/", 200, b"null\n"),
        ("HEAD", "/", 405, b""),
        ("GET", "/v2", 404, NO_ROUTE),
        ("POST", "/v2/", 405, WRONG_METHOD),
        ("DELETE", "/v2/", 405, WRONG_METHOD),
        ("GET", "/nothing", 404, NO_ROUTE),
        ("DELETE", "/nothing", 404, NO_ROUTE),
        ("GET", "/v2/_catalog", 404, NO_ROUTE),
        ("GET", "/v2/one/tags/list", 405, b""),
        ("GET", "/v2/one/two/tags/list", 404, NO_ROUTE),
        ("GET", f"/v2/one/referrers/{ZEROS}", 405, b""),
        ("POST", "/v2/one/blobs/uploads", 405, b""),
        ("POST", "/v2/one/blobs/uploads/", 404, NO_ROUTE),
        ("PUT", "/v2/one/two/manifests/v1", 405, b""),
        ("PATCH", "/v2/one/two/manifests/v1", 405, WRONG_METHOD),
        ("GET", "/v2/one/two/manifests/v1/", 404, NO_ROUTE),
        ("GET", "/v2/a/b/c/d/e/manifests/v1", 404, NO_ROUTE),
        ("GET", f"/v2/a/b/c/d/e/blobs/{ZEROS}", 404, NO_ROUTE),
        ("GET", "/cmd/prune", 405, WRONG_METHOD),
        ("HEAD", "/cmd/image/list", 405, b""),
    ],
)
def test_routes(server: Ociregistry, method: str, path: str, status: int, body: bytes) -> None:
    answer = server.pull(method, path)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize("reference", ["v1", ZEROS])
@pytest.mark.parametrize("name", ["one", "one/two", "one/two/three", "one/two/three/four"])
@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_every_oci_delete_is_refused_without_a_body(
    server: Ociregistry, name: str, kind: str, reference: str
) -> None:
    answer = server.pull("DELETE", f"/v2/{name}/{kind}/{reference}")
    assert (answer.status, answer.body) == (405, b"")


def test_the_delete_of_a_cached_image_is_refused_too(server: Ociregistry) -> None:
    repository = server.name("kept")
    server.push(repository, "v1", b"kept")
    digest = server.get(repository, "v1").headers["docker-content-digest"]
    for reference in ("v1", digest):
        assert server.pull("DELETE", f"/v2/{repository}/manifests/{reference}").status == 405
    assert server.pull("DELETE", "/v2/a/b/c/d/e/manifests/v1").status == 404
    assert server.listed(f"{repository}:") == [f"{server.upstream}/{repository}:v1"]


def test_a_url_of_a_million_bytes_is_taken_a_longer_one_refused(server: Ociregistry) -> None:
    taken = server.prune("type=pattern&dryRun=true&expr=" + "a" * 1_000_000)
    assert (taken.status, taken.body) == (200, b"")
    refused = server.prune("type=pattern&dryRun=true&expr=" + "a" * 1_100_000)
    assert (refused.status, refused.body) == (431, b"431 Request Header Fields Too Large")


def tls_hello() -> bytes:
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def seconds_to_refuse_tls(server: Ociregistry) -> float:
    host, _, port = server.address.partition(":")
    started = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(tls_hello())
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert re.match(rb"HTTP/1\.[01] 400 Bad Request\r\n", answer)
    return time.monotonic() - started


def test_a_tls_hello_is_answered_with_400_at_once(server: Ociregistry) -> None:
    assert min(seconds_to_refuse_tls(server) for _ in range(10)) < 5

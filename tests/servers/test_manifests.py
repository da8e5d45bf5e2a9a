"""What a hostile server says of its manifests: digests and platforms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from lib.clients.crane import Crane
from lib.http.address import parse_endpoint
from lib.http.network import Network
from lib.http.registry import Registry, RegistryError
from lib.images import Image
from lib.processes.signals import Stop
from lib.servers.layout import parse_layout
from lib.servers.manifests import DigestResolver, PlatformImages
from lib.servers.route import plan_route
from lib.servers.under_test import ServerUnderTest
from tests.doubles.catalog import Handler
from tests.support.registry import registry_on, serving_on

IMAGE = Image("app", "v1")
INDEX = "application/vnd.oci.image.index.v1+json"


@contextmanager
def asked(handler: Handler) -> Iterator[tuple[Network, Registry]]:
    """A server that answers by `handler`, and what asks it."""
    with (
        Network(Stop()) as network,
        serving_on(network, handler) as server,
        registry_on(network, server.url, retry_seconds=20.0) as registry,
    ):
        yield network, registry


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "v1",
        "--help",
        "../../other:v1",
        "sha256:0",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 64 + "/../x",
        "md5:a",
    ],
)
def test_a_digest_that_is_none_is_not_deleted(digest: str) -> None:
    """It would go into a command line and could name another image."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(headers={"Docker-Content-Digest": digest})

    with asked(handler=handle) as (network, registry):
        endpoint = parse_endpoint("--pullthrough-url", registry.host)
        route = plan_route(ServerUnderTest(endpoint, endpoint, "up", parse_layout("distribution")), Crane, [])
        with pytest.raises(RegistryError, match="no digest for app:v1"):
            DigestResolver(network, registry, route).by_digest(IMAGE)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"manifests": [' + b",".join([b'{"digest": "sha256:%064x"}' % i for i in range(2000)]) + b"]}",
            "2,000",
        ),
        (b" " * (5 << 20), "longer than 4 MiB"),
        (b"[" * 100_000, "is not JSON"),
        (b"<html>", "is not JSON"),
    ],
)
def test_an_index_without_end_is_left_alone(body: bytes, reason: str) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=INDEX)

    log: list[str] = []
    with asked(handle) as (network, registry):
        images = PlatformImages(network, registry, log.append)
        assert images.of([IMAGE]).get(IMAGE, ()) == ()
    assert reason in log[0]


@pytest.mark.parametrize(
    "body",
    [
        b"{}", b"[]", b"3", b'"x"', b'{"manifests": "x"}',
        b'{"manifests": [3, null, {"digest": 5}, {"digest": "--help"}]}',
        b'{"manifests": [{"digest": "\\ud800"}]}', b'{"mediaType": 3, "manifests": [{}]}',
        b'{"mediaType": ["x"], "manifests": [{"digest": "sha256:%064x"}]}' % 1,
    ],
)  # fmt: skip
def test_junk_is_no_index(body: bytes) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=INDEX)

    log: list[str] = []
    with asked(handle) as (network, registry):
        assert PlatformImages(network, registry, log.append).of([IMAGE])[IMAGE] == ()
    assert log == []

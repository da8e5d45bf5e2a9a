"""Prunes by a server that fails: each image's prune has one outcome, with a class and a line."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from lib.clients.client import Executable
from lib.clients.crane import Crane
from lib.http.address import parse_endpoint
from lib.http.network import Network
from lib.http.registry import Registry
from lib.images import Image
from lib.processes.launch import Launcher
from lib.servers.layout import parse_layout
from lib.servers.manifests import DigestResolver, PlatformImages
from lib.servers.prune import AdminPruner, ClientPruner, Pruned
from lib.servers.route import plan_route
from lib.servers.under_test import ServerUnderTest
from tests.doubles.catalog import Handler
from tests.support.registry import registry_on, serving_on

IMAGES = [Image("app", "v1"), Image("app", "v2")]


class Pruning:
    """Both ways of pruning a server."""

    def __init__(self, network: Network, registry: Registry) -> None:
        self.network = network
        self.registry = registry
        self.log: list[str] = []

    def by_admin(self, folder: Path) -> list[Pruned]:
        platforms = PlatformImages(self.network, self.registry, self.log.append)
        return list(AdminPruner(self.network, self.registry, "up:5000", platforms).prune(IMAGES, folder, no))

    def by_client(self, folder: Path) -> list[Pruned]:
        endpoint = parse_endpoint("--pullthrough-url", self.registry.host)
        route = plan_route(ServerUnderTest(endpoint, endpoint, "up", parse_layout("distribution")), Crane, [])
        launcher = Launcher(os.environ)
        try:
            client = Crane(Executable("/bin/true", ""), "linux/amd64", True)
            resolver = DigestResolver(self.network, self.registry, route)
            pruner = ClientPruner(client, launcher, lambda image: image.name, 5, resolver)
            return list(pruner.prune(IMAGES, folder, no))
        finally:
            launcher.close()


def no() -> bool:
    return False


@contextmanager
def pruning(network: Network, handler: Handler) -> Iterator[Pruning]:
    """Of a server that answers by `handler`."""
    with (
        serving_on(network, handler) as server,
        registry_on(network, server.url, retry_seconds=0.2) as registry,
    ):
        yield Pruning(network, registry)


@pytest.mark.parametrize(
    ("status", "word"), [(403, "forbidden"), (404, "not-found"), (429, "rate-limited"), (503, "server-error")]
)
def test_an_answer_that_is_no_success(network: Network, tmp_path: Path, status: int, word: str) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, text="\x1b[2J\nno such host\u202e" + "x" * 100_000)

    with pruning(network, handle) as ways:
        by_both = [*ways.by_admin(tmp_path), *ways.by_client(tmp_path)]
    assert [each.outcome for each in by_both] == ["failed"] * 4
    for each in by_both:
        assert each.failure is not None
        assert each.failure.error_class == word
        assert each.failure.message.isprintable()
        assert len(each.failure.message) < 1500


def test_no_server_at_all(network: Network, tmp_path: Path) -> None:
    with registry_on(network, "http://127.0.0.1:1", retry_seconds=0.2) as registry:
        ways = Pruning(network, registry)
        by_both = [*ways.by_admin(tmp_path), *ways.by_client(tmp_path)]
    assert [each.failure and each.failure.error_class for each in by_both] == ["refused"] * 4


def test_the_calls_of_several_workers_follow_one_another(network: Network, tmp_path: Path) -> None:
    """Ociregistry damages its cache if two calls prune the same image at the same time.

    Each call takes long enough for a second one to come. None comes before it is over.
    """
    running = most = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal running, most
        if request.method == "DELETE":
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.3)
            running -= 1
        return web.Response()

    outcomes: list[str] = []
    with pruning(network, handle) as ways:
        platforms = PlatformImages(network, ways.registry, ways.log.append)
        pruner = AdminPruner(network, ways.registry, "up:5000", platforms)

        def prune() -> None:
            outcomes.extend(each.outcome for each in pruner.prune(IMAGES, tmp_path, no))

        workers = [threading.Thread(target=prune) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert outcomes == ["ok"] * 6
    assert most == 1


@pytest.mark.parametrize("silent", ["GET", "HEAD", "DELETE"])
def test_a_kill_ends_a_call_that_has_no_answer(network: Network, tmp_path: Path, silent: str) -> None:
    """Of the platforms (GET), of the digest (HEAD), of the prune itself (DELETE)."""
    asked = threading.Event()

    async def handle(request: web.Request) -> web.Response:
        if request.method == silent:
            asked.set()
            await asyncio.sleep(3600)
        return web.Response(headers={"Docker-Content-Digest": "sha256:" + "0" * 64})

    def kill() -> None:
        asked.wait(100)
        network.kill_all()

    with pruning(network, handle) as ways:
        threading.Thread(target=kill).start()
        done = ways.by_client(tmp_path) if silent == "HEAD" else ways.by_admin(tmp_path)
    assert [each.outcome for each in done] == ["interrupted"] * 2

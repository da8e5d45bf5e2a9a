"""Prune calls: exact expressions, URL limits, the probes, and deletes with the clients' own commands."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import re2

from lib.clients.client import Client, Executable
from lib.clients.crane import Crane
from lib.clients.skopeo import Skopeo
from lib.http.address import parse_endpoint
from lib.http.network import Network
from lib.http.registry import Registry
from lib.images import Image
from lib.lab.populate import Population, populate
from lib.lab.servers import crane_registry
from lib.processes.launch import Launcher
from lib.servers.layout import parse_layout
from lib.servers.manifests import DigestResolver, PlatformImages
from lib.servers.prune import ClientPruner, expression, partition, prune_url
from lib.servers.prune_probe import Probe, probe_admin, probe_delete
from lib.servers.route import Route, plan_route
from lib.servers.under_test import ServerUnderTest
from tests.doubles.pull_through import pull_through
from tests.support.registry import registry_on
from tests.support.upstream import Upstream


@pytest.mark.parametrize(
    ("image", "pruned", "kept"),
    [
        (
            Image("a.b/c", "v1.0"),
            "up:5000/a.b/c:v1.0",
            ["up:5000/axb/c:v1.0", "up:5000/a.b/c:v1.0.1", "xup:5000/a.b/c:v1.0"],
        ),
        (Image("app", "V1"), "up:5000/app:v1", ["up:5000/app:V1"]),
        (Image("app", "sha256:" + "a" * 64), "up:5000/app@sha256:" + "a" * 64, ["up:5000/app"]),
        (Image("x__y", "a-b_c"), "up:5000/x__y:a-b_c", ["up:5000/x__y:a-b_cd"]),
    ],
)
def test_an_expression_matches_its_image_alone(image: Image, pruned: str, kept: list[str]) -> None:
    regex = re2.compile(expression("up:5000", image))
    assert regex.search(pruned)
    assert not any(regex.search(name) for name in kept)


def test_urls_stay_under_the_limit_and_hold_each_image_once() -> None:
    images = [Image(f"team/app-{number:04d}", f"v1.{number}") for number in range(500)]
    calls = list(partition(images, {}, "up.example:5000", 2000))
    assert len(calls) > 10
    assert all(len(url) <= 2000 for _, url in calls)
    assert [image for batch, _ in calls for image in batch] == images
    for batch, url in calls:
        query = parse_qs(urlsplit(url).query)
        assert query["expr"][0].split(",") == [expression("up.example:5000", image) for image in batch]
        assert (query["type"], query["dryRun"], query["count"]) == (["pattern"], ["false"], ["-1"])


def test_an_image_longer_than_the_limit_still_has_its_call() -> None:
    assert [batch for batch, _ in partition([Image("a" * 200, "v1")] * 2, {}, "up", 100)] == [
        [Image("a" * 200, "v1")]
    ] * 2


def test_the_platforms_of_an_index_are_in_its_call() -> None:
    index, other = Image("app", "v1"), Image("app", "v2")
    parts = {index: [Image("app", "sha256:" + "a" * 64), Image("app", "sha256:" + "b" * 64)]}
    (call, following) = partition([index, other], parts, "up", 240)
    assert call[0] == [index]
    assert parse_qs(urlsplit(call[1]).query)["expr"][0].split(",") == [
        expression("up", image) for image in (index, *parts[index])
    ]
    assert following[0] == [other]


def test_no_images_no_call() -> None:
    assert list(partition([], {}, "up", 100)) == []


def test_a_dry_run_says_so() -> None:
    assert "dryRun=true" in prune_url(["^x$"], dry_run=True)


@pytest.fixture
def connect(network: Network) -> Iterator[Callable[[str], Registry]]:
    """Registries by url."""
    with ExitStack() as opened:
        yield lambda url: opened.enter_context(registry_on(network, url, retry_seconds=1.0))


def route_to(url: str) -> Route:
    endpoint = parse_endpoint("--pullthrough-url", url)
    return plan_route(ServerUnderTest(endpoint, endpoint, "up", parse_layout("distribution")), Crane, [])


def test_the_platforms_of_an_index_are_asked_for_once(
    network: Network, connect: Callable[[str], Registry], crane: str
) -> None:
    log: list[str] = []
    with crane_registry() as server:
        (name,) = asyncio.run(
            populate(
                server.url, Population(groups=1, images=1, layers=1, platforms=("linux/amd64", "linux/arm64"))
            )
        )
        (plain,) = asyncio.run(populate(server.url, Population(groups=1, images=1, layers=1, seed=9)))
        index, single = (Image(*each.split(":")) for each in (name, plain))
        images = PlatformImages(network, connect(server.url), log.append)
        found = images.of([index, single])
        assert len(found[index]) == 2
        assert all(part.is_digest and part.repository == index.repository for part in found[index])
        assert found[single] == ()
    assert images.of([index, single]) == found  # the server is gone: nothing was asked again
    for _ in range(2):  # the log tells of an image once, not in each pass
        assert images.of([Image("app", "v1")]).get(Image("app", "v1"), ()) == ()
    assert len(log) == 1
    assert log[0].startswith(
        "cannot read the platforms of 1 image such as app:v1, so the platforms are not pruned: "
    )


def test_a_proxy_cannot_be_pruned(
    network: Network, connect: Callable[[str], Registry], proxy: Upstream
) -> None:
    server = connect(proxy.url)
    probe = network.run(probe_delete(server, route_to(proxy.url), Image("app", "v1")))
    assert not probe.works
    assert "405" in probe.reason
    assert not network.run(probe_admin(server)).works


def test_a_registry_with_deletes_wants_digests(
    network: Network, connect: Callable[[str], Registry], deletable: Upstream
) -> None:
    probe = network.run(probe_delete(connect(deletable.url), route_to(deletable.url), Image("app", "v1")))
    assert probe.works
    assert probe.by_digest


def test_the_probe_of_a_cold_zot(
    network: Network, connect: Callable[[str], Registry], upstream: Upstream
) -> None:
    with pull_through(upstream.address) as zot:
        server = connect(f"http://{zot.address}")
        image = Image(*upstream.images[0].split(":"))
        assert network.run(probe_delete(server, route_to(server.url), image)) == Probe(True)
        zot.held[image.repository] = set()
        assert network.run(probe_delete(server, route_to(server.url), image)) == Probe(True)
        assert {command for _, command, _ in zot.asked} == {"DELETE"}


def test_a_server_that_is_gone(network: Network, connect: Callable[[str], Registry]) -> None:
    probe = network.run(
        probe_delete(connect("http://127.0.0.1:1"), route_to("127.0.0.1:1"), Image("app", "v1"))
    )
    assert probe == Probe(False, probe.reason)
    assert "a trial delete got no answer" in probe.reason


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("name", ["crane", "skopeo"])
def test_deletes_with_the_tools_own_commands(
    name: str,
    by: str,
    request: pytest.FixtureRequest,
    network: Network,
    connect: Callable[[str], Registry],
    deletable: Upstream,
    upstream: Upstream,
    crane: str,
    tmp_path: Path,
) -> None:
    """A docker-registry deletes by digest only: crane is given it, skopeo finds it by itself."""
    path = request.getfixturevalue(name)
    client: Client = (
        Crane(Executable(path, ""), "linux/amd64", True)
        if name == "crane"
        else Skopeo(Executable(path, ""), "linux/amd64", True, Path("/none"))
    )
    server, route = connect(deletable.url), route_to(deletable.url)
    repository, _, tag = upstream.images[0].partition(":")
    with ExitStack() as stack:
        launcher = Launcher(os.environ)
        stack.callback(launcher.close)
        copied = launcher.run(
            [
                crane,
                "copy",
                f"{upstream.address}/{upstream.images[0]}",
                f"{deletable.address}/{upstream.images[0]}",
            ],
            60,
        )
        assert copied.returncode == 0, copied.stderr
        image = Image(repository, tag)
        resolver = DigestResolver(network, server, route)
        if by == "digest":
            image = resolver.by_digest(image)
        pruner = ClientPruner(
            client,
            launcher,
            lambda each: route.reference(deletable.address, each),
            60,
            resolver if name == "crane" else None,
        )
        (first,) = pruner.prune([image], tmp_path, lambda: False)
        assert (first.outcome, first.failure) == ("ok", None)
        status = network.run(server.request("GET", f"/v2/{repository}/manifests/{tag}")).status
        assert status == 404
        (second,) = pruner.prune([image], tmp_path, lambda: False)
        assert second.outcome == "failed"
        assert second.failure is not None
        assert second.failure.error_class == "not-found"


def test_a_stop_leaves_the_rest(tmp_path: Path) -> None:
    launcher = Launcher({})
    try:
        client = Crane(Executable("/bin/true", ""), "linux/amd64", True)
        pruner = ClientPruner(client, launcher, lambda image: image.name, 5, None)
        images = [Image("a", "1"), Image("b", "1")]
        # asked before each image, and again when its turn to start has come
        for answers, pruned in (([False, False, True], ["a:1"]), ([False, True], [])):
            done = list(pruner.prune(images, tmp_path, iter(answers).__next__))
            assert [each.image.name for each in done] == pruned
    finally:
        launcher.close()

"""URLs that are mixed up: swapped, or those of one server. A good run is never warned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.http.address import parse_endpoint, surely_same
from lib.lab.servers import Server, docker_registry, docker_registry_proxy, lab_cache
from tests.support.doctor import doctor
from tests.support.driving import Ended, drive
from tests.support.upstream import Upstream

SWAPPED = "are --pullthrough-url and --registry-url swapped?"
SAME = "--pullthrough-url and --registry-url are the same server"


@pytest.fixture(scope="module")
def cache(upstream: Upstream) -> Iterator[Server]:
    with lab_cache(upstream.address) as server:
        yield server


def ran(folder: Path, pullthrough: str, registry: str, *options: str, stdin: str = "") -> Ended:
    return drive(
        folder, f"--pullthrough-url={pullthrough}", f"--registry-url={registry}", "--workers=1", "--passes=1",
        *options, stdin=stdin,
    )  # fmt: skip


def test_ociregistry_at_the_upstreams_address(
    cache: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    swapped = ran(tmp_path, upstream.url, cache.url, f"--client={crane}")
    assert swapped.status == 1
    assert f"Ociregistry answers at --registry-url ({cache.address})" in swapped.stderr
    assert SWAPPED in swapped.stderr
    assert len(swapped.stderr.splitlines()) == 2
    dry = ran(tmp_path, upstream.url, cache.url, "--dry-run")
    assert dry.status == 1
    (line,) = dry.stderr.splitlines()
    assert "has no catalog" in line
    assert SWAPPED in line
    by_list = ran(
        tmp_path, upstream.url, cache.url, f"--client={crane}", "--image-list=-", stdin=upstream.images[0]
    )
    assert SWAPPED in by_list.stderr
    _, checks, _ = doctor(
        f"--pullthrough-url={upstream.url}", f"--registry-url={cache.url}", "--workers=1", f"--client={crane}"
    )
    assert any(SWAPPED in check["message"] for check in checks if check["name"] == "servers")


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_proxy_without_images_at_the_upstreams_address(
    options: tuple[str, ...], upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    with docker_registry_proxy(upstream.url) as proxy:
        ended = ran(tmp_path, upstream.url, proxy.url, "--layout=distribution", f"--client={crane}", *options)
    assert ended.status == 1
    (line,) = ended.stderr.splitlines()
    assert "lists no images" in line
    assert f"({upstream.address} lists images: {SWAPPED})" in line


def test_an_upstream_without_images_is_not_called_swapped(
    upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    with docker_registry() as empty, docker_registry_proxy(empty.url) as proxy:
        ended = ran(tmp_path, proxy.url, empty.url, "--layout=distribution", f"--client={crane}")
    assert ended.status == 1
    assert "lists no images" in ended.stderr
    assert SWAPPED not in ended.stderr


@pytest.mark.parametrize(
    ("pullthrough", "layout"),
    [
        ("127.0.0.1:{port}", "ociregistry"),
        ("http://127.0.0.1:{port}/", "distribution"),
        ("localhost:{port}", "distribution"),
        ("127.0.0.1:{port}", "harbor:project"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_one_server_is_warned_of_whatever_its_spelling(
    pullthrough: str, layout: str, options: tuple[str, ...], upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    port = upstream.address.partition(":")[2]
    ended = ran(
        tmp_path,
        pullthrough.format(port=port),
        upstream.url,
        f"--layout={layout}",
        f"--client={crane}",
        *options,
    )
    assert ended.stderr.count(SAME) == 1
    assert ended.log.count(SAME) == 1


def test_good_runs_are_not_warned(
    cache: Server, upstream: Upstream, proxy: Server, crane: str, tmp_path: Path
) -> None:
    client = f"--client={crane}"
    good = [
        ran(tmp_path, cache.url, upstream.url, client),
        ran(tmp_path, proxy.url, upstream.url, "--layout=distribution", client),
        ran(tmp_path, upstream.url, upstream.url, "--layout=direct", client),
    ]
    with lab_cache(cache.address, "--name", upstream.address) as second:  # a cache of a cache
        listed = "\n".join(upstream.images)
        good.append(ran(tmp_path, second.url, cache.url, client, "--image-list=-", stdin=listed))
    assert [(ended.status, ended.stderr) for ended in good] == [(0, "")] * 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://cache.example", "https://cache.example:443/", True),
        ("cache.example", "Cache.Example.:80", True),
        ("localhost:5000", "127.0.0.1:5000", True),
        ("localhost:5000", "127.0.0.1:5001", False),
        ("127.0.0.1:5000", "127.0.0.2:5000", False),
        # two names of one address: a reverse proxy may tell them apart
        ("one.localhost:5000", "other.localhost:5000", False),
        ("one.invalid:5000", "127.0.0.1:5000", False),
    ],
)
def test_one_server_beyond_doubt(one: str, other: str, same: bool) -> None:
    first, second = parse_endpoint("", one), parse_endpoint("", other)
    assert (surely_same(first, second), surely_same(second, first)) == (same, same)

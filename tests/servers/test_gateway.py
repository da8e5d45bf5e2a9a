"""The loopback gateway: where it sends, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from lib.http.network import Network
from lib.servers.gateway import Gateway
from tests.doubles.catalog import serving
from tests.support.asking import ask
from tests.support.browser import browse


@pytest.fixture
def address(network: Network) -> Iterator[str]:
    gateway = Gateway("http://cache.example:8080", "up.example:5000")
    yield network.run(gateway.start())
    network.run(gateway.close())


def sent_to(
    address: str, method: str, path: str, headers: dict[str, str] | None = None
) -> tuple[int, str | None]:
    """The status, and the location that it names."""
    answer = ask(address, method, path, headers=headers)
    return answer.status, answer.headers.get("location")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("path", ["/v2/team/app/manifests/v1.0_x-y", f"/v2/app/blobs/sha256:{'a' * 64}"])
def test_requests_are_sent_on_with_the_upstream_named(address: str, method: str, path: str) -> None:
    assert sent_to(address, method, path) == (307, f"http://cache.example:8080{path}?ns=up.example%3A5000")


def test_ping(address: str) -> None:
    assert sent_to(address, "GET", "/v2/") == (200, None)


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
        ("GET", "/v2//evil.example/app/manifests/v1", 404),
        ("GET", "/v2/./app/manifests/v1", 404),
        ("GET", "/v2/app/manifests/v1%0d%0aX-Evil:%201", 404),
        ("GET", "/v2/app/manifests/v1%0a", 404),
        ("GET", "/v2/app/manifests/-v1", 404),
        ("GET", "/v2/APP/manifests/v1", 404),
        ("GET", f"/v2/{'a' * 300}/manifests/v1", 404),
        ("GET", "/v2/app/blobs/sha256:abc", 404),
        ("GET", "/v2/app/manifests/v1/", 404),
        ("GET", "http://evil.example/v2/app/manifests/v1", 400),
        ("CONNECT", "evil.example:443", 400),
        ("OPTIONS", "/v2/app/manifests/v1", 405),
        ("DELETE", "/cmd/prune?type=pattern&expr=.", 404),
    ],
)
def test_nothing_else_is(address: str, method: str, path: str, status: int) -> None:
    assert sent_to(address, method, path) == (status, None)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""],
)
def test_other_hosts_names_are_refused(address: str, host: str) -> None:
    """A page in a browser can give its own name this address (DNS rebinding), but then it asks by that name."""
    name = host.format(port=address.partition(":")[2])
    assert sent_to(address, "GET", "/v2/app/manifests/v1", {"Host": name}) == (421, None)


def test_its_own_names_are_taken(address: str) -> None:
    port = address.partition(":")[2]
    for name in (address, f"localhost:{port}", f"LOCALHOST:{port}"):
        assert sent_to(address, "GET", "/v2/app/manifests/v1", {"Host": name})[0] == 307


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_pages_in_browsers_are_refused(address: str, header: str) -> None:
    assert sent_to(address, "GET", "/v2/app/manifests/v1", {header: "http://evil.example"}) == (403, None)


PAGE = """<body><img src="{gateway}/v2/app/manifests/v1">
<script>
const asked = [["GET", "no-cors"], ["GET", "cors"], ["DELETE", "cors"], ["POST", "no-cors"]].map(([method, mode]) =>
  fetch("{gateway}/v2/app/manifests/v1", {{method, mode}}).then(() => method + " sent", () => method + " refused"));
Promise.all(asked).then(all => document.body.dataset.all = all.join(", "));
</script></body>"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_no_page_in_a_browser_reaches_the_server_by_it(name: str, tmp_path: Path) -> None:
    async def run() -> tuple[str, list[str]]:
        async def cache(_: web.Request) -> web.Response:
            return web.Response(headers={"Access-Control-Allow-Origin": "*"})

        async def page(_: web.Request) -> web.Response:
            return web.Response(text=PAGE.format(gateway=url), content_type="text/html")

        async with serving(cache) as server, serving(page) as evil:
            gateway = Gateway(server.url, "up.example:5000")
            url = f"http://{name}:{(await gateway.start()).partition(':')[2]}"
            dom = await asyncio.to_thread(shown, evil.url.replace("127.0.0.1", "evil.example"), tmp_path)
            await gateway.close()
            return dom, server.targets()

    dom, reached = asyncio.run(run())
    assert "GET refused, DELETE refused" in dom  # the page has run
    assert reached == []


def shown(url: str, folder: Path) -> str:
    """The page as the browser has it at the end, where the name evil.example leads to this machine."""
    names = "MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    done = browse(url, folder, names=names)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_listens_on_loopback_only(address: str) -> None:
    assert address.startswith("127.0.0.1:")


def test_a_tls_hello_is_answered_at_once_with_400(address: str) -> None:
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=100) as connection:
        started = time.monotonic()
        connection.sendall(b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + b"\x00" * 240)
        answer = connection.recv(4096)
    assert answer.split()[1] == b"400"
    assert time.monotonic() - started < 60  # no waiting for more of the hello

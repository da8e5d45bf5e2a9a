"""The loopback gateway: where it sends, and what it refuses."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from lib.http.network import Network
from lib.processes.signals import Stop
from lib.servers.gateway import Gateway
from tests.doubles.catalog import serving


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
    assert ask(address, method, path) == (status, None)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""],
)
def test_other_hosts_names_are_refused(address: str, host: str) -> None:
    """A page in a browser can give its own name this address (DNS rebinding), but then it asks by that name."""
    name = host.format(port=address.partition(":")[2])
    assert ask(address, "GET", "/v2/app/manifests/v1", {"Host": name}) == (421, None)


def test_its_own_names_are_taken(address: str) -> None:
    port = address.partition(":")[2]
    for name in (address, f"localhost:{port}", f"LOCALHOST:{port}"):
        assert ask(address, "GET", "/v2/app/manifests/v1", {"Host": name})[0] == 307


@pytest.mark.parametrize("header", ["Origin", "Sec-Fetch-Site"])
def test_pages_in_browsers_are_refused(address: str, header: str) -> None:
    assert ask(address, "GET", "/v2/app/manifests/v1", {header: "http://evil.example"}) == (403, None)


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PAGE = """<body><img src="{gateway}/v2/app/manifests/v1">
<script>
const asked = [["GET", "no-cors"], ["GET", "cors"], ["DELETE", "cors"], ["POST", "no-cors"]].map(([method, mode]) =>
  fetch("{gateway}/v2/app/manifests/v1", {{method, mode}}).then(() => method + " sent", () => method + " refused"));
Promise.all(asked).then(all => document.body.dataset.all = all.join(", "));
</script></body>"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "evil.example"])
def test_no_page_in_a_browser_reaches_the_server_by_it(name: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        pytest.skip("chromium is not installed: apt-get install chromium")

    async def run() -> tuple[str, list[str]]:
        async def cache(_: web.Request) -> web.Response:
            return web.Response(headers={"Access-Control-Allow-Origin": "*"})

        async def page(_: web.Request) -> web.Response:
            return web.Response(text=PAGE.format(gateway=url), content_type="text/html")

        async with serving(cache) as server, serving(page) as evil:
            gateway = Gateway(server.url, "up.example:5000")
            url = f"http://{name}:{(await gateway.start()).partition(':')[2]}"
            dom = await asyncio.to_thread(
                shown, browser, evil.url.replace("127.0.0.1", "evil.example"), tmp_path
            )
            await gateway.close()
            return dom, server.targets()

    dom, reached = asyncio.run(run())
    assert "GET refused, DELETE refused" in dom  # the page has run
    assert reached == []


def shown(browser: str, url: str, folder: Path) -> str:
    """The page as the browser has it at the end, where the name evil.example leads to this machine."""
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
    return subprocess.run(
        [browser, *flags, rules, f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000", "--dump-dom", url],
        capture_output=True, text=True, timeout=100, check=True,
    ).stdout  # fmt: skip


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

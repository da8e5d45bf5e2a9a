"""The ping, proxies, and a real registry behind a password."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from lib.http.exchange import way_to
from lib.http.registry import RegistryError
from lib.lab.servers import docker_registry
from tests.doubles.catalog import sending, serving
from tests.doubles.secured import TESTER
from tests.support.ports import refused_port
from tests.support.programs import or_skip
from tests.support.registry import ask_registry, asked_of, logins, registry, replies, status


@pytest.mark.parametrize("number", [200, 301, 401, 404, 503])
def test_any_answer_is_a_ping(number: int) -> None:
    async def run() -> tuple[int, list[str]]:
        async with serving(replies(status(number, Location="/x"))) as server, registry(server.url) as asked:
            return await asked.ping(), asked_of(server)

    assert asyncio.run(run()) == (number, ["GET /v2/"])


def test_a_ping_without_a_connection() -> None:
    async def run(url: str) -> None:
        async with registry(url) as asked:
            await asked.ping(0.3)

    async def silent() -> None:
        async with sending(b"", hold=True) as server:
            await run(server.url)

    with refused_port() as address, pytest.raises(RegistryError, match="refuses connections"):
        asyncio.run(run(f"http://{address}"))
    with pytest.raises(RegistryError, match=r"does not answer within 0\.3s"):
        asyncio.run(silent())


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        ("http://reg.example:5000/", "", "http://proxy:1"),
        ("https://reg.example/", "", "http://proxy:2"),
        ("http://reg.example:5000/", "reg.example", None),
        ("http://reg.example:5000/", "other, .example", None),
        ("http://localhost:5000/", "", None),
        ("http://127.0.0.1:5000/", "", None),
        ("http://[::1]:5000/", "", None),
    ],
)
def test_proxies(monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, proxy: str | None) -> None:
    for name, value in {"http": "http://proxy:1", "https": "http://proxy:2", "no": no_proxy}.items():
        monkeypatch.setenv(f"{name}_proxy", value)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    found = way_to(URL(url))
    assert (found and found.url) == proxy


def test_a_proxy_is_used_and_its_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        async with serving(replies(status(200))) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            async with registry("http://reg.invalid:5000") as asked:
                assert (await asked.request("GET", "/v2/")).status == 200
            return proxy.targets()

    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asyncio.run(run()) == ["http://reg.invalid:5000/v2/"]
    with pytest.raises(
        RegistryError, match=r"no way to reg\.invalid:5000 by the proxy http://127.*refuses connections"
    ):
        ask_registry("http://reg.invalid:5000", retry=False)


def test_docker_registry_behind_a_password() -> None:
    async def run(url: str, host: str) -> tuple[int, int, int]:
        right = logins(**{host: {"username": TESTER.name, "password": TESTER.password}})
        async with registry(url, right) as asked, registry(url) as stranger:
            known = await asked.request("GET", "/v2/_catalog")
            assert known.json() == {"repositories": []}
            refused = await stranger.request("GET", "/v2/_catalog")
            return await asked.ping(), known.status, refused.status

    with or_skip(docker_registry(htpasswd=TESTER.htpasswd)) as server:
        assert asyncio.run(run(server.url, server.address)) == (401, 200, 401)

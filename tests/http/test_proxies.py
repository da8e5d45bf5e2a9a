"""The proxy for a server: by Go's own rules, and what the driver says when a proxy does not do its part."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lib.http.proxies import ProxyError, proxy_for, remarks, usable_proxy_for
from lib.http.registry import RegistryError
from tests import record_proxies
from tests.doubles.catalog import serving
from tests.doubles.certificates import self_signed
from tests.doubles.forward_proxy import forward_proxy
from tests.doubles.tls_server import QuietHandler, tls_server
from tests.support.ports import refused_port
from tests.support.programs import needs
from tests.support.registry import ask_registry, registry, replies, status

RECORDED: Mapping[str, Any] = json.loads(record_proxies.RECORDED.read_text())
ROWS: list[dict[str, Any]] = RECORDED["rows"]
REG = "http://reg.example:5000"


def way(url: str, env: Mapping[str, str]) -> tuple[str, str, bool]:
    """What the driver does, in the words of the recording: proxy, login, refused."""
    parts = urlsplit(url)
    host = re.match(r"https?://(\[[^\]]*\]|[^:/]*)", url)
    assert host is not None
    try:
        found = proxy_for(
            parts.scheme, host[1].strip("[]"), parts.port or (443 if parts.scheme == "https" else 80), env
        )
    except ProxyError:
        return "", "", True
    if found is None:
        return "", "", False
    name = f"[{found.host}]" if ":" in found.host else found.host
    port = "" if found.port is None else f":{found.port}"
    login = "" if found.username is None else f"{found.username}:{found.password}"
    return f"{found.scheme}://{name}{port}", login, False


def test_the_recording_is_of_use() -> None:
    assert len(ROWS) >= 60
    assert {bool(row["proxy"]) for row in ROWS} == {bool(row["error"]) for row in ROWS} == {True, False}


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_the_driver_goes_where_go_goes(number: int) -> None:
    row = ROWS[number]
    proxy = row["proxy"].removesuffix(":") if not row["proxy"].endswith("//:") else row["proxy"][:-1]
    assert way(row["url"], row["env"]) == (proxy, row["login"], bool(row["error"])), row


def test_go_says_the_same_today(tmp_path: Path) -> None:
    if shutil.which("go") is None or record_proxies.go_version() != RECORDED["go"]:
        pytest.skip(f"{RECORDED['go']}, which made the recording, is not installed")
    assert record_proxies.rows(record_proxies.build(tmp_path)) == ROWS


@pytest.mark.parametrize(
    ("value", "obstacle"),
    [
        (
            "socks5://p.example:1080",
            "names the SOCKS proxy socks5://p.example:1080, which ocidriver cannot use",
        ),
        ("socks5h://bob:pw@p.example", "names the SOCKS proxy socks5h://p.example:1080, which"),
        ("ftp://p.example:21", "names a proxy with the scheme 'ftp'"),
        ("http://p.example:99999", "names a proxy without a valid host and port"),
        ("://p.example", "names a proxy without a valid host and port"),
    ],
)
def test_a_proxy_that_the_driver_cannot_use(value: str, obstacle: str) -> None:
    env = {"HTTP_PROXY": value}
    with pytest.raises(ProxyError, match=re.escape(f"HTTP_PROXY {obstacle}")) as caught:
        usable_proxy_for("http", "reg.example", 5000, env)
    assert str(caught.value).endswith("or add reg.example to NO_PROXY")
    assert "pw" not in str(caught.value)
    assert usable_proxy_for("http", "127.0.0.1", 5000, env) is None


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, ""),
        ({"HTTP_PROXY": "proxy:3128", "ALL_PROXY": "x"}, ""),
        (
            {"ALL_PROXY": "http://proxy:3128"},
            "ALL_PROXY is set, but the clients and ocidriver do not read it",
        ),
        ({"all_proxy": "http://proxy:3128"}, "all_proxy is set, but"),
        (
            {"HTTP_PROXY": " http://bob:pw@proxy:3128"},
            "HTTP_PROXY is not a valid address, so the clients and",
        ),
        ({"https_proxy": "http://bob:p%w@proxy:3128"}, "https_proxy is not a valid address"),
        (
            {"HTTP_PROXY": "http://bob:p^w@proxy:3128"},
            "HTTP_PROXY is not a valid URL, so the clients and ocidriver",
        ),
    ],
)
def test_what_nobody_obeys_is_told(env: dict[str, str], said: str) -> None:
    found = list(remarks(env))
    assert len(found) == bool(said)
    assert all(each.startswith(said) and "pw" not in each and "p^w" not in each for each in found)


# --- what the proxy says


def through(monkeypatch: pytest.MonkeyPatch, url: str, proxy: str) -> str:
    """The error of a request through this proxy."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(RegistryError) as caught:
        ask_registry(url, retry=False)
    assert caught.value.status is None  # the registry has said nothing
    return str(caught.value)


@pytest.mark.parametrize("url", [REG, "https://reg.example"])
@pytest.mark.parametrize(
    ("refusal", "marks", "words"),
    [
        (407, {}, "give HTTP_PROXY its user name and password"),
        (403, {"X_Squid_Error": "ERR_ACCESS_DENIED 0"}, "check HTTP_PROXY, and what the proxy allows"),
        (502, {"Server": "tinyproxy/1.11.1"}, "check HTTP_PROXY, and what the proxy allows"),
        (503, {"Proxy_Status": "x; error=dns_error"}, "check HTTP_PROXY, and what the proxy allows"),
    ],
)
def test_a_proxy_s_answer_is_told_as_the_proxy_s(
    monkeypatch: pytest.MonkeyPatch, url: str, refusal: int, marks: dict[str, str], words: str
) -> None:
    with forward_proxy({}, refusal=refusal, **marks) as proxy:
        told = through(monkeypatch, url, proxy.url.replace("//", "//bob:secretpw@"))
    variable = "HTTPS_PROXY" if url.startswith("https") else "HTTP_PROXY"
    server = "reg.example:443" if url.startswith("https") else "reg.example:5000"
    words = words.replace("HTTP_PROXY", variable)
    assert told.startswith(f"the proxy {proxy.url} ({variable}) answers {refusal} for {server}: {words}")
    assert told.endswith("or add reg.example to NO_PROXY")
    assert "secretpw" not in told


def test_an_answer_that_may_be_the_proxy_s_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> str:
        with forward_proxy({}, refusal=403) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            async with registry(REG) as asked:
                answer = await asked.request("GET", "/v2/")
                return str(asked.complaint(answer)).replace(proxy.address, "PROXY")

    monkeypatch.delenv("NO_PROXY", raising=False)
    told = asyncio.run(run())
    assert told.startswith("reg.example:5000 forbids")
    assert told.endswith("(asked by the proxy http://PROXY (HTTP_PROXY))")


def test_the_login_goes_to_the_proxy_and_not_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str | None] = []

    async def run() -> int:
        async with serving(replies(status(200))) as server:
            with forward_proxy({"reg.example:5000": server.host}, login="b\u00f6b:p w") as proxy:
                monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//b%C3%B6b:p%20w@"))
                async with registry(REG) as asked:
                    found = (await asked.request("GET", "/v2/")).status
            sent.extend(each.authorization for each in server.seen)
            return found

    monkeypatch.delenv("NO_PROXY", raising=False)
    assert (asyncio.run(run()), sent) == (200, [None])


@pytest.mark.parametrize("url", [REG, "https://reg.example"])
def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with refused_port() as address:
        told = through(monkeypatch, url, address)
    assert re.fullmatch(
        rf"no way to reg\.example:\d+ by the proxy http://{address} \(HTTPS?_PROXY\): {address} refuses connections; "
        r"check HTTPS?_PROXY, or add reg\.example to NO_PROXY",
        told,
    )


def test_a_proxy_whose_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    told = through(monkeypatch, REG, "proxy.invalid:3128")
    assert (
        "by the proxy http://proxy.invalid:3128 (HTTP_PROXY): the name 'proxy.invalid' cannot be resolved"
        in told
    )


@needs("openssl")
def test_a_proxy_with_a_certificate_that_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tls_server(self_signed(tmp_path, "proxy"), QuietHandler) as address:
        told = through(monkeypatch, REG, f"https://{address}")
    assert "no way to reg.example:5000 by the proxy https://localhost" in told
    assert "the certificate of localhost" in told

"""One request and what may become of it: hostile answers, no answer, no connection."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiohttp import web

from lib.http import exchange
from lib.http.registry import Registry, RegistryError, open_session
from lib.outcomes import ErrorClass
from tests.doubles.catalog import sending, serving
from tests.doubles.certificates import self_signed
from tests.doubles.tls_server import QuietHandler, tls_server
from tests.support.programs import needs
from tests.support.registry import ask_double, ask_registry, asked_of, logins, registry, replies, status


def test_a_delete_is_redirected_by_307_only() -> None:
    async def run(number: int) -> list[str]:
        handler = replies(status(number, Location="/there"), status(200))
        async with serving(handler) as server, registry(server.url) as asked:
            await asked.request("DELETE", "/v2/")
            return asked_of(server)

    assert asyncio.run(run(302)) == ["DELETE /v2/"]
    assert asyncio.run(run(307)) == ["DELETE /v2/", "DELETE /there"]


def test_a_redirect_loop_ends() -> None:
    with pytest.raises(RegistryError, match="redirects in a loop"):
        ask_double(replies(status(307, Location="/v2/")))


@pytest.mark.parametrize(
    "location", ["ftp://x/", "http://[", "file:///etc/passwd", "http://u:p@/", "http://a:99999999/"]
)
def test_a_redirect_to_nowhere(location: str) -> None:
    with pytest.raises(RegistryError, match="not valid"):
        ask_double(replies(status(302, Location=location)))


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/cmd/prune?expr=%5Ea%5C%2Bb%24,c%2Cd&x=a+b", "/cmd/prune?expr=%5Ea%5C%2Bb%24,c%2Cd&x=a+b"),
        ("/v2/a/manifests/sha256:00", "/v2/a/manifests/sha256:00"),
        ("/v2/a b\r\nX-Evil: 1", "/v2/a%20bX-Evil:%201"),
        ("/v2/?x=http://other/", "/v2/?x=http://other/"),
    ],
)
def test_paths_are_sent_as_written(path: str, sent: str) -> None:
    _, server = ask_double(replies(status(200)), path)
    assert server.targets() == [sent]


@pytest.mark.parametrize("url", ["http://", "ftp://host/x", "http://[/x", "http://h:port/"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(RegistryError, match="not valid"):
        ask_registry("http://127.0.0.1:1", path=url)


def bomb(size: int) -> Callable[[], web.Response]:
    body = gzip.compress(bytes(size))
    return lambda: web.Response(body=body, headers={"Content-Encoding": "gzip"})


def test_a_gzip_bomb_is_cut_short() -> None:
    tracemalloc.start()
    try:
        reply = bomb(256 << 20)
        tracemalloc.reset_peak()
        with pytest.raises(RegistryError, match="longer than 1 MiB"):
            ask_double(replies(reply), max_bytes=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_encoding_that_was_not_asked_for(encoding: str) -> None:
    reply = web.Response(body=b"\x1b\xff" * 100, headers={"Content-Encoding": encoding})
    with pytest.raises(RegistryError, match="cannot be decompressed"):
        ask_double(replies(reply))


def test_gzip_within_the_bound() -> None:
    answer, _ = ask_double(replies(bomb(1000)), max_bytes=1000)
    assert answer.body == bytes(1000)


def test_an_endless_body_is_cut_short() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    with pytest.raises(RegistryError, match="longer than 1 MiB"):
        ask_double(handle, max_bytes=1 << 20)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 200_000, b'{"a": 1' + b"0" * 5000 + b"}", b"\xff\xfe\xfa", b"{"]
)
def test_junk_is_no_json(body: bytes) -> None:
    answer, _ = ask_double(replies(web.Response(body=body)))
    with pytest.raises(RegistryError, match="is not JSON") as caught:
        answer.json()
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 99999 OK\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "before its answer|in HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
            "cannot be decompressed",
        ),
        (b"", "closed the connection"),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "write https://127",
        ),
    ],
)
def test_answers_that_are_none(reply: bytes, words: str) -> None:
    async def run() -> None:
        async with sending(reply) as server, registry(server.url, retry_seconds=0.3) as asked:
            with pytest.raises(RegistryError, match=words) as caught:
                await asked.request("GET", "/v2/")
            assert str(caught.value).isprintable()
            assert server.host in str(caught.value)

    asyncio.run(run())


def test_names_of_servers_cannot_forge_lines() -> None:
    async def run() -> str:
        async with serving(replies(status(418))) as server, registry(server.url) as asked:
            return str(asked.complaint(await asked.request("GET", "/v2/%1b[31m\x1b[31m\n?token=secret")))

    message = asyncio.run(run())
    assert message.isprintable()
    assert "secret" not in message


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(RegistryError, match=r"nowhere\.invalid' cannot be resolved") as caught:
        ask_registry("http://nowhere.invalid:5000", retry=False)
    assert caught.value.error_class is ErrorClass.DNS


def test_https_on_an_http_port() -> None:
    async def run() -> None:
        async with (
            serving(replies(status(200))) as server,
            registry(server.url.replace("http", "https")) as asked,
        ):
            with pytest.raises(RegistryError, match=f"write http://{server.host}") as caught:
                await asked.request("GET", "/v2/")
            assert caught.value.error_class is ErrorClass.TLS

    asyncio.run(run())


class Well(QuietHandler):
    """All is well."""

    def answer(self) -> None:
        self.send(200, b"well")


@needs("openssl")
def test_certificates(tmp_path: Path) -> None:
    async def get(url: str, tls: ssl.SSLContext | bool) -> bytes:
        async with open_session(tls) as session:
            return (await Registry(url, session, logins(), log=print).request("GET", "/v2/")).body

    certificate = self_signed(tmp_path, "localhost", names="DNS:localhost")
    context = ssl.create_default_context(cafile=str(certificate.path))
    with tls_server(certificate, Well) as address:
        port = address.partition(":")[2]
        with pytest.raises(
            RegistryError, match=r"certificate of localhost:\d+ is not accepted \(self.signed.*--ca-file FILE"
        ):
            asyncio.run(get(f"https://localhost:{port}", True))
        with pytest.raises(RegistryError, match=r"is not accepted \(IP address mismatch"):
            asyncio.run(get(f"https://127.0.0.1:{port}", context))
        assert asyncio.run(get(f"https://localhost:{port}", context)) == b"well"
        assert asyncio.run(get(f"https://127.0.0.1:{port}", False)) == b"well"
        with pytest.raises(RegistryError, match=r"closed the connection|in HTTP"):
            ask_registry(f"http://127.0.0.1:{port}", retry=False)


def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "READ_SECONDS", 0.2)

    async def run() -> None:
        async with sending(b"", hold=True) as server, registry(server.url, retry_seconds=0.1) as asked:
            with pytest.raises(RegistryError, match="too slow to answer") as caught:
                await asked.request("GET", "/v2/")
            assert caught.value.error_class is ErrorClass.TIMEOUT

    asyncio.run(run())


def test_a_server_whose_queue_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is not even made."""
    monkeypatch.setattr(exchange, "CONNECT_SECONDS", 0.3)
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        with pytest.raises(RegistryError, match="does not answer within") as caught:
            ask_registry(f"http://127.0.0.1:{full.getsockname()[1]}", retry=False)
    assert caught.value.error_class is ErrorClass.TIMEOUT


def test_a_body_that_trickles_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, so that only the limit on the whole answer is left."""
    monkeypatch.setattr(exchange, "TOTAL_SECONDS", 1.0)

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"[")
            await asyncio.sleep(0.05)

    async def run() -> None:
        async with serving(trickle) as server, registry(server.url, retry_seconds=0.1) as asked:
            with pytest.raises(RegistryError, match="too slow to answer") as caught:
                await asked.request("GET", "/v2/")
            assert caught.value.error_class is ErrorClass.TIMEOUT
            assert len(server.seen) == 1

    asyncio.run(run())

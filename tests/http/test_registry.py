from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from yarl import URL

from lib.http import exchange
from lib.http import registry as registry_module
from lib.http.credentials import Credentials
from lib.http.exchange import proxy_for
from lib.http.registry import Answer, Registry, RegistryError, open_session
from lib.outcomes import ErrorClass
from tests.doubles.catalog import Server, sending, serving
from tests.support.waiting import SECONDS

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]
BOB = "Basic " + base64.b64encode(b"bob:pw").decode()


def logins(**auths: object) -> Credentials:
    return Credentials({Path("/home/bob/.docker/config.json"): {"auths": auths}}, {})


def bob_at(*servers: Server) -> Credentials:
    return logins(**{server.host: {"username": "bob", "password": "pw"} for server in servers})


@asynccontextmanager
async def registry(
    url: str,
    credentials: Credentials | None = None,
    *,
    retry_seconds: float = 2.0,
    log: list[str] | None = None,
) -> AsyncIterator[Registry]:
    async with open_session() as session:
        lines = log if log is not None else []
        yield Registry(url, session, credentials or logins(), retry_seconds=retry_seconds, log=lines.append)


def replies(*answers: web.Response | Callable[[], web.Response]) -> Reply:
    """A handler that gives these one after the other, the last one for ever."""
    left = list(answers)

    async def handle(_request: web.Request) -> web.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, web.Response) else answer()

    return handle


def status(number: int, **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(
        status=number, text="x", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def ask(url: str, credentials: Credentials | None = None, path: str = "/v2/", **options: object) -> Answer:
    async def run() -> Answer:
        async with registry(url, credentials) as asked:
            return await asked.request("GET", path, **options)  # type: ignore[arg-type]

    return asyncio.run(run())


def ask_server(handler: Reply, path: str = "/v2/", **options: object) -> tuple[Answer, Server]:
    async def run() -> tuple[Answer, Server]:
        async with serving(handler) as server, registry(server.url, bob_at(server)) as asked:
            return await asked.request("GET", path, **options), server  # type: ignore[arg-type]

    return asyncio.run(run())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- retries


@pytest.mark.parametrize("number", [408, 429, 500, 502, 503, 504])
def test_transient_statuses_are_tried_again(number: int) -> None:
    answer, server = ask_server(replies(status(number), status(number), status(200)))
    assert (answer.status, len(server.seen)) == (200, 3)


@pytest.mark.parametrize("number", [200, 400, 403, 404, 405, 501])
def test_other_statuses_are_an_answer(number: int) -> None:
    answer, server = ask_server(replies(status(number)))
    assert (answer.status, len(server.seen)) == (number, 1)


def test_retries_end_with_the_last_answer() -> None:
    started = time.monotonic()
    answer, server = ask_server(replies(status(503)), retry_seconds=0.5)
    assert answer.status == 503
    assert len(server.seen) > 1
    assert time.monotonic() - started < SECONDS


def test_no_retry_when_none_is_wanted() -> None:
    answer, server = ask_server(replies(status(503)), retry=False)
    assert (answer.status, len(server.seen)) == (503, 1)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(as_date: bool) -> None:
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)
    date, later = (format_datetime(moment, usegmt=True) for moment in (now, now + timedelta(seconds=1)))
    wait = status(429, Retry_After=later, Date=date) if as_date else status(429, Retry_After="1")
    started = time.monotonic()
    answer, server = ask_server(replies(wait, status(200)))
    assert (answer.status, len(server.seen)) == (200, 2)
    assert time.monotonic() - started >= 1.0


def test_a_wait_longer_than_the_patience_is_not_begun() -> None:
    started = time.monotonic()
    answer, server = ask_server(replies(status(429, Retry_After="3600"), status(200)))
    assert (answer.status, len(server.seen)) == (429, 1)
    assert time.monotonic() - started < SECONDS


def test_lost_connections_are_tried_again() -> None:
    lost = iter([True, True, False])

    async def handle(request: web.Request) -> web.Response:
        if next(lost) and request.transport is not None:
            request.transport.abort()
        return web.Response(text="well")

    answer, server = ask_server(handle)
    assert answer.body == b"well"
    assert len(server.seen) >= 3


def test_a_truncated_body_is_no_answer() -> None:
    async def run() -> None:
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
        async with sending(reply) as server, registry(server.url, retry_seconds=0.3) as asked:
            with pytest.raises(RegistryError, match="before its answer was complete") as caught:
                await asked.request("GET", "/v2/")
            assert caught.value.error_class is ErrorClass.RESET
            assert len(server.seen) > 1

    asyncio.run(run())


def test_a_server_that_was_never_there_is_told_in_seconds() -> None:
    started = time.monotonic()

    async def run() -> None:
        async with registry(f"http://127.0.0.1:{free_port()}", retry_seconds=10 * SECONDS) as asked:
            await asked.request("GET", "/v2/")

    with pytest.raises(RegistryError, match="refuses connections: is the server running") as caught:
        asyncio.run(run())
    assert (caught.value.error_class, caught.value.status) == (ErrorClass.REFUSED, None)
    assert 0.2 < time.monotonic() - started < SECONDS


def test_a_server_that_goes_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "UNREACHABLE_SECONDS", 0.1)

    async def run() -> Answer:
        port = free_port()
        runner: web.AppRunner | None = None

        async def start() -> web.AppRunner:
            app = web.Application()
            app.router.add_get("/v2/", replies(status(200)))
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            return runner

        runner = await start()
        async with registry(f"http://127.0.0.1:{port}", retry_seconds=SECONDS) as asked:
            await asked.request("GET", "/v2/")
            await runner.cleanup()
            waiting = asyncio.ensure_future(asked.request("GET", "/v2/"))
            await asyncio.sleep(0.5)
            runner = await start()
            answer = await waiting
        await runner.cleanup()
        return answer

    assert asyncio.run(run()).status == 200


def test_cancelling_ends_a_wait_at_once() -> None:
    """Of an hour; without an end the test would hang."""

    async def run() -> None:
        async with (
            serving(replies(status(503, Retry_After="3600"))) as server,
            registry(server.url, retry_seconds=7200.0) as asked,
        ):
            waiting = asyncio.ensure_future(asked.request("GET", "/v2/"))
            while not server.seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(run())


def test_cancelling_ends_a_credential_helper(tmp_path: Path) -> None:
    program = tmp_path / "docker-credential-slow"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nsleep 600\n")
    program.chmod(0o755)
    credentials = Credentials({tmp_path: {"credsStore": "slow"}}, {"PATH": f"{tmp_path}:/usr/bin:/bin"})

    async def run() -> None:
        handler = replies(status(401, WWW_Authenticate='Basic realm="x"'))
        async with serving(handler) as server, registry(server.url, credentials) as asked:
            waiting = asyncio.ensure_future(asked.request("GET", "/v2/"))
            while not (tmp_path / "started").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    started = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - started < SECONDS


def test_retries_are_logged_once_in_a_while() -> None:
    log: list[str] = []

    async def run() -> None:
        async with (
            serving(replies(status(503))) as server,
            registry(server.url, log=log, retry_seconds=0.5) as asked,
        ):
            await asyncio.gather(*(asked.request("GET", "/v2/") for _ in range(20)))

    asyncio.run(run())
    assert len(log) == 1
    assert "503 Service Unavailable (trying again in" in log[0]


# --- logins


def needs_basic(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") == BOB:
        return web.Response(text="in")
    return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})


async def basic(request: web.Request) -> web.Response:
    return needs_basic(request)


def test_basic_is_sent_when_asked_for_and_then_from_the_start() -> None:
    async def run() -> list[str | None]:
        async with serving(basic) as server, registry(server.url, bob_at(server)) as asked:
            for _ in range(2):
                assert (await asked.request("GET", "/v2/")).body == b"in"
            return [each.authorization for each in server.seen]

    assert asyncio.run(run()) == [None, BOB, BOB]


@pytest.mark.parametrize(
    ("login", "words"),
    [
        (None, "wants a login \\(401\\): docker login 127.0.0.1:"),
        (
            {"username": "bob", "password": "wrong"},
            "refuses the login in /home/bob/.docker/config.json \\(401\\)",
        ),
    ],
)
def test_a_login_that_is_missing_or_wrong(login: object, words: str) -> None:
    async def run() -> str:
        async with serving(basic) as server:
            credentials = logins(**({server.host: login} if login else {}))
            async with registry(server.url, credentials) as asked:
                answer = await asked.request("GET", "/v2/")
                assert answer.status == 401
                assert len(server.seen) <= 2
                complaint = asked.complaint(answer)
                assert complaint.status == 401
                return str(complaint)

    message = asyncio.run(run())
    assert re.search(words, message)
    assert "wrong" not in message


class TokenService:
    """A registry with Bearer authentication whose token service is itself, under /token."""

    def __init__(
        self, *, lifetime: object = 300, login: str | None = BOB, realm: str = "/token", field: str = "token"
    ):
        self.issued: dict[str, str] = {}
        self.lifetime = lifetime
        self.login = login
        self.realm = realm
        self.field = field

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/token":
            return await self.give(request)
        scope = f"repository:{request.path.split('/')[2]}:pull"
        if request.headers.get("Authorization") == f"Bearer {self.issued.get(scope)}":
            return web.Response(text=f"in {scope}")
        realm = str(request.url.with_path(self.realm)) if self.realm.startswith("/") else self.realm
        challenge = f'Bearer realm="{realm}",service="reg",scope="{scope}"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def give(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            scope, allowed = str(form["scope"]), form["refresh_token"] == "idt" and form["service"] == "reg"
        else:
            scope, allowed = request.query["scope"], request.headers.get("Authorization") == self.login
        if not allowed:
            return web.Response(status=401)
        self.issued[scope] = f"t{len(self.issued)}-{time.monotonic_ns()}"
        return web.json_response({self.field: self.issued[scope], "expires_in": self.lifetime})


def asked_of(server: Server) -> list[str]:
    return [f"{each.method} {urlsplit(each.target).path}" for each in server.seen]


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_a_token_is_had_for_each_scope_and_kept(field: str) -> None:
    async def run() -> list[str]:
        async with (
            serving(TokenService(field=field)) as server,
            registry(server.url, bob_at(server)) as asked,
        ):
            for name in ("a", "a", "b"):
                answer = await asked.request("GET", f"/v2/{name}/tags/list")
                assert answer.body == f"in repository:{name}:pull".encode()
            query = parse_qs(urlsplit(server.seen[1].target).query)
            assert query == {"scope": ["repository:a:pull"], "service": ["reg"]}
            return asked_of(server)

    a, b, token = "GET /v2/a/tags/list", "GET /v2/b/tags/list", "GET /token"
    assert asyncio.run(run()) == [a, token, a, a, b, token, b]


def test_many_requests_of_one_scope_share_a_token() -> None:
    async def run() -> list[str]:
        async with serving(TokenService()) as server, registry(server.url, bob_at(server)) as asked:
            answers = await asyncio.gather(*(asked.request("GET", f"/v2/a/manifests/{i}") for i in range(20)))
            assert {answer.status for answer in answers} == {200}
            return asked_of(server)

    assert asyncio.run(run()).count("GET /token") == 1


def test_a_token_that_is_refused_or_at_its_end_is_renewed() -> None:
    async def run() -> None:
        service = TokenService(lifetime=1)
        async with serving(service) as server, registry(server.url, bob_at(server)) as asked:
            await asked.request("GET", "/v2/a/tags/list")
            service.issued.clear()
            assert (await asked.request("GET", "/v2/a/tags/list")).status == 200
            assert asked_of(server).count("GET /token") == 2
            await asyncio.sleep(1.05)
            before = len(server.seen)
            assert (await asked.request("GET", "/v2/a/tags/list")).status == 200
            assert asked_of(server)[before:] == ["GET /v2/a/tags/list", "GET /token", "GET /v2/a/tags/list"]
            assert server.seen[before].authorization is None

    asyncio.run(run())


def test_anonymous_tokens() -> None:
    async def run() -> int:
        async with serving(TokenService(login=None)) as server, registry(server.url) as asked:
            return (await asked.request("GET", "/v2/a/tags/list")).status

    assert asyncio.run(run()) == 200


def test_an_identity_token_is_exchanged_by_post() -> None:
    async def run() -> list[str]:
        async with serving(TokenService()) as server:
            async with registry(server.url, logins(**{server.host: {"identitytoken": "idt"}})) as asked:
                assert (await asked.request("GET", "/v2/a/tags/list")).status == 200
            assert parse_qs(server.seen[1].body.decode())["grant_type"] == ["refresh_token"]
            return asked_of(server)

    assert asyncio.run(run())[1] == "POST /token"


def test_a_registry_token_is_sent_as_it_is() -> None:
    async def run() -> None:
        service = TokenService()
        service.issued["repository:a:pull"] = "rt"
        async with serving(service) as server:
            async with registry(server.url, logins(**{server.host: {"registrytoken": "rt"}})) as asked:
                assert (await asked.request("GET", "/v2/a/tags/list")).status == 200
            assert "GET /token" not in asked_of(server)

    asyncio.run(run())


@pytest.mark.parametrize("token", ["", 3, None, "a\r\nX-Evil: 1", "ü", "x" * 100_000])
def test_a_token_that_is_none(token: object) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/token":
            return web.json_response({"token": token})
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="/token"'})

    with pytest.raises(RegistryError, match="gives no valid token"):
        ask_server(handle)


@pytest.mark.parametrize("realm", ["", "ftp://127.0.0.1/x", "http://[", "file:///etc/passwd", "http://a:b:c"])
def test_a_token_service_that_is_none(realm: str) -> None:
    with pytest.raises(RegistryError, match="no valid token service"):
        ask_server(replies(status(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')))


def test_a_token_service_that_fails_for_a_while() -> None:
    service = TokenService()
    failures = iter([503, 429])

    async def handle(request: web.Request) -> web.Response:
        number = next(failures, None) if request.path == "/token" else None
        return web.Response(status=number) if number else await service(request)

    answer, _ = ask_server(handle, "/v2/a/tags/list")
    assert answer.status == 200


def test_the_login_is_not_sent_on_without_tls(tmp_path: Path) -> None:
    with tls_server(
        tmp_path,
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm="http://127.0.0.1:1/"\r\n'
        b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    ) as (port, context):

        async def run() -> None:
            async with open_session(context) as session:
                credentials = logins(**{f"localhost:{port}": {"username": "bob", "password": "pw"}})
                asked = Registry(f"https://localhost:{port}", session, credentials, log=print)
                await asked.request("GET", "/v2/")

        with pytest.raises(RegistryError, match="without TLS"):
            asyncio.run(run())


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_no_login_along_a_redirect_to_another_server(number: int) -> None:
    async def run() -> None:
        async with serving(basic) as other, serving(basic) as home:

            async def away(request: web.Request) -> web.Response:
                answer = needs_basic(request)
                if answer.status == 200:
                    return web.Response(status=number, headers={"Location": f"{other.url}/v2/"})
                return answer

            async with serving(away) as server, registry(server.url, bob_at(server, other, home)) as asked:
                answer = await asked.request("GET", "/v2/", headers={"Authorization": "mine"})
                assert answer.status == 401
                assert [each.authorization for each in other.seen] == [None]
                assert "redirects to" in str(asked.complaint(answer))
                answer = await asked.request("GET", f"{home.url}/v2/")
                assert (answer.status, [each.authorization for each in home.seen]) == (401, [None])

    asyncio.run(run())


def test_a_redirect_on_the_same_server_keeps_the_login() -> None:
    async def handle(request: web.Request) -> web.Response:
        answer = needs_basic(request)
        if answer.status == 200 and request.path == "/v2/":
            return web.Response(status=307, headers={"Location": "there?x=1"})
        return answer

    answer, server = ask_server(handle)
    assert (answer.body, answer.url) == (b"in", f"{server.url}/v2/there?x=1")


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
        ask_server(replies(status(307, Location="/v2/")))


@pytest.mark.parametrize(
    "location", ["ftp://x/", "http://[", "file:///etc/passwd", "http://u:p@/", "http://a:99999999/"]
)
def test_a_redirect_to_nowhere(location: str) -> None:
    with pytest.raises(RegistryError, match="not valid"):
        ask_server(replies(status(302, Location=location)))


def test_cookies_and_netrc_play_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    cookies: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"}, status=503 if len(cookies) == 1 else 200)

    _, server = ask_server(handle)
    assert cookies == [None, None]
    assert [each.authorization for each in server.seen] == [None, None]


# --- what is sent


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
    _, server = ask_server(replies(status(200)), path)
    assert server.targets() == [sent]


@pytest.mark.parametrize("url", ["http://", "ftp://host/x", "http://[/x", "http://h:port/"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(RegistryError, match="not valid"):
        ask("http://127.0.0.1:1", path=url)


# --- hostile answers


def bomb(size: int) -> Callable[[], web.Response]:
    body = gzip.compress(bytes(size))
    return lambda: web.Response(body=body, headers={"Content-Encoding": "gzip"})


def test_a_gzip_bomb_is_cut_short() -> None:
    tracemalloc.start()
    try:
        reply = bomb(256 << 20)
        tracemalloc.reset_peak()
        with pytest.raises(RegistryError, match="longer than 1 MiB"):
            ask_server(replies(reply), max_bytes=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_an_encoding_that_was_not_asked_for(encoding: str) -> None:
    reply = web.Response(body=b"\x1b\xff" * 100, headers={"Content-Encoding": encoding})
    with pytest.raises(RegistryError, match="cannot be decompressed"):
        ask_server(replies(reply))


def test_gzip_within_the_bound() -> None:
    answer, _ = ask_server(replies(bomb(1000)), max_bytes=1000)
    assert answer.body == bytes(1000)


def test_an_endless_body_is_cut_short() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    with pytest.raises(RegistryError, match="longer than 1 MiB"):
        ask_server(handle, max_bytes=1 << 20)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[" * 200_000, b'{"a": 1' + b"0" * 5000 + b"}", b"\xff\xfe\xfa", b"{"]
)
def test_junk_is_no_json(body: bytes) -> None:
    answer, _ = ask_server(replies(web.Response(body=body)))
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


# --- no connection


def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(RegistryError, match=r"nowhere\.invalid cannot be resolved") as caught:
        ask("http://nowhere.invalid:5000", retry=False)
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


@contextmanager
def tls_server(folder: Path, reply: bytes) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A TLS server for localhost with a fresh self-signed certificate, and a context that trusts it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    loop = asyncio.new_event_loop()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(reply)
        await writer.drain()
        writer.close()

    listener = loop.run_until_complete(
        asyncio.start_server(talk, "localhost", 0, ssl=context, family=socket.AF_INET)
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield listener.sockets[0].getsockname()[1], ssl.create_default_context(cafile=str(cert))
    finally:
        loop.call_soon_threadsafe(listener.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificates(tmp_path: Path) -> None:
    async def get(url: str, tls: ssl.SSLContext | bool) -> bytes:
        async with open_session(tls) as session:
            return (await Registry(url, session, logins(), log=print).request("GET", "/v2/")).body

    with tls_server(tmp_path, WELL) as (port, context):
        with pytest.raises(
            RegistryError, match=r"certificate of localhost:\d+ is not accepted \(self.signed.*--ca-file FILE"
        ):
            asyncio.run(get(f"https://localhost:{port}", True))
        with pytest.raises(RegistryError, match=r"is not accepted \(IP address mismatch"):
            asyncio.run(get(f"https://127.0.0.1:{port}", context))
        assert asyncio.run(get(f"https://localhost:{port}", context)) == b"well"
        assert asyncio.run(get(f"https://127.0.0.1:{port}", False)) == b"well"
        with pytest.raises(RegistryError, match=r"closed the connection|in HTTP"):
            ask(f"http://127.0.0.1:{port}", retry=False)


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
            ask(f"http://127.0.0.1:{full.getsockname()[1]}", retry=False)
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


# --- ping


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

    with pytest.raises(RegistryError, match="refuses connections"):
        asyncio.run(run(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(RegistryError, match=r"does not answer within 0\.3 s"):
        asyncio.run(silent())


# --- proxies


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
    assert proxy_for(URL(url)) == proxy


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
    with pytest.raises(RegistryError, match=r"proxy for reg\.invalid:5000 cannot be reached"):
        ask("http://reg.invalid:5000", retry=False)


# --- the real registry


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry")
def test_docker_registry_behind_a_password(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "htpasswd").write_text("bob:$2y$05$abcdefghijklmnopqrstuuqwWMzKt5N8p.u2GX5MuH1t19BMWuLOW\n")
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}},
    }
    (tmp_path / "config.yml").write_text(json.dumps(config))
    command = ["docker-registry", "serve", str(tmp_path / "config.yml")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def run() -> tuple[int, int, int]:
        url = f"http://127.0.0.1:{port}"
        right = logins(**{f"127.0.0.1:{port}": {"username": "bob", "password": "p"}})
        async with registry(url, right, retry_seconds=SECONDS) as asked, registry(url) as stranger:
            for _ in range(int(10 * SECONDS)):
                try:
                    pinged = await asked.ping()
                    break
                except RegistryError:
                    await asyncio.sleep(0.1)
            known = await asked.request("GET", "/v2/_catalog")
            assert known.json() == {"repositories": []}
            return pinged, known.status, (await stranger.request("GET", "/v2/_catalog")).status

    try:
        assert asyncio.run(run()) == (401, 200, 401)
    finally:
        server.kill()
        server.wait()

"""Logins and tokens: when they are sent, and to whom."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from lib.http.credentials import Credentials
from lib.http.registry import Registry, RegistryError, open_session
from tests.doubles.catalog import serving
from tests.doubles.certificates import self_signed
from tests.doubles.tls_server import QuietHandler, tls_server
from tests.support.programs import needs
from tests.support.registry import BOB, ask_double, asked_of, bob_at, logins, registry, replies, status


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
        (None, "needs a login \\(401\\): run docker login 127.0.0.1:"),
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


def test_a_login_that_may_not_read_the_catalog_is_not_called_wrong() -> None:
    """As Harbor answers to all but its administrators: the token service knows the user, and the token has no right."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/token":
            allowed = request.headers.get("Authorization") == BOB
            return web.json_response(
                {"token": "of no use"} if allowed else {}, status=200 if allowed else 401
            )
        challenge = 'Bearer realm="/token",service="reg",scope="registry:catalog:*"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def run(**login: str) -> str:
        async with serving(handle) as server, registry(server.url, logins(**{server.host: login})) as asked:
            return str(asked.complaint(await asked.request("GET", "/v2/_catalog")))

    known = asyncio.run(run(username="bob", password="pw"))
    assert re.search(
        r" accepts the login in \S+config.json, but it may not read http://\S+/v2/_catalog \(401\): log in",
        known,
    )
    assert " refuses the login in " in asyncio.run(run(username="bob", password="wrong"))


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


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.parametrize("renewed", [True, False])
def test_after_a_403_a_helper_is_asked_again(
    scheme: str, renewed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ECR answers: 403 without a challenge, once a login has expired."""
    monkeypatch.setattr("lib.http.credentials.HELPER_PAUSE", 0.0)
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"Username": "aws", "Secret": "old"}))
    program = tmp_path / "docker-credential-mine"
    program.write_text(f"#!/bin/sh\ncat {answer}\n")
    program.chmod(0o755)
    expired = False

    async def guarded(request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        if request.path == "/token":
            return web.json_response({"token": shown.partition(" ")[2]})
        if not shown:
            realm = {"basic": 'Basic realm="x"', "bearer": f'Bearer realm="http://{request.host}/token"'}
            return web.Response(status=401, headers={"WWW-Authenticate": realm[scheme]})
        secret = base64.b64decode(shown.partition(" ")[2])
        return web.Response(status=403 if expired and secret.endswith(b"old") else 200)

    async def run() -> tuple[int, int]:
        nonlocal expired
        async with serving(guarded) as server:
            config: dict[str, object] = {"credHelpers": {server.host: "mine"}}
            credentials = Credentials(
                {tmp_path / "config.json": config}, {"PATH": f"{tmp_path}:/usr/bin:/bin"}
            )
            async with registry(server.url, credentials) as asked:
                first = await asked.request("GET", "/v2/a/tags/list")
                expired = True
                if renewed:
                    answer.write_text(json.dumps({"Username": "aws", "Secret": "new"}))
                before = len(server.seen)
                second = await asked.request("GET", "/v2/a/tags/list")
                assert len(server.seen) - before <= 4
                return first.status, second.status

    assert asyncio.run(run()) == (200, 200 if renewed else 403)


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
        ask_double(handle)


@pytest.mark.parametrize("realm", ["", "ftp://127.0.0.1/x", "http://[", "file:///etc/passwd", "http://a:b:c"])
def test_a_token_service_that_is_none(realm: str) -> None:
    with pytest.raises(RegistryError, match="no valid token service"):
        ask_double(replies(status(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')))


def test_a_token_service_that_fails_for_a_while() -> None:
    service = TokenService()
    failures = iter([503, 429])

    async def handle(request: web.Request) -> web.Response:
        number = next(failures, None) if request.path == "/token" else None
        return web.Response(status=number) if number else await service(request)

    answer, _ = ask_double(handle, "/v2/a/tags/list")
    assert answer.status == 200


@needs("openssl")
def test_the_login_is_not_sent_on_without_tls(tmp_path: Path) -> None:
    class SendsAway(QuietHandler):
        def answer(self) -> None:
            self.send(401, b"", WWW_Authenticate='Bearer realm="http://127.0.0.1:1/"')

    async def run(address: str) -> None:
        async with open_session(ssl.create_default_context(cafile=str(certificate.path))) as session:
            credentials = logins(**{address: {"username": "bob", "password": "pw"}})
            await Registry(f"https://{address}", session, credentials, log=print).request("GET", "/v2/")

    certificate = self_signed(tmp_path, "localhost")
    with tls_server(certificate, SendsAway) as address, pytest.raises(RegistryError, match="without TLS"):
        asyncio.run(run(address))


def test_cookies_and_netrc_play_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    cookies: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"}, status=503 if len(cookies) == 1 else 200)

    _, server = ask_double(handle)
    assert cookies == [None, None]
    assert [each.authorization for each in server.seen] == [None, None]


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

    answer, server = ask_double(handle)
    assert (answer.body, answer.url) == (b"in", f"{server.url}/v2/there?x=1")

"""Requests that are tried again, and for how long."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from lib.http import registry as registry_module
from lib.http.credentials import Credentials
from lib.http.registry import Answer, RegistryError
from lib.outcomes import ErrorClass
from tests.doubles.catalog import sending, serving
from tests.support.ports import free_port, refused_port
from tests.support.registry import ask_double, registry, replies, status
from tests.support.waiting import SECONDS


@pytest.mark.parametrize("number", [408, 429, 500, 502, 503, 504])
def test_transient_statuses_are_tried_again(number: int) -> None:
    answer, server = ask_double(replies(status(number), status(number), status(200)))
    assert (answer.status, len(server.seen)) == (200, 3)


@pytest.mark.parametrize("number", [200, 400, 403, 404, 405, 501])
def test_other_statuses_are_an_answer(number: int) -> None:
    answer, server = ask_double(replies(status(number)))
    assert (answer.status, len(server.seen)) == (number, 1)


def test_retries_end_with_the_last_answer() -> None:
    started = time.monotonic()
    answer, server = ask_double(replies(status(503)), retry_seconds=0.5)
    assert answer.status == 503
    assert len(server.seen) > 1
    assert time.monotonic() - started < SECONDS


def test_no_retry_when_none_is_wanted() -> None:
    answer, server = ask_double(replies(status(503)), retry=False)
    assert (answer.status, len(server.seen)) == (503, 1)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(as_date: bool) -> None:
    now = datetime(2030, 1, 1, tzinfo=timezone.utc)
    date, later = (format_datetime(moment, usegmt=True) for moment in (now, now + timedelta(seconds=1)))
    wait = status(429, Retry_After=later, Date=date) if as_date else status(429, Retry_After="1")
    started = time.monotonic()
    answer, server = ask_double(replies(wait, status(200)))
    assert (answer.status, len(server.seen)) == (200, 2)
    assert time.monotonic() - started >= 1.0


def test_a_wait_longer_than_the_patience_is_not_begun() -> None:
    started = time.monotonic()
    answer, server = ask_double(replies(status(429, Retry_After="3600"), status(200)))
    assert (answer.status, len(server.seen)) == (429, 1)
    assert time.monotonic() - started < SECONDS


def test_lost_connections_are_tried_again() -> None:
    lost = iter([True, True, False])

    async def handle(request: web.Request) -> web.Response:
        if next(lost) and request.transport is not None:
            request.transport.abort()
        return web.Response(text="well")

    answer, server = ask_double(handle)
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
        with refused_port() as address:
            async with registry(f"http://{address}", retry_seconds=10 * SECONDS) as asked:
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
    """Of an hour: without an end, the test would hang."""

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

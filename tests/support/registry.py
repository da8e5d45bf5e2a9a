"""The driver's own client of a registry, and doubles for it to ask."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from lib.http.credentials import Credentials
from lib.http.network import Network
from lib.http.registry import Answer, Registry, open_session
from tests.doubles.catalog import Handler, Server, serving

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
    strict: bool = False,
) -> AsyncIterator[Registry]:
    async with open_session() as session:
        lines = log if log is not None else []
        yield Registry(
            url,
            session,
            credentials or logins(),
            retry_seconds=retry_seconds,
            log=lines.append,
            strict=strict,
        )


def replies(*answers: web.Response | Callable[[], web.Response]) -> Handler:
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


def ask_registry(
    url: str, credentials: Credentials | None = None, path: str = "/v2/", **options: object
) -> Answer:
    async def run() -> Answer:
        async with registry(url, credentials) as asked:
            return await asked.request("GET", path, **options)  # type: ignore[arg-type]

    return asyncio.run(run())


def ask_double(handler: Handler, path: str = "/v2/", **options: object) -> tuple[Answer, Server]:
    async def run() -> tuple[Answer, Server]:
        async with serving(handler) as server, registry(server.url, bob_at(server)) as asked:
            return await asked.request("GET", path, **options), server  # type: ignore[arg-type]

    return asyncio.run(run())


def asked_of(server: Server) -> list[str]:
    return [f"{each.method} {urlsplit(each.target).path}" for each in server.seen]


@contextmanager
def serving_on(network: Network, handler: Handler) -> Iterator[Server]:
    """A double that runs on the driver's own event loop."""
    double = serving(handler)
    server = network.run(double.__aenter__())
    try:
        yield server
    finally:
        network.run(double.__aexit__(None, None, None))


@contextmanager
def registry_on(
    network: Network,
    url: str,
    credentials: Credentials | None = None,
    *,
    retry_seconds: float = 2.0,
    strict: bool = False,
) -> Iterator[Registry]:
    """The driver's client of a registry, on the driver's own event loop."""
    client = registry(url, credentials, retry_seconds=retry_seconds, strict=strict)
    try:
        yield network.run(client.__aenter__())
    finally:
        network.run(client.__aexit__(None, None, None))

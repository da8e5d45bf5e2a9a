"""Listing what a double of an upstream holds."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence

from aiohttp import web

from lib.http.credentials import Credentials
from lib.http.registry import Registry, open_session
from lib.listing.upstream import Repository, list_repositories
from tests.doubles.catalog import Handler, Server, serving


async def listed(
    url: str, log: list[str] | None = None, credentials: Credentials | None = None, **options: object
) -> list[Repository]:
    retry_seconds = options.pop("retry_seconds", 0.3)
    async with open_session() as session:
        registry = Registry(
            url,
            session,
            credentials or Credentials({}, {}),
            retry_seconds=retry_seconds,  # type: ignore[arg-type]
            log=lambda _line: None,
        )
        lines = log if log is not None else []
        return await list_repositories(registry, log=lines.append, **options)  # type: ignore[arg-type]


def listing(handler: Handler, **options: object) -> tuple[list[Repository], Server, list[str]]:
    """What the double is listed as, what it was asked, and the log."""

    async def run() -> tuple[list[Repository], Server, list[str]]:
        log: list[str] = []
        async with serving(handler) as server:
            return await listed(server.url, log, **options), server, log  # type: ignore[arg-type]

    return asyncio.run(run())


def names_of(repositories: Sequence[Repository]) -> list[str]:
    return [each.name for each in repositories]


def is_safe(line: str) -> bool:
    """No control characters, line breaks or halves of surrogate pairs."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line)


def many(count: int) -> dict[str, list[str]]:
    return {f"team/app-{i:05}": ["v1"] for i in range(count)}


def catalog_targets(server: Server) -> list[str]:
    return [target for target in server.targets() if "_catalog" in target]


def tags_only(handler: Callable[[web.Request], web.Response]) -> Handler:
    """A registry whose catalog is answered by `handler`, and in which each repository has one tag."""

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/tags/list"):
            return web.json_response({"name": "x", "tags": ["v1"]})
        return handler(request)

    return handle


def catalog_only(handler: Callable[[web.Request], web.Response], *names: str) -> Handler:
    """A registry with these repositories, whose tags are answered by `handler`."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": names or ("a",)})
        return handler(request)

    return handle

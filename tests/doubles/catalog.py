"""An upstream's catalog and tags over HTTP, in this process, that pages as one likes, well or badly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# (path, page size, last name of the page) → the value of a Link header, or None for no header.
Linker = Callable[[str, int, str], "str | None"]


@dataclass(frozen=True)
class Seen:
    """One request as it came in; `target` is the path with its query, as sent."""

    method: str
    target: str
    authorization: str | None
    body: bytes = b""


@dataclass
class Server:
    """A running double: where it is, and what was asked of it."""

    url: str
    seen: list[Seen] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    def targets(self) -> list[str]:
        return [each.target for each in self.seen]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    """A server on a free loopback port that answers every request by `handler`."""
    server = Server("")

    async def note(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        authorization = request.headers.get("Authorization")
        server.seen.append(Seen(request.method, request.raw_path, authorization, body))
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sending(reply: bytes, *, hold: bool = False) -> AsyncIterator[Server]:
    """A server that sends these bytes to whoever connects, whatever was asked; then it closes, or holds on."""
    server = Server("")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        server.seen.append(Seen("", "", None))
        writer.write(reply)
        if hold:
            await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()


def relative(path: str, size: int, last: str) -> str:
    """The Link of the distribution spec's own example."""
    return f'<{path}?n={size}&last={last}>; rel="next"'


def no_link(_path: str, _size: int, _last: str) -> None:
    return None


@dataclass
class Catalog:
    """What the server holds (repository → its tags, or None for `null`, or a status) and its habits."""

    content: Mapping[str, Sequence[object] | int | None]
    link: Linker = relative
    greatest: int | None = None  # a page is never longer
    refused_over: int | None = None  # n over this: 400
    without_n: int | None = None  # page size where no n is given; None: everything
    knows_last: bool = True
    shuffled: bool = False
    delay: float = 0.0  # seconds before each answer

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if self.delay:
            await asyncio.sleep(self.delay)
        if request.path == "/v2/_catalog":
            return self._page(request, "repositories", list(self.content))
        name = request.path.removeprefix("/v2/").removesuffix("/tags/list")
        tags = self.content.get(name, 404)
        if isinstance(tags, int):
            return web.json_response({"errors": [{"code": "UNKNOWN"}]}, status=tags)
        if tags is None:
            return web.json_response({"name": name, "tags": None})
        return self._page(request, "tags", list(tags), name=name)

    def _page(self, request: web.Request, key: str, items: list[object], **more: str) -> web.Response:
        number = request.query.get("n")
        size = int(number) if number is not None else self.without_n or len(items)
        if number is not None and self.refused_over is not None and size > self.refused_over:
            return web.json_response({"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}, status=400)
        if self.greatest is not None:
            size = min(size, self.greatest)
        if self.shuffled:
            random.shuffle(items)
        last = request.query.get("last")
        if last is not None and self.knows_last:
            items = items[items.index(last) + 1 :]
        page = items[:size]
        link = self.link(request.path, size, str(page[-1])) if len(items) > size and page else None
        return web.json_response({**more, key: page}, headers={"Link": link} if link else {})

"""The driver's own HTTP listeners: their connections are bounded, and they answer no proxy's kind of request.

Whoever connects and sends nothing, or slowly, holds up nobody: of too many connections the oldest is closed, so that
the driver keeps its descriptors for pulls.
"""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

# So long the end waits for a reader in mid-answer, in seconds.
_READER_SECONDS = 1.0

Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """Answers by `answer` on one address; `most` connections at a time."""

    def __init__(self, answer: Answerer, most: int) -> None:
        self._answer = answer
        self._most = most
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> list[tuple[str, int]]:
        """The addresses it listens on then; OSError where it cannot."""
        runner = web.ServerRunner(_Bounded(self._checked, self._most), shutdown_timeout=_READER_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        return [address[:2] for address in runner.addresses]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _checked(self, request: web.BaseRequest) -> web.StreamResponse:
        """A target is a path (RFC 9112, origin-form); a URL or host:port is what a proxy is asked for."""
        if not request.raw_path.startswith("/"):
            return web.Response(status=400, text="this is no proxy\n")
        return await self._answer(request)


class _Bounded(web.Server):
    """Closes the oldest connection when there are too many."""

    def __init__(self, handler: Answerer, most: int) -> None:
        super().__init__(handler, access_log=None)
        self._most = most
        self._open: dict[RequestHandler, Transport] = {}  # in the order of their beginning

    def connection_made(self, handler: RequestHandler, transport: Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

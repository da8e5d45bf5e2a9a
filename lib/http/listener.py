"""The driver's own HTTP listeners. They limit their connections and refuse requests that are meant for a proxy.

Beyond the limit, a new connection closes the oldest one. So a peer that sends nothing, or sends slowly, blocks no other
peer, and the driver keeps its descriptors for pulls.
"""

from __future__ import annotations

from asyncio import Transport
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

# Seconds to wait at the end for a peer that is still reading an answer.
_READER_SECONDS = 1.0

Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Listener:
    """An HTTP server on one address: `answer` makes the answers, and at most `most` connections are open at a time."""

    def __init__(self, answer: Answerer, most: int) -> None:
        self._answer = answer
        self._most = most
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str, port: int) -> list[tuple[str, int]]:
        """Starts to listen; returns the addresses as (host, port). Raises OSError if it cannot listen."""
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
        """Stops listening and closes the connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _checked(self, request: web.BaseRequest) -> web.StreamResponse:
        """Refuses a request whose target is not a path (RFC 9112, origin-form): such a request is meant for a proxy."""
        if not request.raw_path.startswith("/"):
            return web.Response(status=400, text="this server is not a proxy\n")
        return await self._answer(request)


class _Bounded(web.Server):
    """Closes the oldest connection if there are more than `most`."""

    def __init__(self, handler: Answerer, most: int) -> None:
        super().__init__(handler, access_log=None)
        self._most = most
        self._open: dict[RequestHandler, Transport] = {}  # oldest first

    def connection_made(self, handler: RequestHandler, transport: Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

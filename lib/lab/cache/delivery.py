"""Sends the answers of the cache, with a bandwidth limit or a fault if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Mapping

from aiohttp import web

from ..fault_names import Fault
from .faults import CONTENT_FAULTS, status_fault
from .store import Payload
from .wire import CHUNK


class Pace:
    """Limits the rate of all clients together to `bandwidth` bytes per second."""

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self._free = 0.0
        self.chunk = max(1, min(CHUNK, int(bandwidth / 20)))

    async def take(self, size: int) -> None:
        now = time.monotonic()
        self._free = max(self._free, now) + size / self._bandwidth
        await asyncio.sleep(self._free - now)


class Streamed(web.StreamResponse):
    """An answer that is sent in pieces. `sent` counts the bytes of its body."""

    sent = 0


class Delivery:
    """Sends payloads, and carries out their faults."""

    def __init__(self, bandwidth: float | None) -> None:
        self._pace = Pace(bandwidth) if bandwidth else None
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Ends the answers that hang because of a fault."""
        self._closing.set()

    async def refuse(
        self, request: web.BaseRequest, fault: Fault | None, kind: str
    ) -> web.StreamResponse | None:
        """Carries out a fault that replaces the answer. Returns None if the fault does not: then send the answer."""
        if fault is None or fault.what in CONTENT_FAULTS:
            return None
        if fault.status is not None:
            return status_fault(fault.status, kind)
        if fault.what == "hang":
            await self._hang(request)
        else:
            _reset(request)
        return web.Response(status=500)  # the connection is closed, so no client reads it

    async def send(
        self, request: web.BaseRequest, payload: Payload, headers: Mapping[str, str], fault: Fault | None
    ) -> web.StreamResponse:
        """Sends the payload, unchanged or with the fault in its content."""
        whole = self._pace is None and fault is None
        if payload.data is not None and (whole or request.method == "HEAD"):
            return web.Response(body=payload.data, headers=headers)
        response = Streamed(headers=headers)
        response.content_length = payload.size
        await response.prepare(request)
        if whole:
            response.sent = payload.size
            await _send_file(request, payload)
        else:
            await self._send_chunks(response, payload, fault.what if fault else None)
        if fault is not None and fault.what == "truncate":
            response.force_close()
            _close(request)
        else:
            await response.write_eof()
        return response

    async def _hang(self, request: web.BaseRequest) -> None:
        while request.transport is not None and not request.transport.is_closing():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 0.1)
                return

    async def _send_chunks(self, response: Streamed, payload: Payload, fault: str | None) -> None:
        size = payload.size // 2 if fault == "truncate" else payload.size
        response.sent = size
        for chunk in _chunks(payload, size, self._pace.chunk if self._pace else CHUNK):
            if fault == "corrupt":
                chunk, fault = bytes([chunk[0] ^ 0xFF]) + chunk[1:], None
            if self._pace is not None:
                await self._pace.take(len(chunk))
            await response.write(chunk)


def _chunks(payload: Payload, size: int, step: int) -> Iterator[bytes]:
    """Yields the first `size` bytes of a payload in pieces of `step` bytes. Does not read a whole file at once."""
    if payload.data is not None:
        for start in range(0, size, step):
            yield payload.data[start : min(start + step, size)]
        return
    assert payload.path is not None
    with payload.path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(step, size))):
            size -= len(chunk)
            yield chunk


async def _send_file(request: web.BaseRequest, payload: Payload) -> None:
    assert payload.path is not None
    if request.transport is None:
        raise ConnectionResetError("the client has gone")
    with payload.path.open("rb") as file:
        await asyncio.get_running_loop().sendfile(request.transport, file, 0, payload.size)


def _close(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.BaseRequest) -> None:
    """Ends the connection with a TCP reset, as the kernel does when a server crashes."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()

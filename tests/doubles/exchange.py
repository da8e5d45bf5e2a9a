"""A request to the faulty registry, and its connection, on which anything can be sent or broken."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from tests.doubles.good_image import CONFIG_DIGEST, IMAGE

PLACES: Final = ("ping", "manifest", "blob", "config", "delete", "token")


@dataclass(frozen=True)
class Request:
    """A request, and what it is about: `place` is ping, manifest, blob, delete, token or nothing we know."""

    method: str
    path: str
    place: str
    repository: str
    reference: str


class Breakable(Protocol):
    """The server itself, as far as a fault may touch it."""

    address: tuple[str, int]

    def stop_accepting(self) -> None: ...

    def drop_connections(self) -> None: ...


@dataclass
class Exchange:
    """One request on its connection, with all that a fault may do to it."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: Breakable

    async def send(
        self,
        status: int,
        body: bytes = b"",
        media_type: str = "text/plain",
        length: int = -1,
        headers: dict[str, str] | None = None,
    ) -> bool:
        """Answers; True, for the connection can be used again."""
        lines = [f"HTTP/1.1 {status} {_reason(status)}", f"Content-Type: {media_type}"]
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if self.request.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()
        return True

    def cut(self) -> bool:
        """Closes with a reset instead of an orderly end; False, for the connection is gone."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        return False


def _reason(status: int) -> str:
    with contextlib.suppress(ValueError):
        return HTTPStatus(status).phrase
    return "Unknown"


_ROUTE: Final = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


def parse_request(method: str, path: str) -> Request:
    path = path.partition("?")[0]
    if path in ("/v2/", "/v2"):
        return Request(method, path, "ping", "", "")
    if path == "/token":
        return Request(method, path, "token", "", "")
    found = _ROUTE.fullmatch(path)
    if not found:
        return Request(method, path, "", "", "")
    place = "delete" if method == "DELETE" else _place(found["kind"], found["reference"])
    return Request(method, path, place, found["repository"], found["reference"])


def _place(kind: str, reference: str) -> str:
    """A blob that the image has not got is nothing that a fault could strike."""
    if kind == "manifests":
        return "manifest"
    if reference == CONFIG_DIGEST:
        return "config"
    return "blob" if reference in IMAGE.blobs else ""

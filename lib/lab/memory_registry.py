"""A registry that answers from memory with very little CPU, so that mostly the work of the clients is measured.

    python -m lib.lab.memory_registry --listen 127.0.0.1:0 [--images 100] [--layers 5] [--layer-size 2KiB]

It makes all answers once, at the start. It has a catalog and tags, and refuses pushes.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import cast

import click

from ..options.types import Size
from .images import (
    CONFIG_TYPE,
    DEFAULT_PLATFORM,
    MANIFEST_TYPE,
    Population,
    config_json,
    digest_of,
    image_names,
    layers_of,
    manifest_json,
)

_OCTETS = "application/octet-stream"
_JSON = "application/json"
_HEAD_LIMIT = 64 * 1024
# The first byte of a TLS hello. The clients try https first, and lose time if it is not refused.
_TLS_HELLO = 0x16

Answer = tuple[bytes, bytes]
"""The head and the body of an answer."""


def answer(status: str, content_type: str, body: bytes, digest: str = "") -> Answer:
    """Returns an HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    if digest:
        lines.append(f"Docker-Content-Digest: {digest}")
    return "\r\n".join([*lines, "", ""]).encode(), body


NOT_FOUND = answer("404 Not Found", _JSON, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}')
NOT_ALLOWED = answer("405 Method Not Allowed", _JSON, b'{"errors":[{"code":"UNSUPPORTED","message":"no"}]}')
NO_HTTP = b"HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def answers(population: Population) -> dict[str, Answer]:
    """Returns all answers by path."""
    found = {"/v2/": answer("200 OK", _JSON, b"{}")}
    tags: dict[str, list[str]] = {}
    for name in image_names(population):
        repository, _, tag = name.rpartition(":")
        tags.setdefault(repository, []).append(tag)
        found |= _image(population, name, f"/v2/{repository}", tag)
    for repository, names in tags.items():
        listed = json.dumps({"name": repository, "tags": names}).encode()
        found[f"/v2/{repository}/tags/list"] = answer("200 OK", _JSON, listed)
    catalog = json.dumps({"repositories": list(tags)}).encode()
    return found | {"/v2/_catalog": answer("200 OK", _JSON, catalog)}


def _image(population: Population, name: str, path: str, tag: str) -> dict[str, Answer]:
    layers = layers_of(population, name, DEFAULT_PLATFORM)
    blobs = [b"".join(layer.chunks()) for layer in layers]
    config = config_json(name, DEFAULT_PLATFORM, layers)
    manifest = manifest_json(config, layers)
    found = {
        f"{path}/manifests/{reference}": answer("200 OK", MANIFEST_TYPE, manifest, digest_of(manifest))
        for reference in (tag, digest_of(manifest))
    }
    for kind, blob in ((CONFIG_TYPE, config), *((_OCTETS, blob) for blob in blobs)):
        found[f"{path}/blobs/{digest_of(blob)}"] = answer("200 OK", kind, blob, digest_of(blob))
    return found


class Connection(asyncio.Protocol):
    """Answers requests, which must have no body, one after the other."""

    def __init__(self, served: dict[str, Answer]) -> None:
        self._served = served
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received[0] == _TLS_HELLO or len(self._received) > _HEAD_LIMIT:
            self._transport.write(NO_HTTP)
            self._transport.close()
            return
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            request, self._received = self._received[:end], self._received[end + 4 :]
            self._answer(request.partition(b"\r\n")[0].decode("latin-1"))
            if not self._received:
                return

    def _answer(self, request_line: str) -> None:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        head, body = self._served.get(path, NOT_FOUND) if method in ("GET", "HEAD") else NOT_ALLOWED
        self._transport.write(head if method == "HEAD" else head + body)


async def serve(host: str, port: int, population: Population) -> None:
    """Serves the images until SIGTERM or SIGINT."""
    served, ended = answers(population), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Connection(served), host, port, backlog=1024)
    print(f"listening on {host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    server.close()


_HELP = """Serve random images from memory."""


@click.command(help=_HELP)
@click.option("--listen", default="127.0.0.1:0", show_default=True)
@click.option("--images", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--layers", type=click.IntRange(1, 127), default=5, show_default=True)
@click.option("--layer-size", type=Size(), default="2KiB", show_default=True)
def main(listen: str, images: int, layers: int, layer_size: int) -> None:
    """Runs the registry."""
    host, _, port = listen.rpartition(":")
    population = Population(groups=1, images=images, layers=layers, layer_size=layer_size)
    asyncio.run(serve(host, int(port), population))


if __name__ == "__main__":
    main()

"""A misbehaving registry on loopback: one small good image under every name, and a fault in the way to it.

The first part of the repository names the fault, so one server serves all faults at once:
``127.0.0.1:PORT/manifest-503/app:v1``, ``127.0.0.1:PORT/blob-truncated/app:v1``; any other name is served
well. A fault that is the whole server's (its ping, its TLS, its death) has a port of its own;
`FaultyRegistry.reference` knows which::

    with FaultyRegistry() as registry:
        subprocess.run(["crane", "pull", registry.reference("manifest-503-json"), "/dev/null"])

``python -m tests.doubles.faulty --listen 127.0.0.1:PORT [--fault NAME]`` serves in the foreground; with
`--fault` every repository has it.

A fault is ``PLACE-KIND`` or ``PLACE-STATUS[-BODY][-after][-xN]``: PLACE is ping, manifest, blob (the layers),
config, delete or token; BODY is a key of `BODIES`, else the body is empty; ``after`` sends ``Retry-After:
1``; ``xN`` fails N times for each repository, then serves well. The kinds are the keys of `KINDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import random
import re
import socket
import ssl
import struct
import sys
import tarfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCTETS: Final = "application/octet-stream"
CERTIFICATES: Final = {
    "tls": Path(__file__).parent / "tls" / "loopback.pem",
    "tls-name": Path(__file__).parent / "tls" / "registry.test.pem",
}
"""Self-signed, with their keys: one for 127.0.0.1, one for another name. SSL_CERT_FILE makes a client trust one."""

HOSTILE: Final = (
    "no such host\x1b[31m\x1b]0;title\x07\r\n"
    "2026/01/01 00:00:00 retrying GET http://127.0.0.1:1/v2/x/manifests/y: dial tcp: lookup x: no such host\n"
    'time="2026-01-01T00:00:00Z" level=fatal msg="x509: no space left on device"\n'
    "Error: GET http://127.0.0.1:1/v2/x/manifests/y: UNAUTHORIZED: Bearer abc.def\n"
    'Error: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused\n'
    "Error: unexpected EOF (404 Not Found)"
)
"""What a server may write in the hope of being taken for the client."""

LONG: Final = "no such host, unexpected EOF: x509: " * 8_000
"""More than the driver keeps of what a client says."""

COMMANDS: Final = (
    "::error::forged\n  ::add-mask::forged\n\x85::warning::forged\r::notice::forged\n##[error]forged\n"
    "good ###[add-path]/forged ##[set-output name=a]forged #\u00ad#[add-mask]forged ##vso[task.complete]forged"
)
"""What a server may write in the hope that the runner of a pipeline obeys it."""

CODES: Final = {
    400: "DIGEST_INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "MANIFEST_UNKNOWN",
    405: "UNSUPPORTED",
    429: "TOOMANYREQUESTS",
}


# --- the image


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer(seed: int) -> tuple[bytes, bytes]:
    """A layer, bare and compressed; its content does not compress, so that it can break in the middle."""
    bare = io.BytesIO()
    content = random.Random(seed).randbytes(30_000)
    with tarfile.open(fileobj=bare, mode="w") as archive:
        member = tarfile.TarInfo(f"layer-{seed}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return bare.getvalue(), gzip.compress(bare.getvalue(), mtime=0)


def _describe(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(data), "digest": _digest(data)}


@dataclass(frozen=True)
class Image:
    """A manifest, and its blobs by digest."""

    manifest: bytes
    blobs: dict[str, bytes]


def _image() -> Image:
    layers = [_layer(seed) for seed in (1, 2)]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(bare) for bare, _ in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _describe(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [
                _describe(packed, "application/vnd.oci.image.layer.v1.tar+gzip") for _, packed in layers
            ],
        }
    ).encode()
    return Image(manifest, {_digest(blob): blob for blob in (config, *(packed for _, packed in layers))})


IMAGE: Final = _image()
CONFIG_DIGEST: Final = next(iter(IMAGE.blobs))


# --- requests and answers


@dataclass(frozen=True)
class Request:
    """A request, and what it is about: `place` is ping, manifest, blob, delete, token or nothing we know."""

    method: str
    path: str
    place: str
    repository: str
    reference: str


@dataclass
class Exchange:
    """One request on its connection, with all that a fault may do to it."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    listener: Listener

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


def _route(method: str, path: str) -> Request:
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


async def serve_well(exchange: Exchange) -> bool:
    """What a good registry answers."""
    request = exchange.request
    if request.place == "ping":
        return await exchange.send(200, b"{}", "application/json")
    if request.place == "delete":
        return await exchange.send(202)
    if request.place == "token":
        return await exchange.send(200, b'{"token": "good"}', "application/json")
    if request.place == "manifest":
        return await _send_manifest(exchange, IMAGE.manifest, MANIFEST)
    blob = IMAGE.blobs.get(request.reference)
    if blob is None:
        return await exchange.send(404, _oci_error(404, "unknown"), "application/json")
    return await exchange.send(200, blob, OCTETS)


async def _send_manifest(exchange: Exchange, body: bytes, media_type: str) -> bool:
    return await exchange.send(200, body, media_type, headers={"Docker-Content-Digest": _digest(body)})


# --- faults


def _oci_error(status: int, message: str) -> bytes:
    error = {"code": CODES.get(status, "UNKNOWN"), "message": message, "detail": {}}
    return json.dumps({"errors": [error]}).encode()


def _two_errors(status: int) -> bytes:
    first, second = (
        {"code": code, "message": f"{code.lower()} says it"} for code in (CODES.get(status, "UNKNOWN"), "X")
    )
    return json.dumps({"errors": [first, second]}).encode()


BODIES: Final[dict[str, tuple[Callable[[int], bytes], str]]] = {
    "json": (lambda status: _oci_error(status, f"the server says {status}"), "application/json"),
    "two": (_two_errors, "application/json"),
    "text": (lambda status: f"the server says {status}\n".encode(), "text/plain"),
    "html": (lambda status: f"<html>\n<h1>{status}</h1>\n</html>\n".encode(), "text/html"),
    "commands": (lambda _status: COMMANDS.encode(), "text/plain"),
    "commandsjson": (lambda status: _oci_error(status, COMMANDS), "application/json"),
    "hostile": (lambda _status: HOSTILE.encode(), "text/plain"),
    "long": (lambda status: LONG.encode(), "text/plain"),
    "big": (lambda status: LONG[:60_000].encode(), "text/plain"),
    "bigjson": (lambda status: _oci_error(status, LONG[:60_000]), "application/json"),
    "longjson": (lambda status: _oci_error(status, LONG), "application/json"),
    "hostilejson": (lambda status: _oci_error(status, HOSTILE), "application/json"),
}


async def _silent(exchange: Exchange) -> bool:
    """Accepts and never answers."""
    await exchange.reader.read()
    return False


async def _redirect(exchange: Exchange) -> bool:
    return await exchange.send(307, headers={"Location": exchange.request.path})


async def _reset(exchange: Exchange) -> bool:
    return exchange.cut()


async def _close(_exchange: Exchange) -> bool:
    return False


async def _garbage(exchange: Exchange) -> bool:
    exchange.writer.write(b"no http at all: connection refused\r\n\r\n")
    return False


def _good_body(request: Request) -> bytes:
    return IMAGE.manifest if request.place == "manifest" else IMAGE.blobs[request.reference]


async def _send_half(exchange: Exchange) -> None:
    body = _good_body(exchange.request)
    media_type = MANIFEST if exchange.request.place == "manifest" else OCTETS
    await exchange.send(200, body[: len(body) // 2], media_type, length=len(body))


async def _truncated(exchange: Exchange) -> bool:
    await _send_half(exchange)
    return False


async def _reset_midway(exchange: Exchange) -> bool:
    await _send_half(exchange)
    await asyncio.sleep(0.1)  # a reset overtakes bytes that have not been read yet
    return exchange.cut()


async def _stalled(exchange: Exchange) -> bool:
    await _send_half(exchange)
    return await _silent(exchange)


async def _drip(exchange: Exchange) -> bool:
    """A byte a second, for as long as the client has patience."""
    await exchange.send(200, length=len(_good_body(exchange.request)), media_type=OCTETS)
    for byte in _good_body(exchange.request):
        exchange.writer.write(bytes([byte]))
        await exchange.writer.drain()
        await asyncio.sleep(1)
    return True


async def _killed(exchange: Exchange) -> bool:
    """The server dies in mid-answer: nobody listens any more when the client tries again."""
    exchange.listener.stop_accepting()
    await _send_half(exchange)
    exchange.listener.drop_connections()
    return False


async def _died(exchange: Exchange) -> bool:
    """The same, before a byte of the answer."""
    exchange.listener.stop_accepting()
    exchange.listener.drop_connections()
    return False


async def _corrupted(exchange: Exchange) -> bool:
    body = bytearray(_good_body(exchange.request))
    body[len(body) // 2] ^= 0xFF
    return await exchange.send(200, bytes(body), OCTETS)


async def _short(exchange: Exchange) -> bool:
    return await exchange.send(200, _good_body(exchange.request)[:-9], OCTETS)


async def _html(exchange: Exchange) -> bool:
    body = b"<html>\n<body>Sign in: no such host, connection refused</body>\n</html>\n"
    return await exchange.send(200, body, "text/html")


async def _empty(exchange: Exchange) -> bool:
    return await exchange.send(200, b"", MANIFEST if exchange.request.place == "manifest" else OCTETS)


async def _text(exchange: Exchange) -> bool:
    return await _send_manifest(exchange, b"not a manifest", MANIFEST)


async def _half_json(exchange: Exchange) -> bool:
    """Whole as far as HTTP can tell, and cut off as JSON."""
    return await _send_manifest(exchange, IMAGE.manifest[: len(IMAGE.manifest) // 2], MANIFEST)


async def _strange(exchange: Exchange) -> bool:
    body = json.dumps({"schemaVersion": 2, "mediaType": "application/x-no: connection refused"}).encode()
    return await _send_manifest(exchange, body, "application/x-no")


async def _schema_one(exchange: Exchange) -> bool:
    body = json.dumps(
        {"schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [], "history": []}
    ).encode()
    return await _send_manifest(exchange, body, "application/vnd.docker.distribution.manifest.v1+prettyjws")


async def _no_platform(exchange: Exchange) -> bool:
    child = {**_describe(IMAGE.manifest, MANIFEST), "platform": {"os": "linux", "architecture": "s390x"}}
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).encode()
    return await _send_manifest(exchange, body, INDEX)


Behaviour = Callable[[Exchange], Awaitable[bool]]

KINDS: Final[dict[str, Behaviour]] = {
    "silent": _silent,
    "redirect": _redirect,
    "reset": _reset,
    "close": _close,
    "garbage": _garbage,
    "truncated": _truncated,
    "midreset": _reset_midway,
    "stalled": _stalled,
    "drip": _drip,
    "killed": _killed,
    "died": _died,
    "corrupted": _corrupted,
    "short": _short,
    "html": _html,
    "empty": _empty,
    "text": _text,
    "halfjson": _half_json,
    "strange": _strange,
    "schemaone": _schema_one,
    "noplatform": _no_platform,
}


@dataclass(frozen=True)
class Fault:
    """Where the server misbehaves, how, and how often for each repository (0: always)."""

    place: str
    behaviour: Behaviour
    times: int = 0
    own_port: bool = False
    certificate: Path | None = None


_STATUS_FAULT: Final = re.compile(
    r"(?P<place>ping|manifest|blob|config|delete|token)-(?P<status>\d{3})(?:-(?P<body>[a-z]+?))??(?P<after>-after)?(?:-x(?P<times>\d+))?"
)
_KIND_FAULT: Final = re.compile(
    r"(?P<place>ping|manifest|blob|config|delete|token)-(?P<kind>[a-z]+?)(?:-x(?P<times>\d+))?"
)


def _status(place: str, status: int, body_name: str | None, after: bool) -> Behaviour:
    async def answer(exchange: Exchange) -> bool:
        body, media_type = b"", "text/plain"
        if body_name:
            make, media_type = BODIES[body_name]
            body = make(status)
        headers = {"Retry-After": "1"} if after else {}
        if place == "token" or (place == "ping" and status == 401):
            host, port = exchange.listener.address
            headers["WWW-Authenticate"] = f'Bearer realm="http://{host}:{port}/token",service="faulty"'
        return await exchange.send(status, body, media_type, headers=headers)

    return answer


def _token(status: int, body_name: str | None) -> Fault:
    """The ping, or the first request of a client that sends none, names a token service, which answers with the
    status."""
    refuse, send_away = _status("blob", status, body_name, False), _status("token", 401, None, False)

    async def answer(exchange: Exchange) -> bool:
        return await (refuse if exchange.request.place == "token" else send_away)(exchange)

    return Fault("ping manifest token", answer, own_port=True)


def parse(name: str) -> Fault | None:
    """The fault of that name; None where the name is no fault's."""
    if name in CERTIFICATES:
        return Fault("", serve_well, own_port=True, certificate=CERTIFICATES[name])
    found = _STATUS_FAULT.fullmatch(name)
    if found and (found["body"] is None or found["body"] in BODIES):
        place, status = found["place"], int(found["status"])
        if place == "token":
            return _token(status, found["body"])
        behaviour = _status(place, status, found["body"], bool(found["after"]))
        return Fault(place, behaviour, int(found["times"] or 0), own_port=place == "ping")
    found = _KIND_FAULT.fullmatch(name)
    if found and found["kind"] in KINDS:
        own_port = found["place"] == "ping" or found["kind"] in ("killed", "died")
        return Fault(found["place"], KINDS[found["kind"]], int(found["times"] or 0), own_port=own_port)
    return None


# --- the server


class Listener:
    """A listening socket; with `fixed`, every request there meets that fault."""

    def __init__(self, fixed: Fault | None = None) -> None:
        self.fixed = fixed
        self.address = ("127.0.0.1", 0)
        self.requests: Counter[tuple[str, str]] = Counter()
        """How often each (method, path) was asked for."""
        self._failed: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        context = None
        if self.fixed is not None and self.fixed.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.fixed.certificate)
        self._server = await asyncio.start_server(self._connection, host, port, ssl=context)
        self.address = self._server.sockets[0].getsockname()[:2]

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    def drop_connections(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has left, or does not speak HTTP
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.read(1)
        if first == b"\x16":  # a TLS hello: clients that wait for an answer to it lose seconds
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        if not first:
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path = head.split(" ", 2)[:2]
        request = _route(method, path)
        self.requests[method, request.path] += 1
        return await self._behaviour(request)(Exchange(request, reader, writer, self))

    def _behaviour(self, request: Request) -> Behaviour:
        fault = self.fixed or parse(request.repository.partition("/")[0])
        if fault is None or request.place not in fault.place.split():
            return serve_well
        if fault.times:
            self._failed[request.repository] += 1
            if self._failed[request.repository] > fault.times:
                return serve_well
        return fault.behaviour


@final
class FaultyRegistry:
    """All faults at once, served by a thread of its own while the context lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-registry", daemon=True)
        self._shared = Listener()
        self._listeners: list[Listener] = []

    def __enter__(self) -> FaultyRegistry:
        self._thread.start()
        self._start(self._shared)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def address(self) -> str:
        """`host:port` of the server that serves every fault but those that need a port of their own."""
        return _join(self._shared.address)

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """How often each (method, path) was asked for at `address`."""
        return self._shared.requests

    def reference(self, fault: str, name: str = "app:v1") -> str:
        """The reference of an image behind that fault; one port of its own a call where the fault needs
        one."""
        known = parse(fault)
        if known is None:
            raise ValueError(f"no such fault: {fault}")
        listener = self._start(Listener(known)) if known.own_port else self._shared
        return f"{_join(listener.address)}/{fault}/{name}"

    def _start(self, listener: Listener) -> Listener:
        asyncio.run_coroutine_threadsafe(listener.start(), self._loop).result(10)
        self._listeners.append(listener)
        return listener

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.stop_accepting()
            listener.drop_connections()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _join(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


@contextlib.contextmanager
def refused_port() -> Iterator[str]:
    """`host:port` where nobody listens: bound, so that no other process gets it, and never listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield _join(holder.getsockname())


async def _serve(listen: str, fault: Fault | None) -> None:
    host, _, port = listen.rpartition(":")
    listener = Listener(fault)
    await listener.start(host or "127.0.0.1", int(port))
    print(f"listening on {_join(listener.address)}", flush=True)
    await asyncio.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.faulty", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--fault", metavar="NAME", help="every repository has this fault")
    options = parser.parse_args()
    fault = parse(options.fault) if options.fault else None
    if options.fault and fault is None:
        parser.error(f"no such fault: {options.fault}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.listen, fault))
    return 0


if __name__ == "__main__":
    sys.exit(main())

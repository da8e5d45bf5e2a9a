"""What the faulty registry answers: well, with a status, or broken in one of many ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from lib.lab.fault_names import Fault
from lib.lab.images import INDEX_TYPE, MANIFEST_TYPE, digest_of
from tests.doubles import artifacts
from tests.doubles.exchange import Exchange, Request
from tests.doubles.good_image import IMAGE
from tests.support.images import describe

OCTETS: Final = "application/octet-stream"

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

FOREIGN: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN_BY_POLICY",
    404: "TAG_EXPIRED",
    405: "METHOD_DISABLED",
    412: "PROJECTPOLICYVIOLATION",
    413: "TOO_MANY_TAGS_REQUESTED",
    429: "TOO_MANY_REQUEST",
    451: "GEO_BLOCKED",
    503: "MAINTENANCE",
}
"""Codes that are not the specification's: of Harbor, of Quay, and of nobody."""

DEFAULTS: Final = {
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "UNSUPPORTED": "The operation is unsupported.",
    "TOOMANYREQUESTS": "too many requests",
    "UNKNOWN": "unknown error",
}
"""The message that distribution has for each code."""

Answer = Callable[[Exchange], Awaitable[bool]]
"""Whether the connection can be used again."""


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
        return await _send_manifest(exchange, IMAGE.manifest, MANIFEST_TYPE)
    blob = IMAGE.blobs.get(request.reference) or artifacts.BLOBS.get(request.reference)
    if blob is None:
        return await exchange.send(404, _oci_error(404, "unknown"), "application/json")
    return await exchange.send(200, blob, OCTETS)


async def _send_manifest(exchange: Exchange, body: bytes, media_type: str) -> bool:
    return await exchange.send(200, body, media_type, headers={"Docker-Content-Digest": digest_of(body)})


def _oci_error(status: int, message: str) -> bytes:
    error = {"code": CODES.get(status, "UNKNOWN"), "message": message, "detail": {}}
    return json.dumps({"errors": [error]}).encode()


def _two_errors(status: int) -> bytes:
    first, second = (
        {"code": code, "message": f"{code.lower()} says it"} for code in (CODES.get(status, "UNKNOWN"), "X")
    )
    return json.dumps({"errors": [first, second]}).encode()


def _default(status: int, **more: object) -> bytes:
    code = CODES.get(status, "UNKNOWN")
    return _errors({"code": code, "message": DEFAULTS[code], **more})


def _errors(*errors: dict[str, object]) -> bytes:
    return json.dumps({"errors": errors}).encode()


def _foreign(status: int) -> bytes:
    return _errors({"code": FOREIGN.get(status, "SOMETHING_ELSE"), "message": f"the server says {status}"})


JSON: Final = "application/json"

# Codes that come with any status.
ANYWHERE: Final = (
    "UNAUTHORIZED",
    "DENIED",
    "MANIFEST_UNKNOWN",
    "NAME_UNKNOWN",
    "TOOMANYREQUESTS",
    "UNSUPPORTED",
    "MANIFEST_INVALID",
    "NAME_INVALID",
)


def _coded(code: str) -> Callable[[int], bytes]:
    return lambda _status: _errors({"code": code, "message": "the server says no"})


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
    "default": (_default, JSON),
    "detailed": (lambda status: _default(status, detail={"Tag": "v1"}), JSON),
    "bare": (lambda status: _errors({"code": CODES.get(status, "UNKNOWN")}), JSON),
    "foreign": (_foreign, JSON),
    "nocode": (lambda status: _errors({"status": status, "message": "the server says no"}), JSON),
    "nothing": (lambda _status: _errors(), JSON),
    "details": (lambda _status: b'{"details": "the server says no"}', JSON),
    "otherjson": (
        lambda status: json.dumps({"status": status, "error": "no", "path": "/v2/"}).encode(),
        JSON,
    ),
    **{code.lower().replace("_", ""): (_coded(code), JSON) for code in ANYWHERE},
    "hostilejson": (lambda status: _oci_error(status, HOSTILE), "application/json"),
}


async def _silent(exchange: Exchange) -> bool:
    """Accepts and never answers."""
    await exchange.reader.read()
    return False


async def _silent_to_get(exchange: Exchange) -> bool:
    """Tells of a manifest, and never sends it."""
    if exchange.request.method == "GET":
        return await _silent(exchange)
    return await _send_manifest(exchange, IMAGE.manifest, MANIFEST_TYPE)


async def _reset_to_get(exchange: Exchange) -> bool:
    """Tells of a manifest, and cuts the connection when it is asked for."""
    if exchange.request.method == "GET":
        return exchange.cut()
    return await _send_manifest(exchange, IMAGE.manifest, MANIFEST_TYPE)


async def _redirect(exchange: Exchange) -> bool:
    return await exchange.send(307, headers={"Location": exchange.request.path})


async def _redirect_to_nowhere(exchange: Exchange) -> bool:
    return await exchange.send(307)


async def _redirect_to_ftp(exchange: Exchange) -> bool:
    return await exchange.send(307, headers={"Location": "ftp://127.0.0.1/x"})


async def _bad_header(exchange: Exchange) -> bool:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nno header: at all\r\nno header\r\n\r\n")
    return False


async def _not_gzip(exchange: Exchange) -> bool:
    """A manifest that is not compressed, although the answer says so."""
    headers = {"Content-Encoding": "gzip", "Docker-Content-Digest": digest_of(IMAGE.manifest)}
    return await exchange.send(200, IMAGE.manifest, MANIFEST_TYPE, headers=headers)


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
    media_type = MANIFEST_TYPE if exchange.request.place == "manifest" else OCTETS
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
    exchange.server.stop_accepting()
    await _send_half(exchange)
    exchange.server.drop_connections()
    return False


async def _died(exchange: Exchange) -> bool:
    """The same, before a byte of the answer."""
    exchange.server.stop_accepting()
    exchange.server.drop_connections()
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
    return await exchange.send(200, b"", MANIFEST_TYPE if exchange.request.place == "manifest" else OCTETS)


async def _text(exchange: Exchange) -> bool:
    return await _send_manifest(exchange, b"not a manifest", MANIFEST_TYPE)


async def _half_json(exchange: Exchange) -> bool:
    """Whole as far as HTTP can tell, and cut off as JSON."""
    return await _send_manifest(exchange, IMAGE.manifest[: len(IMAGE.manifest) // 2], MANIFEST_TYPE)


async def _strange(exchange: Exchange) -> bool:
    body = json.dumps({"schemaVersion": 2, "mediaType": "application/x-no: connection refused"}).encode()
    return await _send_manifest(exchange, body, "application/x-no")


async def _schema_one(exchange: Exchange) -> bool:
    body = json.dumps(
        {"schemaVersion": 1, "name": "app", "tag": "v1", "fsLayers": [], "history": []}
    ).encode()
    return await _send_manifest(exchange, body, "application/vnd.docker.distribution.manifest.v1+prettyjws")


async def _no_platform(exchange: Exchange) -> bool:
    child = {**describe(IMAGE.manifest, MANIFEST_TYPE), "platform": {"os": "linux", "architecture": "s390x"}}
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]}).encode()
    return await _send_manifest(exchange, body, INDEX_TYPE)


def _artifact(kind: str) -> Answer:
    async def answer(exchange: Exchange) -> bool:
        tagged = artifacts.ARTIFACTS[kind]
        found = artifacts.CHILDREN.get(exchange.request.reference, tagged)
        return await _send_manifest(exchange, found.body, found.media_type)

    return answer


KINDS: Final[dict[str, Answer]] = {
    "silent": _silent,
    "silentget": _silent_to_get,
    "resetget": _reset_to_get,
    "redirect": _redirect,
    "nolocation": _redirect_to_nowhere,
    "ftplocation": _redirect_to_ftp,
    "badheader": _bad_header,
    "notgzip": _not_gzip,
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
    **{kind: _artifact(kind) for kind in artifacts.ARTIFACTS},
}


def status_answer(fault: Fault) -> Answer:
    """The status, with the body and headers that the fault names."""

    async def answer(exchange: Exchange) -> bool:
        body, media_type = b"", "text/plain"
        if fault.body:
            make, media_type = BODIES[fault.body]
            body = make(int(fault.what))
        headers = {"Retry-After": "1"} if fault.after else {}
        if fault.place == "token" or (fault.place == "ping" and fault.what == "401"):
            host, port = exchange.server.address
            headers["WWW-Authenticate"] = f'Bearer realm="http://{host}:{port}/token",service="faulty"'
        return await exchange.send(int(fault.what), body, media_type, headers=headers)

    return answer

"""Parses requests to the cache, and makes the answers that many requests share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from aiohttp import web

MANIFEST, BLOB = "manifest", "blob"
INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
IMAGE_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)
MAX_SEGMENTS = 4
MAX_TARGET = (1 << 20) + 4096  # bytes of a request's target; Go's limit for a whole request head
DEFAULT_COUNT, NO_LIMIT = 50, 2**31 - 1
CHUNK = 64 << 10
DIGEST = re.compile(r"[a-f0-9]{64}")
BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}


class BadRequest(Exception):
    """A request that Ociregistry refuses with status 400. `response` is the answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.text)
        self.response = response


@dataclass(frozen=True, slots=True)
class Address:
    """An image at an upstream. `url` is the name by which Ociregistry caches, lists and prunes it."""

    upstream: str
    repository: str
    reference: str

    @property
    def by_digest(self) -> bool:
        return self.reference.startswith("sha256:")

    @property
    def url(self) -> str:
        return f"{self.upstream}/{self.repository}{'@' if self.by_digest else ':'}{self.reference}"

    def with_digest(self, digest: str) -> str:
        return f"{self.upstream}/{self.repository}@{digest}"


def resolve(
    segments: Sequence[str], reference: str, header: str, ns: str | None, default: str | None
) -> Address | None:
    """Returns the address of the requested image, or None if the request is not valid.

    Its upstream is the header, `ns`, a first segment with a dot, or the default, in this order.
    """
    rest = list(segments)
    if header:
        upstream = header
    elif ns is not None:
        upstream = ns
    elif "." in rest[0]:
        upstream = rest.pop(0)
    elif default:
        upstream = default
    else:
        return None
    if not rest or "." in rest[0]:
        return None
    return Address(upstream, "/".join(rest), reference.lower())


@dataclass(frozen=True, slots=True)
class Route:
    """A path `/v2/<name>/<kind>/<reference>`, split and unescaped."""

    segments: tuple[str, ...]
    kind: str
    reference: str


def parse_route(path: str) -> Route | None:
    parts = [unquote(part) for part in path.split("/")]
    if len(parts) < 5 or parts[:2] != ["", "v2"] or not all(parts[2:]):
        return None
    *segments, kind, reference = parts[2:]
    kinds = {"manifests": MANIFEST, "blobs": BLOB}
    if kind not in kinds or len(segments) > MAX_SEGMENTS:
        return None
    return Route(tuple(segments), kinds[kind], reference)


def parse_query(raw: str) -> dict[str, list[str]]:
    """Parses a query like Go: ignores pairs that contain a semicolon or an invalid escape."""
    values: dict[str, list[str]] = {}
    for pair in raw.split("&"):
        if not pair or ";" in pair or re.search(r"%(?![0-9A-Fa-f]{2})", pair):
            continue
        name, _, value = pair.partition("=")
        values.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return values


class Query:
    """The parameters of a query. Raises `BadRequest` like Ociregistry's validator."""

    def __init__(self, raw: str) -> None:
        self._values = parse_query(raw)

    def get(self, name: str) -> str | None:
        values = self._values.get(name)
        if not values:
            return None
        if len(values) > 1:
            raise _refused(
                f"Invalid format for parameter {name}: multiple values for single value parameter '{name}'"
            )
        return values[0]

    def required(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise _refused(f'parameter "{name}" in query has an error: value is required but missing')
        return value

    def count(self) -> int:
        text = self.get("count")
        if text is None:
            return DEFAULT_COUNT
        if not text:
            raise _refused('parameter "count" in query has an error: empty value is not allowed')
        if not re.fullmatch(r"-?[0-9]+", text):
            raise _refused(
                f'parameter "count" in query has an error: value {text}: an invalid integer: invalid syntax'
            )
        return NO_LIMIT if text == "-1" else int(text)


def _refused(message: str) -> BadRequest:
    return BadRequest(json_answer({"message": message}, 400))


def json_answer(value: object, status: int) -> web.Response:
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


def oci_error(code: str, status: int) -> web.Response:
    message = code.replace("_", " ").lower()
    return json_answer({"errors": [{"code": code, "message": message}]}, status)


def no_route() -> web.Response:
    return json_answer({"message": "no matching operation was found"}, 404)


def wrong_method() -> web.Response:
    return json_answer({"message": "Method Not Allowed"}, 405)


def unsupported(method: str, path: str, route: Route | None) -> web.Response:
    """Returns the answer to a request that is not supported.

    Ociregistry has routes for pushes, most only for names with one segment. It answers these with 405 and no body.
    """
    known = {
        "GET": r"tags/list|referrers/[^/]+|blobs/uploads/[^/]+",
        "POST": r"blobs/uploads",
        "PATCH": r"blobs/uploads/[^/]+",
        "PUT": r"blobs/uploads/[^/]+",
    }
    pushed = route is not None and route.kind == MANIFEST and method == "PUT"
    if pushed or (method in known and re.fullmatch(rf"/v2/[^/]+/(?:{known[method]})", path)):
        return web.Response(status=405)
    return wrong_method() if route is not None else no_route()


def too_large() -> web.Response:
    response = web.Response(text="431 Request Header Fields Too Large", status=431)
    response.force_close()
    return response

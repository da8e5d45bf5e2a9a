"""A small pull-through cache for the lab; also the tests' double of Ociregistry.

It answers as Ociregistry does: four ways to name the upstream, at most four path segments, a manifest is served
once all its blobs are here, an uncached manifest that cannot be fetched is a bare 500, the reference is lower-cased,
OCI deletes are refused, and `/cmd/prune` and `/cmd/image/list` are the administration. On top of it stand `/metrics`,
slowing, faults and, with `allow_delete`, real OCI deletes. Nothing here is hardened: it listens on loopback only.

Three of Ociregistry's traits are left out: it refuses manifests over 25 KiB, its prune damages images of an upstream
whose name has no dot, and it looks for `docker.io` images under `library/` as well.

    python -m lib.lab.cache --listen 127.0.0.1:0 --upstream 127.0.0.1:5000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import ipaddress
import json
import logging
import random
import re
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TextIO
from urllib.parse import unquote, unquote_plus

import aiohttp
import re2
from aiohttp import web
from yarl import URL

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
MAX_MANIFEST = 4 << 20  # bytes
MAX_TARGET = (1 << 20) + 4096  # bytes of a request's target; Go's limit for a whole request head
DEFAULT_COUNT, NO_LIMIT = 50, 2**31 - 1
IN_MEMORY_BLOB, IN_MEMORY_TOTAL = 64 << 10, 64 << 20  # bytes
CHUNK = 64 << 10
_DIGEST = re.compile(r"[a-f0-9]{64}")
_DURATION = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}


class UpstreamError(Exception):
    """The upstream did not give what was asked for: a status, a lost connection, bytes of another digest."""


class BadRequest(Exception):
    """A request that Ociregistry refuses with 400; `response` is its answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.text)
        self.response = response


# --- what a request means -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """An image at an upstream: `url` is the name under which Ociregistry caches, lists and prunes it."""

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
    """The image meant: its upstream from header, `ns`, a first segment with a dot, or the default. None: refused."""
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
    """As Go reads a query: a pair that holds a semicolon or a broken escape is dropped without a word."""
    values: dict[str, list[str]] = {}
    for pair in raw.split("&"):
        if not pair or ";" in pair or re.search(r"%(?![0-9A-Fa-f]{2})", pair):
            continue
        name, _, value = pair.partition("=")
        values.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return values


class Query:
    """The query's parameters, with the refusals of Ociregistry's validator."""

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
    return BadRequest(_json({"message": message}, 400))


def _json(value: object, status: int) -> web.Response:
    body = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")


def _oci_error(code: str, status: int) -> web.Response:
    message = code.replace("_", " ").lower()
    return _json({"errors": [{"code": code, "message": message}]}, status)


def _no_route() -> web.Response:
    return _json({"message": "no matching operation was found"}, 404)


def _wrong_method() -> web.Response:
    return _json({"message": "Method Not Allowed"}, 405)


# --- what is cached -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class PullTally:
    """Counts whole pulls of one manifest: as often as it and each of its blobs have been served."""

    blobs: dict[str, int]
    manifests: int = 0
    pulls: int = 0
    entries: int = 0

    def served(self, digest: str | None) -> int:
        """Notes one answer (None: the manifest itself) and tells by how many whole pulls the count grew."""
        if digest is None:
            self.manifests += 1
        else:
            self.blobs[digest] += 1
        grown = min(self.manifests, *self.blobs.values()) - self.pulls
        self.pulls += grown
        return grown


@dataclass(slots=True)
class Manifest:
    """A cached manifest; `blobs` is empty for an index, else its layers and, last, its config."""

    address: Address
    digest: str
    media_type: str
    body: bytes
    blobs: tuple[str, ...]
    created: datetime
    pulled: datetime

    @property
    def headers(self) -> dict[str, str]:
        return {**_VERSION_HEADER, "Content-Type": self.media_type, "Docker-Content-Digest": self.digest}

    def listing(self) -> str:
        """Its lines in `/cmd/image/list`."""
        url = _DIGEST.sub(lambda found: found[0][:10], self.address.url)
        times = f"{self.created.isoformat()} {self.pulled.isoformat()}"
        lines = [f"{url} {self.digest[7:]}  {times}", *(f"- {digest}" for digest in self.blobs)]
        return "".join(line + "\n" for line in lines)


Comparer = Callable[[Manifest], bool]


class Manifests:
    """The cached manifests by name. One that was pulled by tag can be had by its digest as well, but counts once."""

    def __init__(self) -> None:
        self._entries: dict[str, Manifest] = {}
        self._tallies: dict[tuple[str, str], PullTally] = {}
        self._by_blob: dict[tuple[str, str], list[PullTally]] = {}

    def get(self, url: str) -> Manifest | None:
        return self._entries.get(url)

    def add(self, manifest: Manifest) -> Manifest | None:
        """Gives back the entry that this one takes the place of: the same manifest, pulled by digest before."""
        replaced = None
        self._entries[manifest.address.url] = manifest
        if not manifest.address.by_digest:
            alias = manifest.address.with_digest(manifest.digest)
            replaced = self._owner(alias)
            self._entries[alias] = manifest
        self._add_tally(manifest)
        if replaced is not None:
            self._drop_tally(replaced)
        return replaced

    def remove(self, manifest: Manifest) -> None:
        """Also takes the name by digest away, even where another tag has that digest: so does Ociregistry."""
        self._entries.pop(manifest.address.url, None)
        alias = manifest.address.with_digest(manifest.digest)
        if self._owner(alias) is None:
            self._entries.pop(alias, None)
        self._drop_tally(manifest)

    def _owner(self, url: str) -> Manifest | None:
        entry = self._entries.get(url)
        return entry if entry is not None and entry.address.url == url else None

    def select(self, comparer: Comparer, count: int) -> list[Manifest]:
        own = (entry for url, entry in self._entries.items() if url == entry.address.url)
        chosen: list[Manifest] = []
        for manifest in own:
            if len(chosen) >= count:
                break
            if comparer(manifest):
                chosen.append(manifest)
        return chosen

    def served(self, manifest: Manifest) -> int:
        tally = self._tallies.get(self._key(manifest))
        return tally.served(None) if tally else 0

    def blob_served(self, repository: str, digest: str) -> int:
        return sum(tally.served(digest) for tally in self._by_blob.get((repository, digest), ()))

    def _key(self, manifest: Manifest) -> tuple[str, str]:
        return f"{manifest.address.upstream}/{manifest.address.repository}", manifest.digest

    def _add_tally(self, manifest: Manifest) -> None:
        repository, _ = key = self._key(manifest)
        if not manifest.blobs:
            return
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = PullTally(dict.fromkeys(manifest.blobs, 0))
            for blob in tally.blobs:
                self._by_blob.setdefault((repository, blob), []).append(tally)
        tally.entries += 1

    def _drop_tally(self, manifest: Manifest) -> None:
        repository, _ = key = self._key(manifest)
        tally = self._tallies.get(key)
        if tally is None:
            return
        tally.entries -= 1
        if tally.entries:
            return
        del self._tallies[key]
        for blob in tally.blobs:
            left = [other for other in self._by_blob[repository, blob] if other is not tally]
            if left:
                self._by_blob[repository, blob] = left
            else:
                del self._by_blob[repository, blob]


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes to answer with: in memory, or in a file."""

    size: int
    data: bytes | None = None
    path: Path | None = None


class Blobs:
    """Blobs as files named by digest, small ones in memory as well; each lives as long as an image refers to it.

    `hold` comes before a fetch, so that a prune in between cannot take a blob away that an image in the making needs.
    """

    def __init__(self, folder: Path, fetch: Callable[[Address, str, Path], Any]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._holders: Counter[str] = Counter()
        self._payloads: dict[str, Payload] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._in_memory = 0

    def get(self, digest: str) -> Payload | None:
        return self._payloads.get(digest)

    async def hold(self, address: Address, digest: str) -> None:
        """Refers to the blob once more and returns when it is here; concurrent callers share one fetch."""
        self._holders[digest] += 1
        try:
            if digest not in self._payloads:
                await asyncio.shield(self._fetching(address, digest))
        except BaseException:
            self.release(digest)
            raise

    def release(self, digest: str) -> None:
        self._holders[digest] -= 1
        if self._holders[digest] > 0:
            return
        del self._holders[digest]
        payload = self._payloads.pop(digest, None)
        if payload is not None:
            self._in_memory -= len(payload.data or b"")
            self._path(digest).unlink(missing_ok=True)

    async def close(self) -> None:
        await _cancel(self._fetches.values())

    def _path(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _fetching(self, address: Address, digest: str) -> asyncio.Task[None]:
        task = self._fetches.get(digest)
        if task is None:
            task = self._fetches[digest] = asyncio.create_task(self._fetch_one(address, digest))
            task.add_done_callback(lambda done: self._fetched(digest, done))
        return task

    def _fetched(self, digest: str, task: asyncio.Task[None]) -> None:
        del self._fetches[digest]
        if not task.cancelled():
            task.exception()  # marks it as seen where every caller has gone

    async def _fetch_one(self, address: Address, digest: str) -> None:
        part = self._path(digest).with_suffix(".part")
        try:
            size = await self._fetch(address, digest, part)
            self._keep(digest, part, size)
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, digest: str, part: Path, size: int) -> None:
        path = self._path(digest)
        part.replace(path)
        data = None
        if size <= IN_MEMORY_BLOB and self._in_memory + size <= IN_MEMORY_TOTAL:
            data = path.read_bytes()
            self._in_memory += size
        self._payloads[digest] = Payload(size, data, path)


async def _cancel(tasks: Any) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


# --- numbers ------------------------------------------------------------------------------------------------


class Counters:
    """The counters of `/metrics`, in Prometheus' text format; each starts at 0, so that a difference can be taken."""

    HELP: ClassVar[dict[str, str]] = {
        "lab_requests_total": "Manifests and blobs asked for; a hit needed no upstream.",
        "lab_upstream_requests_total": "Requests sent to the upstream.",
        "lab_upstream_bytes_total": "Bytes of manifests and blobs received from the upstream.",
        "lab_pruned_images_total": "Manifests removed by a prune or a delete.",
        "lab_pulls_total": "Manifests served together with all their blobs.",
    }

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], int] = {}
        for kind in (MANIFEST, BLOB):
            for result in ("hit", "miss"):
                self._values["lab_requests_total", f'{{kind="{kind}",result="{result}"}}'] = 0
            self._values["lab_upstream_requests_total", f'{{kind="{kind}"}}'] = 0
        for name in ("lab_upstream_bytes_total", "lab_pruned_images_total", "lab_pulls_total"):
            self._values[name, ""] = 0

    def request(self, kind: str, hit: bool) -> None:
        self._values["lab_requests_total", f'{{kind="{kind}",result="{"hit" if hit else "miss"}"}}'] += 1

    def upstream_request(self, kind: str) -> None:
        self._values["lab_upstream_requests_total", f'{{kind="{kind}"}}'] += 1

    def add(self, name: str, amount: int) -> None:
        self._values[name, ""] += amount

    def text(self) -> str:
        lines = []
        for name, about in self.HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} counter"]
            lines += [
                f"{name}{labels} {value}" for (own, labels), value in self._values.items() if own == name
            ]
        return "\n".join(lines) + "\n"


# --- the upstream -------------------------------------------------------------------------------------------


class Upstream:
    """Fetches from the one configured upstream, without credentials; every byte is checked against its digest."""

    def __init__(self, url: str, counters: Counters) -> None:
        self._url = url
        self._counters = counters
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def manifest(self, address: Address) -> Manifest:
        async with self._get(MANIFEST, address, f"manifests/{address.reference}") as response:
            body = await response.content.read(MAX_MANIFEST)
            while chunk := await response.content.read(MAX_MANIFEST):
                body += chunk
                if len(body) > MAX_MANIFEST:
                    raise UpstreamError("the manifest is too large")
        self._counters.add("lab_upstream_bytes_total", len(body))
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        claimed = (
            address.reference if address.by_digest else response.headers.get("Docker-Content-Digest", digest)
        )
        if claimed != digest:
            raise UpstreamError("the manifest has another digest")
        return read_manifest(address, digest, response.headers.get("Content-Type", ""), body)

    async def blob(self, address: Address, digest: str, target: Path) -> int:
        """Streams a blob into the file `target` and gives its size."""
        size, sha256 = 0, hashlib.sha256()
        async with self._get(BLOB, address, f"blobs/{digest}") as response:
            with target.open("wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    file.write(chunk)
                    sha256.update(chunk)
                    size += len(chunk)
                    self._counters.add("lab_upstream_bytes_total", len(chunk))
        if "sha256:" + sha256.hexdigest() != digest:
            raise UpstreamError("the blob has another digest")
        return size

    @contextlib.asynccontextmanager
    async def _get(self, kind: str, address: Address, rest: str) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        self._counters.upstream_request(kind)
        headers = {"Accept": ",".join(INDEX_TYPES + IMAGE_TYPES)} if kind == MANIFEST else {}
        try:
            async with self._session.get(
                f"{self._url}/v2/{address.repository}/{rest}", headers=headers
            ) as response:
                if response.status != 200:
                    raise UpstreamError(f"the upstream answered {response.status}")
                yield response
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise UpstreamError(str(error) or type(error).__name__) from error


def read_manifest(address: Address, digest: str, media_type: str, body: bytes) -> Manifest:
    """Takes the blobs out of a manifest; raises UpstreamError for anything but the four types in use."""
    if media_type not in INDEX_TYPES + IMAGE_TYPES:
        raise UpstreamError(f"unknown manifest type {media_type!r}")
    try:
        content = json.loads(body)
        parts = [*content["layers"], content["config"]] if media_type in IMAGE_TYPES else []
        blobs = tuple(dict.fromkeys(str(part["digest"]) for part in parts))
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError("the manifest cannot be read") from error
    if not all(re.fullmatch(r"sha256:[a-f0-9]{64}", blob) for blob in blobs):
        raise UpstreamError("the manifest names a blob by something else than sha256")
    now = _now()
    return Manifest(address, digest, media_type, body, blobs, now, now)


def _now() -> datetime:
    return datetime.now().replace(microsecond=0)


# --- pruning ------------------------------------------------------------------------------------------------


def patterns(expression: str) -> Comparer:
    """Selects manifests in whose name one of the comma-separated regexes is found; an empty one is in every name."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 512 << 20  # a pass's images in one expression; the default refuses some 100 kB
    parts = expression.split(",")
    for part in parts:
        re2.compile(part, options)  # each for itself: joined, one part's error could mend another's
    joined = re2.compile("|".join(f"(?:{part})" for part in parts), options)
    return lambda manifest: joined.search(manifest.address.url) is not None


def has_blob(part: str) -> Comparer:
    return lambda manifest: any(part in digest for digest in manifest.blobs)


def parse_duration(text: str) -> timedelta:
    """A Go duration, or whole days as in `30d`; a sign is ignored. Raises ValueError."""
    text = text.removeprefix("-")
    if days := re.fullmatch(r"(\d+)d", text):
        return timedelta(days=int(days[1]))
    if len(text) < 2 or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration")
    return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


def criteria(kind: str, duration: str, expression: str) -> Comparer:
    """What `/cmd/prune` selects: a `pattern`, or `created` or `accessed` so long ago. Raises ValueError."""
    kind = kind.lower()
    if kind == "pattern":
        try:
            return patterns(expression)
        except re2.error as error:
            raise ValueError(expression) from error
    if kind not in ("created", "accessed"):
        raise ValueError(kind)
    before = datetime.now() - parse_duration(duration)
    if kind == "created":
        return lambda manifest: manifest.created < before
    return lambda manifest: manifest.pulled < before


# --- slowing and faults -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong: on manifests, blobs or (kind None) both; always, at a rate, or the `first` times."""

    name: str
    kind: str | None = None
    rate: float = 1.0
    first: int | None = None


def parse_fault(text: str) -> Fault:
    """`[manifest-|blob-]NAME[:RATE]`: a status of 400 to 599, reset, hang, truncate or corrupt; RATE is 0.1, 10% or,
    for the first two answers only, 2x. Raises ValueError."""
    match = re.fullmatch(
        r"(?:(manifest|blob)-)?([45]\d\d|reset|hang|truncate|corrupt)(?::(?:(\d+)x|(\d*\.?\d+)(%?)))?", text
    )
    if match is None:
        raise ValueError(
            f"{text!r} is not [manifest-|blob-]NAME[:RATE], NAME being a status, reset, hang, truncate or corrupt"
        )
    kind, name, first, rate, percent = match.groups()
    share = float(rate) / (100 if percent else 1) if rate else 1.0
    if share > 1:
        raise ValueError(f"the rate in {text!r} is over 1")
    return Fault(name, kind, share, int(first) if first else None)


class Faults:
    """Draws which fault, if any, an answer gets; the same seed and order of requests give the same faults."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._left = [fault.first for fault in faults]
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def draw(self, kind: str) -> str | None:
        for index, fault in enumerate(self._faults):
            if fault.kind in (None, kind) and self._strikes(index, fault):
                return fault.name
        return None

    def _strikes(self, index: int, fault: Fault) -> bool:
        left = self._left[index]
        if left is None:
            return fault.rate >= 1 or self._random.random() < fault.rate
        self._left[index] = max(0, left - 1)
        return left > 0


_STATUS_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}


def status_fault(status: int, kind: str) -> web.Response:
    """An error as registries send it: with a code where the specification has one, else a bare status."""
    code = f"{kind}_unknown".upper() if status == 404 else _STATUS_CODES.get(status)
    response = _oci_error(code, status) if code else web.Response(status=status)
    if status == 429:
        response.headers["Retry-After"] = "1"
    return response


class Pace:
    """Spreads bytes over time, so that all clients together get at most `bandwidth` bytes a second."""

    def __init__(self, bandwidth: float) -> None:
        self._bandwidth = bandwidth
        self._free = 0.0
        self.chunk = max(1, min(CHUNK, int(bandwidth / 20)))

    async def take(self, size: int) -> None:
        now = time.monotonic()
        self._free = max(self._free, now) + size / self._bandwidth
        await asyncio.sleep(self._free - now)


# --- the server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the cache behaves.

    plain: a name without an upstream means the configured one, as with Ociregistry's `--default-ns`.
    allow_delete: OCI deletes work, and what is unknown is 404 MANIFEST_UNKNOWN instead of a bare 500.
    latency: seconds before each answer under /v2/. bandwidth: bytes a second, for all clients together.
    max_concurrent: so many requests are worked on at a time, the others wait.
    """

    plain: bool = True
    allow_delete: bool = False
    latency: float = 0.0
    bandwidth: float | None = None
    faults: tuple[Fault, ...] = ()
    max_concurrent: int | None = None
    seed: int = 0


class Streamed(web.StreamResponse):
    """An answer sent piece by piece; `sent` counts the bytes of its body."""

    sent = 0


def upstream_url(upstream: str) -> str:
    return upstream.rstrip("/") if "://" in upstream else f"http://{upstream}".rstrip("/")


def check_loopback(host: str) -> None:
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    raise ValueError(f"{host} is not a loopback address: the lab's cache serves this machine only")


class LabCache:
    """The cache as a server inside the running event loop: `start`, then `close`, which removes what it stored.

    upstream: `host:port` or a URL, also its name in requests; `names` are further names for it.
    """

    def __init__(
        self,
        upstream: str,
        *,
        data_dir: str | Path,
        names: Sequence[str] = (),
        behaviour: Behaviour = Behaviour(),
        access_log: TextIO | None = None,
    ) -> None:
        url = upstream_url(upstream)
        self.behaviour = behaviour
        self.counters = Counters()
        self._name = URL(url).authority
        self._names = {self._name, *names}
        self._folder = Path(data_dir) / "blobs"
        self._upstream = Upstream(url, self.counters)
        self._blobs = Blobs(self._folder, self._upstream.blob)
        self._manifests = Manifests()
        self._pulls: dict[str, asyncio.Task[Manifest]] = {}
        self._faults = Faults(behaviour.faults, behaviour.seed)
        self._pace = Pace(behaviour.bandwidth) if behaviour.bandwidth else None
        self._slots = asyncio.Semaphore(behaviour.max_concurrent or NO_LIMIT)
        self._access_log = access_log
        self._closing = asyncio.Event()
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens and gives the port. Raises ValueError for an address that is not loopback, OSError if it is taken."""
        check_loopback(host)
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._upstream.start()
        server = web.Server(self._serve, access_log=None, logger=_quiet_logger(), max_line_size=4 << 20)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError:
            await self.close()
            raise
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
        await _cancel(self._pulls.values())
        await self._blobs.close()
        await self._upstream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- requests

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        async with self._slots:
            response = await self._answer(request)
        if self._access_log is not None:
            self._log(request, response)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if len(request.raw_path) > MAX_TARGET:
            return _too_large()
        try:
            if path.startswith("/v2/"):
                if self.behaviour.latency:
                    await asyncio.sleep(self.behaviour.latency)
                return await self._registry(request, path, Query(query))
            return self._administration(request.method, path, Query(query))
        except BadRequest as refusal:
            return refusal.response

    def _log(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        assert self._access_log is not None
        whole = 0 if request.method == "HEAD" else response.content_length or 0
        size = response.sent if isinstance(response, Streamed) else whole
        self._access_log.write(f"{request.method} {request.raw_path} {response.status} {size}\n")

    def _administration(self, method: str, path: str, query: Query) -> web.Response:
        routes: dict[str, tuple[str, Callable[[Query], web.Response]]] = {
            "/": ("GET", lambda _: _json(None, 200)),
            "/metrics": ("GET", lambda _: self._metrics()),
            "/cmd/prune": ("DELETE", self._prune),
            "/cmd/image/list": ("GET", self._image_list),
        }
        if path not in routes:
            return _no_route()
        wanted, handler = routes[path]
        return handler(query) if method == wanted else _wrong_method()

    async def _registry(self, request: web.BaseRequest, path: str, query: Query) -> web.StreamResponse:
        if path == "/v2/":
            return _json("true", 200) if request.method in ("GET", "HEAD") else _wrong_method()
        route = parse_route(path)
        if route is None or request.method not in ("GET", "HEAD", "DELETE"):
            return _unsupported(request.method, path, route)
        handle = self._manifest if route.kind == MANIFEST else self._blob
        return await handle(request, route, query)

    def _resolve(self, request: web.BaseRequest, route: Route, ns: str | None) -> Address | None:
        header = request.headers.get("X-Registry", "")
        return resolve(
            route.segments, route.reference, header, ns, self._name if self.behaviour.plain else None
        )

    # --- manifests

    async def _manifest(self, request: web.BaseRequest, route: Route, query: Query) -> web.StreamResponse:
        if request.method == "DELETE" and not self.behaviour.allow_delete:
            return web.Response(status=405)
        address = self._resolve(request, route, query.get("ns"))
        if address is None:
            return _json({}, 400)
        if request.method == "DELETE":
            return self._delete(address)
        fault = self._faults.draw(MANIFEST)
        if (broken := await self._break(request, fault, MANIFEST)) is not None:
            return broken
        return await self._send_manifest(request, address, fault)

    async def _send_manifest(
        self, request: web.BaseRequest, address: Address, fault: str | None
    ) -> web.StreamResponse:
        manifest = self._manifests.get(address.url)
        self.counters.request(MANIFEST, hit=manifest is not None)
        if manifest is None:
            try:
                manifest = await asyncio.shield(self._pulling(address))
            except UpstreamError:
                return (
                    _oci_error("MANIFEST_UNKNOWN", 404)
                    if self.behaviour.allow_delete
                    else web.Response(status=500)
                )
        else:
            manifest.pulled = _now()
        payload = Payload(len(manifest.body), manifest.body)
        response = await self._deliver(request, payload, manifest.headers, fault)
        if request.method == "GET":
            self.counters.add("lab_pulls_total", self._manifests.served(manifest))
        return response

    def _pulling(self, address: Address) -> asyncio.Task[Manifest]:
        """The one running pull of an image; it ends by itself when its callers have gone."""
        task = self._pulls.get(address.url)
        if task is None:
            task = self._pulls[address.url] = asyncio.create_task(self._pull(address))
            task.add_done_callback(lambda done: self._pulled(address.url, done))
        return task

    def _pulled(self, url: str, task: asyncio.Task[Manifest]) -> None:
        del self._pulls[url]
        if not task.cancelled():
            task.exception()  # marks it as seen where every caller has gone

    async def _pull(self, address: Address) -> Manifest:
        if address.upstream not in self._names or "." in address.repository:
            raise UpstreamError(f"no upstream for {address.url}")
        manifest = await self._upstream.manifest(address)
        await self._hold_all(manifest)
        replaced = self._manifests.add(manifest)
        for blob in replaced.blobs if replaced else ():
            self._blobs.release(blob)
        return manifest

    async def _hold_all(self, manifest: Manifest) -> None:
        holds = [self._blobs.hold(manifest.address, blob) for blob in manifest.blobs]
        results = await asyncio.gather(*holds, return_exceptions=True)
        failures = [result for result in results if result is not None]
        if failures:
            for blob, result in zip(manifest.blobs, results, strict=True):
                if result is None:
                    self._blobs.release(blob)
            raise failures[0]

    def _remove(self, manifest: Manifest) -> None:
        self._manifests.remove(manifest)
        for blob in manifest.blobs:
            self._blobs.release(blob)
        self.counters.add("lab_pruned_images_total", 1)

    def _delete(self, address: Address) -> web.Response:
        """Removes a tag, or a digest with every tag that has it."""
        found = self._manifests.get(address.url)
        if address.by_digest:
            doomed = self._manifests.select(
                lambda other: other.address.with_digest(other.digest) == address.url, NO_LIMIT
            )
        else:
            doomed = [found] if found else []
        for manifest in doomed:
            self._remove(manifest)
        return web.Response(status=202) if doomed else _oci_error("MANIFEST_UNKNOWN", 404)

    # --- blobs

    async def _blob(self, request: web.BaseRequest, route: Route, query: Query) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=405)
        fault = self._faults.draw(BLOB)
        if (broken := await self._break(request, fault, BLOB)) is not None:
            return broken
        match = _DIGEST.search(route.reference)
        digest = f"sha256:{match[0]}" if match else ""
        payload = self._blobs.get(digest)
        self.counters.request(BLOB, hit=payload is not None)
        if payload is None:
            return _json("", 404)
        headers = {**_VERSION_HEADER, "Content-Type": "binary/octet-stream"}
        response = await self._deliver(request, payload, headers, fault)
        address = self._resolve(request, route, query.get("ns"))
        if address is not None:
            grown = self._manifests.blob_served(f"{address.upstream}/{address.repository}", digest)
            self.counters.add("lab_pulls_total", grown)
        return response

    # --- answering

    async def _break(
        self, request: web.BaseRequest, fault: str | None, kind: str
    ) -> web.StreamResponse | None:
        """Carries out a fault that stands in place of an answer; None where the answer is still to be given."""
        if fault is None or fault in ("truncate", "corrupt"):
            return None
        if fault == "hang":
            await self._hang(request)
        elif fault == "reset":
            _reset(request)
        else:
            return status_fault(int(fault), kind)
        return web.Response(status=500)  # nobody is there to read it

    async def _hang(self, request: web.BaseRequest) -> None:
        while request.transport is not None and not request.transport.is_closing():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 0.1)
                return

    async def _deliver(
        self, request: web.BaseRequest, payload: Payload, headers: Mapping[str, str], fault: str | None
    ) -> web.StreamResponse:
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
            await self._send_chunks(response, payload, fault)
        if fault == "truncate":
            response.force_close()
            _close(request)
        else:
            await response.write_eof()
        return response

    async def _send_chunks(self, response: Streamed, payload: Payload, fault: str | None) -> None:
        size = payload.size // 2 if fault == "truncate" else payload.size
        response.sent = size
        for chunk in _chunks(payload, size, self._pace.chunk if self._pace else CHUNK):
            if fault == "corrupt":
                chunk, fault = bytes([chunk[0] ^ 0xFF]) + chunk[1:], None
            if self._pace is not None:
                await self._pace.take(len(chunk))
            await response.write(chunk)

    # --- administration

    def _metrics(self) -> web.Response:
        return web.Response(text=self.counters.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _prune(self, query: Query) -> web.Response:
        """At Ociregistry's usual log level the body of a prune that worked is empty."""
        kind, count = query.required("type"), query.count()
        duration, expression = query.get("dur") or "", query.get("expr") or ""
        dry_run = query.get("dryRun")
        if dry_run is not None and dry_run not in _BOOLS:
            return web.Response(text=f"invalid dry run param: {dry_run}", status=400)
        try:
            comparer = criteria(kind, duration, expression)
        except ValueError:
            return web.Response(text="unable to parse prune params", status=400)
        if dry_run is not None and not _BOOLS[dry_run]:
            for manifest in self._manifests.select(comparer, count):
                self._remove(manifest)
        return web.Response(headers={"Content-Type": "text/plain"})

    def _image_list(self, query: Query) -> web.Response:
        count, pattern, digest = query.count(), query.get("pattern"), query.get("digest")
        try:
            comparer = (
                patterns(pattern) if pattern is not None else has_blob(digest or "") if digest else _every
            )
        except re2.error:
            return web.Response(text="invalid parameters\n", status=400)
        manifests = self._manifests.select(comparer, count)
        if not manifests:
            return web.Response(text="no manifests found\n")
        manifests.sort(key=lambda manifest: manifest.address.url)
        text = "URL DIGEST CREATED PULLED\n" + "".join(manifest.listing() for manifest in manifests)
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain"})


def _every(_: Manifest) -> bool:
    return True


def _unsupported(method: str, path: str, route: Route | None) -> web.Response:
    """Ociregistry knows a push's routes, most for a one-segment name only, and refuses them without a body."""
    known = {
        "GET": r"tags/list|referrers/[^/]+|blobs/uploads/[^/]+",
        "POST": r"blobs/uploads",
        "PATCH": r"blobs/uploads/[^/]+",
        "PUT": r"blobs/uploads/[^/]+",
    }
    pushed = route is not None and route.kind == MANIFEST and method == "PUT"
    if pushed or (method in known and re.fullmatch(rf"/v2/[^/]+/(?:{known[method]})", path)):
        return web.Response(status=405)
    return _wrong_method() if route is not None else _no_route()


def _too_large() -> web.Response:
    response = web.Response(text="431 Request Header Fields Too Large", status=431)
    response.force_close()
    return response


def _chunks(payload: Payload, size: int, step: int) -> Iterator[bytes]:
    """The first `size` bytes of a payload in steps; a file is never read as a whole."""
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
    """Ends the connection with a RST, which is what a crashed server's kernel sends."""
    if request.transport is None:
        return
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()


def _quiet_logger() -> logging.Logger:
    """Clients try TLS first and leave in mid-answer: in a load test that is no news."""
    logger = logging.getLogger("lab.cache")
    logger.propagate = False
    logger.disabled = True
    return logger


# --- the command line ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.lab.cache", description="A pull-through cache for the lab: this machine only."
    )
    add = parser.add_argument
    add(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:0",
        help="loopback address; port 0 takes a free one",
    )
    add("--upstream", metavar="HOST:PORT", required=True, help="the registry it pulls from; a URL for https")
    add(
        "--name",
        metavar="NAME",
        action="append",
        default=[],
        help="a further name of the upstream; repeatable",
    )
    add("--no-plain", action="store_true", help="a name without an upstream is an error")
    add(
        "--allow-delete", action="store_true", help="OCI deletes work; without it 405, as Ociregistry answers"
    )
    add("--latency", metavar="MS", type=_positive, default=0.0, help="added to each answer")
    add("--bandwidth", metavar="BYTES/S", type=_positive, help="for all clients together")
    add("--fault", metavar="NAME[:RATE]", type=_fault, action="append", default=[], help=parse_fault.__doc__)
    add(
        "--max-concurrent",
        metavar="C",
        type=_at_least_one,
        help="requests worked on at a time; the others wait",
    )
    add("--access-log", metavar="FILE", type=Path, help="one line a request: method, path, status, bytes")
    add("--data-dir", metavar="DIR", type=Path, help="where the temporary folder goes")
    add("--seed", metavar="N", type=int, default=0, help="of the faults")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _fault(text: str) -> Fault:
    try:
        return parse_fault(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _behaviour(options: argparse.Namespace) -> Behaviour:
    return Behaviour(
        plain=not options.no_plain,
        allow_delete=options.allow_delete,
        latency=options.latency / 1000,
        bandwidth=options.bandwidth,
        faults=tuple(options.fault),
        max_concurrent=options.max_concurrent,
        seed=options.seed,
    )


def split_listen(text: str) -> tuple[str, int]:
    """Raises ValueError for anything but HOST:PORT with a loopback host."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    check_loopback(host)
    return host, int(port)


@contextlib.contextmanager
def _log_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with path.open("w", buffering=1, encoding="utf-8", errors="backslashreplace") as file:
        yield file


async def _run(options: argparse.Namespace, host: str, port: int, folder: str, log: TextIO | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    cache = LabCache(
        options.upstream, data_dir=folder, names=options.name, behaviour=_behaviour(options), access_log=log
    )
    port = await cache.start(host, port)
    try:
        print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await stopped.wait()
    finally:
        await cache.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        host, port = split_listen(options.listen)
    except ValueError as error:
        parser.error(str(error))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lab-cache-", dir=options.data_dir) as folder,
            _log_file(options.access_log) as log,
        ):
            asyncio.run(_run(options, host, port, folder, log))
    except OSError as error:
        print(f"lab cache: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The HTTP server of the cache: answers each request as Ociregistry does."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import re2
from aiohttp import web
from yarl import URL

from ..fault_names import Fault
from .counters import Counters
from .delivery import Delivery, Streamed
from .faults import Faults
from .prune import criteria, has_blob, patterns
from .pull_through import PullThrough
from .store import Manifest, Payload, now
from .upstream import UpstreamError
from .wire import (
    BLOB,
    BOOLS,
    DIGEST,
    MANIFEST,
    MAX_TARGET,
    NO_LIMIT,
    VERSION_HEADER,
    Address,
    BadRequest,
    Query,
    Route,
    json_answer,
    no_route,
    oci_error,
    parse_route,
    resolve,
    too_large,
    unsupported,
    wrong_method,
)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the cache behaves.

    plain: a name without an upstream means the configured one, as with Ociregistry's `--default-ns`.
    allow_delete: OCI deletes work, and what is unknown is 404 MANIFEST_UNKNOWN instead of a bare 500.
    latency: seconds before each answer under /v2/. bandwidth: bytes per second, for all clients together.
    max_concurrent: at most this many requests are worked on at a time; the others wait.
    coalescing: clients that wait for the same missing image share one fetch from the upstream.
    """

    plain: bool = True
    allow_delete: bool = False
    latency: float = 0.0
    bandwidth: float | None = None
    faults: tuple[Fault, ...] = ()
    max_concurrent: int | None = None
    coalescing: bool = True
    seed: int = 0


def upstream_url(upstream: str) -> str:
    return upstream.rstrip("/") if "://" in upstream else f"http://{upstream}".rstrip("/")


def check_loopback(host: str) -> None:
    """Raises ValueError for any other host."""
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
        self._images = PullThrough(
            url,
            {self._name, *names},
            Path(data_dir) / "blobs",
            self.counters,
            coalescing=behaviour.coalescing,
        )
        self._faults = Faults(behaviour.faults, behaviour.seed)
        self._delivery = Delivery(behaviour.bandwidth)
        self._slots = asyncio.Semaphore(behaviour.max_concurrent or NO_LIMIT)
        self._access_log = access_log
        self._runner: web.ServerRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listens and returns the port. Raises `ValueError` if `host` is not loopback, `OSError` if binding fails."""
        check_loopback(host)
        await self._images.start()
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
        self._delivery.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._images.close()

    # --- requests

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        async with self._slots:
            response = await self._answer(request)
        if self._access_log is not None:
            self._access_log.write(log_line(request, response))
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if len(request.raw_path) > MAX_TARGET:
            return too_large()
        try:
            if path.startswith("/v2/"):
                if self.behaviour.latency:
                    await asyncio.sleep(self.behaviour.latency)
                return await self._registry(request, path, Query(query))
            return self._administration(request.method, path, Query(query))
        except BadRequest as refusal:
            return refusal.response

    async def _registry(self, request: web.BaseRequest, path: str, query: Query) -> web.StreamResponse:
        if path == "/v2/":
            return json_answer("true", 200) if request.method in ("GET", "HEAD") else wrong_method()
        route = parse_route(path)
        if route is None or request.method not in ("GET", "HEAD", "DELETE"):
            return unsupported(request.method, path, route)
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
            return json_answer({}, 400)
        if request.method == "DELETE":
            deleted = self._images.delete(address)
            return web.Response(status=202) if deleted else oci_error("MANIFEST_UNKNOWN", 404)
        fault = self._draw_fault(MANIFEST)
        if (broken := await self._delivery.refuse(request, fault, MANIFEST)) is not None:
            return broken
        return await self._send_manifest(request, address, fault)

    async def _send_manifest(
        self, request: web.BaseRequest, address: Address, fault: Fault | None
    ) -> web.StreamResponse:
        manifest = self._images.cached(address)
        self.counters.request(MANIFEST, hit=manifest is not None)
        if manifest is None:
            try:
                manifest = await self._images.fetch(address)
            except UpstreamError:
                return (
                    oci_error("MANIFEST_UNKNOWN", 404)
                    if self.behaviour.allow_delete
                    else web.Response(status=500)
                )
        else:
            manifest.pulled = now()
        payload = Payload(len(manifest.body), manifest.body)
        response = await self._delivery.send(request, payload, manifest.headers, fault)
        if request.method == "GET":
            self._images.served(manifest)
        return response

    # --- blobs

    async def _blob(self, request: web.BaseRequest, route: Route, query: Query) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=405)
        fault = self._draw_fault(BLOB)
        if (broken := await self._delivery.refuse(request, fault, BLOB)) is not None:
            return broken
        match = DIGEST.search(route.reference)
        digest = f"sha256:{match[0]}" if match else ""
        payload = self._images.blob(digest)
        self.counters.request(BLOB, hit=payload is not None)
        if payload is None:
            return json_answer("", 404)
        headers = {**VERSION_HEADER, "Content-Type": "binary/octet-stream"}
        response = await self._delivery.send(request, payload, headers, fault)
        address = self._resolve(request, route, query.get("ns"))
        if address is not None:
            self._images.blob_served(address, digest)
        return response

    def _draw_fault(self, kind: str) -> Fault | None:
        fault = self._faults.draw(kind)
        if fault is not None:
            self.counters.fault(kind)
        return fault

    # --- administration

    def _administration(self, method: str, path: str, query: Query) -> web.Response:
        routes: dict[str, tuple[str, Callable[[Query], web.Response]]] = {
            "/": ("GET", lambda _: json_answer(None, 200)),
            "/metrics": ("GET", lambda _: self._metrics()),
            "/cmd/prune": ("DELETE", self._prune),
            "/cmd/image/list": ("GET", self._image_list),
        }
        if path not in routes:
            return no_route()
        wanted, handler = routes[path]
        return handler(query) if method == wanted else wrong_method()

    def _metrics(self) -> web.Response:
        return web.Response(text=self.counters.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    def _prune(self, query: Query) -> web.Response:
        """Answers a prune. As with Ociregistry at its usual log level, the body is empty if the prune succeeds."""
        kind, count = query.required("type"), query.count()
        duration, expression = query.get("dur") or "", query.get("expr") or ""
        dry_run = query.get("dryRun")
        if dry_run is not None and dry_run not in BOOLS:
            return web.Response(text=f"invalid dry run param: {dry_run}", status=400)
        try:
            comparer = criteria(kind, duration, expression)
        except ValueError:
            return web.Response(text="unable to parse prune params", status=400)
        if dry_run is not None and not BOOLS[dry_run]:
            for manifest in self._images.select(comparer, count):
                self._images.remove(manifest)
        return web.Response(headers={"Content-Type": "text/plain"})

    def _image_list(self, query: Query) -> web.Response:
        count, pattern, digest = query.count(), query.get("pattern"), query.get("digest")
        try:
            comparer = (
                patterns(pattern) if pattern is not None else has_blob(digest or "") if digest else _every
            )
        except re2.error:
            return web.Response(text="invalid parameters\n", status=400)
        manifests = self._images.select(comparer, count)
        if not manifests:
            return web.Response(text="no manifests found\n")
        manifests.sort(key=lambda manifest: manifest.address.url)
        text = "URL DIGEST CREATED PULLED\n" + "".join(manifest.listing() for manifest in manifests)
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain"})


def _every(_: Manifest) -> bool:
    return True


def log_line(request: web.BaseRequest, response: web.StreamResponse) -> str:
    """Returns a line of the access log: method, path, status and the bytes of the body that were sent."""
    whole = 0 if request.method == "HEAD" else response.content_length or 0
    size = response.sent if isinstance(response, Streamed) else whole
    return f"{request.method} {request.raw_path} {response.status} {size}\n"


def _quiet_logger() -> logging.Logger:
    """Returns a disabled logger. In a load test, failed TLS attempts and lost clients are normal."""
    logger = logging.getLogger("lab.cache")
    logger.propagate = False
    logger.disabled = True
    return logger

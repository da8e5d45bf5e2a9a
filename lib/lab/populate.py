"""Pushes random images to a registry over HTTP.

One event loop pushes several images at a time in constant memory: layers above `WHOLE_UP_TO` bytes are generated while
they are sent. Images that the registry already has are skipped, so an interrupted run can be started again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential
from yarl import URL

from ..http.exchange import by_proxy, way_to
from .images import (
    DEFAULT_PLATFORM,
    INDEX_TYPE,
    MANIFEST_TYPE,
    Layer,
    Population,
    config_json,
    digest_of,
    image_names,
    index_json,
    layers_of,
    manifest_json,
)

__all__ = ["Population", "PushRefused", "image_names", "populate"]

WHOLE_UP_TO = 1024 * 1024
ATTEMPTS = 4
ACCEPTED_TYPES = f"{INDEX_TYPE}, {MANIFEST_TYPE}"

Progress = Callable[[int, int], None]
"""Called with the number of images that are done, and the number of all images."""


class PushRefused(Exception):
    """The registry answered a push with an error. The message names the request and the answer."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"{method} {path}: HTTP {status} {' '.join(text.split())[:200]}".rstrip())
        self.status = status


async def populate(
    registry_url: str,
    population: Population,
    *,
    concurrency: int = 16,
    progress: Progress | None = None,
    tls: ssl.SSLContext | bool = True,
) -> list[str]:
    """Pushes the images of `population` that the registry lacks. Returns the names of all images, `repository:tag`.

    The URL is `host:port` (http) or has a scheme. It may contain `user:password@`. `tls` is aiohttp's `ssl` argument.
    Raises `PushRefused`, `OSError`, `aiohttp.ClientError` or `asyncio.TimeoutError` if retries do not help, and
    `RegistryError` if the environment names a proxy that cannot be used.
    """
    names = image_names(population)
    base, headers = _base_and_headers(registry_url)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=300)
    connector = aiohttp.TCPConnector(limit=concurrency, ssl=tls)
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=connector, proxy=by_proxy(way_to(base))
    ) as session:
        pusher = _Pusher(session, base, population)
        await _run_all(pusher, names, concurrency, progress or (lambda _done, _total: None))
    return names


def _base_and_headers(registry_url: str) -> tuple[URL, dict[str, str]]:
    url = URL(registry_url if "://" in registry_url else f"http://{registry_url}")
    base = url.with_user(None) / "v2"
    if not url.user:
        return base, {}
    return base, {"Authorization": aiohttp.encode_basic_auth(url.user, url.password or "")}


async def _run_all(pusher: _Pusher, names: list[str], concurrency: int, progress: Progress) -> None:
    """Pushes all images, `concurrency` at a time. The first error cancels the others."""
    queue, done = iter(names), 0

    async def work(queue: Iterator[str]) -> None:
        nonlocal done
        for name in queue:
            await pusher.push_with_retries(name)
            done += 1
            progress(done, len(names))

    tasks = [asyncio.create_task(work(queue)) for _ in range(min(concurrency, len(names)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _worth_retrying(error: BaseException) -> bool:
    """Returns whether a retry may succeed: after a lost connection, and after status 429 or 5xx."""
    if isinstance(error, PushRefused):
        return error.status == 429 or error.status >= 500
    return isinstance(
        error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.TimeoutError)
    )


class _Pusher:
    """Pushes images of one population to one registry, over one session."""

    def __init__(self, session: aiohttp.ClientSession, base: URL, population: Population) -> None:
        self._session = session
        self._base = base
        self._population = population
        self._shared: dict[str, tuple[str, Layer]] = {}
        self._shared_lock = asyncio.Lock()

    async def push_with_retries(self, name: str) -> None:
        """Pushes an image unless the registry has it. Retries after a temporary failure, as pushing is idempotent."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.2, max=3),
            retry=retry_if_exception(_worth_retrying),
            reraise=True,
        )
        await retrying(self._push, name)

    async def _push(self, name: str) -> None:
        repository, tag = name.split(":")
        if await self._has(repository, tag):
            return
        platforms = self._population.platforms
        manifests = {
            platform: await self._push_platform(name, platform)
            for platform in platforms or (DEFAULT_PLATFORM,)
        }
        if not platforms:
            await self._put_manifest(repository, tag, MANIFEST_TYPE, manifests[DEFAULT_PLATFORM])
            return
        for body in manifests.values():
            await self._put_manifest(repository, digest_of(body), MANIFEST_TYPE, body)
        await self._put_manifest(repository, tag, INDEX_TYPE, index_json(manifests))

    async def _push_platform(self, name: str, platform: str) -> bytes:
        """Pushes the blobs of one platform's image. Returns its manifest."""
        repository = name.split(":")[0]
        layers = [
            await self._push_shared(repository, layer)
            if layer.shared
            else await self._push_layer(repository, layer)
            for layer in layers_of(self._population, name, platform)
        ]
        config = config_json(name, platform, layers)
        await self._push_bytes(repository, config)
        return manifest_json(config, layers)

    async def _push_shared(self, repository: str, layer: Layer) -> Layer:
        """Pushes a shared layer the first time. Later, mounts it if the registry can do that, else pushes it again."""
        async with self._shared_lock:
            if layer.seed not in self._shared:
                self._shared[layer.seed] = repository, await self._push_layer(repository, layer)
                return layer
        home, known = self._shared[layer.seed]
        if not await self._mounted(repository, known.digest, home):
            await self._push_layer(repository, known)
        return known

    async def _mounted(self, repository: str, digest: str, home: str) -> bool:
        """Mounts a blob from the repository `home`. Returns whether the blob is in the repository now.

        Sends HEAD first: some registries store the blobs of all repositories together and cannot mount.
        """
        blob = self._base / repository / "blobs" / digest
        async with self._session.head(blob) as answer:
            if answer.status == 200:
                return True
        return not await self._begin_upload(repository, {"mount": digest, "from": home})

    async def _push_layer(self, repository: str, layer: Layer) -> Layer:
        if layer.size <= WHOLE_UP_TO:
            await self._push_bytes(repository, b"".join(layer.chunks()))
        else:
            await self._push_stream(repository, layer)
        return layer

    async def _push_bytes(self, repository: str, body: bytes) -> None:
        location = await self._begin_upload(repository, {})
        await self._finish_upload(location, digest_of(body), body)

    async def _push_stream(self, repository: str, layer: Layer) -> None:
        """Generates the layer while it is sent. Its digest is known at the end."""
        location = await self._begin_upload(repository, {})
        headers = {"Content-Type": "application/octet-stream"}
        async with self._session.patch(location, data=_stream(layer), headers=headers) as answer:
            await _expect(answer, 202, 204)
            location = self._location(answer, location)
        await self._finish_upload(location, layer.digest, b"")

    async def _begin_upload(self, repository: str, query: dict[str, str]) -> URL:
        """Returns the URL to send a blob to, or an empty URL if a mount has made the blob available."""
        url = (self._base / repository / "blobs" / "uploads" / "").with_query(query)
        async with self._session.post(url) as answer:
            await _expect(answer, 201, 202)
            return URL() if answer.status == 201 else self._location(answer, url)

    async def _finish_upload(self, location: URL, digest: str, body: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        async with self._session.put(
            location.update_query(digest=digest), data=body, headers=headers
        ) as answer:
            await _expect(answer, 201)

    def _location(self, answer: aiohttp.ClientResponse, asked: URL) -> URL:
        """Returns the upload's next URL. `Location` may be relative or absolute; its encoding must not change."""
        return asked.join(URL(answer.headers.get("Location", str(asked)), encoded=True))

    async def _has(self, repository: str, reference: str) -> bool:
        url = self._base / repository / "manifests" / reference
        async with self._session.head(url, headers={"Accept": ACCEPTED_TYPES}) as answer:
            if answer.status != 404:
                await _expect(answer, 200)
            return answer.status == 200

    async def _put_manifest(self, repository: str, reference: str, media_type: str, body: bytes) -> None:
        url = self._base / repository / "manifests" / reference
        async with self._session.put(url, data=body, headers={"Content-Type": media_type}) as answer:
            await _expect(answer, 201)


async def _stream(layer: Layer) -> AsyncIterator[bytes]:
    for chunk in layer.chunks():
        yield chunk


async def _expect(answer: aiohttp.ClientResponse, *statuses: int) -> None:
    if answer.status not in statuses:
        text = await answer.text(errors="replace")
        raise PushRefused(answer.method, answer.url.path, answer.status, text)
    await answer.read()

"""Fetches manifests and blobs from the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from .counters import Counters
from .store import Manifest, now
from .wire import BLOB, CHUNK, IMAGE_TYPES, INDEX_TYPES, MANIFEST, Address

MAX_MANIFEST = 4 << 20  # bytes


class UpstreamError(Exception):
    """The upstream did not serve the content: it sent an error or a wrong digest, or the connection was lost."""


class Upstream:
    """Fetches from the configured upstream, without credentials. Checks the digest of all content."""

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
        """Streams a blob into the file `target`. Returns its size in bytes. Raises `UpstreamError`."""
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
    """Parses a manifest. Raises `UpstreamError` if it is not valid or its media type is not one of the four known."""
    if media_type not in INDEX_TYPES + IMAGE_TYPES:
        raise UpstreamError(f"unknown manifest type {media_type!r}")
    try:
        content = json.loads(body)
        parts = [*content["layers"], content["config"]] if media_type in IMAGE_TYPES else []
        blobs = tuple(dict.fromkeys(str(part["digest"]) for part in parts))
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError("the manifest cannot be read") from error
    if not all(re.fullmatch(r"sha256:[a-f0-9]{64}", blob) for blob in blobs):
        raise UpstreamError("the manifest has a digest that is not sha256")
    created = now()
    return Manifest(
        address=address,
        digest=digest,
        media_type=media_type,
        body=body,
        blobs=blobs,
        created=created,
        pulled=created,
    )

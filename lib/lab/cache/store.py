"""Stores manifests by name and blobs by digest."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .wire import DIGEST, VERSION_HEADER, Address

IN_MEMORY_BLOB, IN_MEMORY_TOTAL = 64 << 10, 64 << 20  # bytes


@dataclass(slots=True)
class PullTally:
    """Counts complete pulls of one manifest: how often the manifest and each of its blobs have all been served."""

    blobs: dict[str, int]
    manifests: int = 0
    pulls: int = 0
    entries: int = 0

    def served(self, digest: str | None) -> int:
        """Counts one answer (None: the manifest itself). Returns the number of pulls that it completed."""
        if digest is None:
            self.manifests += 1
        else:
            self.blobs[digest] += 1
        grown = min(self.manifests, *self.blobs.values()) - self.pulls
        self.pulls += grown
        return grown


@dataclass(slots=True)
class Manifest:
    """A cached manifest. `blobs` has its layers and, last, its config. For an index, it is empty."""

    address: Address
    digest: str
    media_type: str
    body: bytes
    blobs: tuple[str, ...]
    created: datetime
    pulled: datetime

    @property
    def headers(self) -> dict[str, str]:
        return {**VERSION_HEADER, "Content-Type": self.media_type, "Docker-Content-Digest": self.digest}

    def listing(self) -> str:
        """Returns the manifest's lines in `/cmd/image/list`."""
        url = DIGEST.sub(lambda found: found[0][:10], self.address.url)
        times = f"{self.created.isoformat()} {self.pulled.isoformat()}"
        lines = [f"{url} {self.digest[7:]}  {times}", *(f"- {digest}" for digest in self.blobs)]
        return "".join(line + "\n" for line in lines)


def now() -> datetime:
    """Returns the local time in whole seconds, as Ociregistry stores it."""
    return datetime.now().replace(microsecond=0)


Comparer = Callable[[Manifest], bool]


class Manifests:
    """The cached manifests by name. A manifest that was pulled by tag also has a name by digest, but counts once."""

    def __init__(self) -> None:
        self._entries: dict[str, Manifest] = {}
        self._tallies: dict[tuple[str, str], PullTally] = {}
        self._by_blob: dict[tuple[str, str], list[PullTally]] = {}

    def get(self, url: str) -> Manifest | None:
        return self._entries.get(url)

    def add(self, manifest: Manifest) -> Manifest | None:
        """Adds a manifest. Returns the entry that it replaces: the same manifest, pulled by digest before."""
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
        """Removes a manifest and, like Ociregistry, its name by digest, even if another tag has that digest."""
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
    """The bytes of an answer: in memory or in a file. `size` is their number."""

    size: int
    data: bytes | None = None
    path: Path | None = None


class Blobs:
    """Stores blobs as files named by digest, and small ones also in memory. A blob is kept while an image refers to it.

    `hold` adds the reference before the fetch. So a prune in between cannot remove a blob that a new image needs.
    `coalescing`: concurrent callers of `hold` share one fetch.
    """

    def __init__(
        self, folder: Path, fetch: Callable[[Address, str, Path], Any], *, coalescing: bool = True
    ) -> None:
        self._folder = folder
        self._fetch = fetch
        self._coalescing = coalescing
        self._parts = itertools.count(1)
        self._holders: Counter[str] = Counter()
        self._payloads: dict[str, Payload] = {}
        self._fetches: dict[str, asyncio.Task[None]] = {}
        self._in_memory = 0

    def get(self, digest: str) -> Payload | None:
        return self._payloads.get(digest)

    async def hold(self, address: Address, digest: str) -> None:
        """Adds a reference to the blob, and fetches it if it is missing."""
        self._holders[digest] += 1
        try:
            if digest not in self._payloads:
                if self._coalescing:
                    await asyncio.shield(self._fetching(address, digest))
                else:
                    await self._fetch_one(address, digest)
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
        await cancel_all(self._fetches.values())

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
            task.exception()  # marks it as seen, as all callers may be cancelled

    async def _fetch_one(self, address: Address, digest: str) -> None:
        part = self._path(digest).with_suffix(f".part{next(self._parts)}")
        try:
            size = await self._fetch(address, digest, part)
            self._keep(digest, part, size)
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, digest: str, part: Path, size: int) -> None:
        if digest in self._payloads:
            return  # another fetch of it was faster
        path = self._path(digest)
        part.replace(path)
        data = None
        if size <= IN_MEMORY_BLOB and self._in_memory + size <= IN_MEMORY_TOTAL:
            data = path.read_bytes()
            self._in_memory += size
        self._payloads[digest] = Payload(size, data, path)


async def cancel_all(tasks: Any) -> None:
    pending = list(tasks)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)

"""Pulls images through the cache. Fetches a missing image once from the upstream, for all waiting clients.

Without coalescing, it fetches the image once for each waiting client.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection
from pathlib import Path

from .counters import Counters
from .store import Blobs, Comparer, Manifest, Manifests, Payload, cancel_all
from .upstream import Upstream, UpstreamError
from .wire import NO_LIMIT, Address


class PullThrough:
    """The images in the cache: fetches, serves and removes them. `names` are the accepted names of the upstream.

    `coalescing`: clients that wait for the same image or blob share one fetch.
    """

    def __init__(
        self, url: str, names: Collection[str], folder: Path, counters: Counters, *, coalescing: bool = True
    ) -> None:
        self._names = names
        self._folder = folder
        self._counters = counters
        self._upstream = Upstream(url, counters)
        self._coalescing = coalescing
        self._blobs = Blobs(folder, self._upstream.blob, coalescing=coalescing)
        self._manifests = Manifests()
        self._pulls: dict[str, asyncio.Task[Manifest]] = {}
        self._unshared: set[asyncio.Task[Manifest]] = set()

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._upstream.start()

    async def close(self) -> None:
        """Cancels the fetches and removes all stored images."""
        await cancel_all([*self._pulls.values(), *self._unshared])
        await self._blobs.close()
        await self._upstream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def cached(self, address: Address) -> Manifest | None:
        return self._manifests.get(address.url)

    def blob(self, digest: str) -> Payload | None:
        return self._blobs.get(digest)

    def select(self, comparer: Comparer, count: int) -> list[Manifest]:
        return self._manifests.select(comparer, count)

    def served(self, manifest: Manifest) -> None:
        """Counts an answer with this manifest."""
        self._counters.add("lab_pulls_total", self._manifests.served(manifest))

    def blob_served(self, address: Address, digest: str) -> None:
        """Counts an answer with this blob."""
        grown = self._manifests.blob_served(f"{address.upstream}/{address.repository}", digest)
        self._counters.add("lab_pulls_total", grown)

    async def fetch(self, address: Address) -> Manifest:
        """Fetches an image with all its blobs, even if the caller is cancelled. Raises `UpstreamError`."""
        return await asyncio.shield(self._pulling(address))

    def _pulling(self, address: Address) -> asyncio.Task[Manifest]:
        """Returns the running pull of an image, which all callers share. It continues if its callers are cancelled.

        Without coalescing, each caller gets a pull of its own.
        """
        if not self._coalescing:
            own = asyncio.create_task(self._pull(address))
            self._unshared.add(own)
            own.add_done_callback(self._unshared.discard)
            own.add_done_callback(_seen)
            return own
        task = self._pulls.get(address.url)
        if task is None:
            task = self._pulls[address.url] = asyncio.create_task(self._pull(address))
            task.add_done_callback(lambda done: self._pulled(address.url, done))
        return task

    def _pulled(self, url: str, task: asyncio.Task[Manifest]) -> None:
        del self._pulls[url]
        _seen(task)

    async def _pull(self, address: Address) -> Manifest:
        if address.upstream not in self._names or "." in address.repository:
            raise UpstreamError(f"no upstream for {address.url}")
        manifest = await self._upstream.manifest(address)
        await self._hold_all(manifest)
        faster = None if self._coalescing else self.cached(address)
        if faster is not None:
            for blob in manifest.blobs:
                self._blobs.release(blob)
            return faster
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

    def remove(self, manifest: Manifest) -> None:
        self._manifests.remove(manifest)
        for blob in manifest.blobs:
            self._blobs.release(blob)
        self._counters.add("lab_pruned_images_total", 1)

    def delete(self, address: Address) -> bool:
        """Removes a tag, or a digest with all its tags. Returns whether anything was removed."""
        found = self._manifests.get(address.url)
        if address.by_digest:
            doomed = self.select(
                lambda other: other.address.with_digest(other.digest) == address.url, NO_LIMIT
            )
        else:
            doomed = [found] if found else []
        for manifest in doomed:
            self.remove(manifest)
        return bool(doomed)


def _seen(task: asyncio.Task[Manifest]) -> None:
    """Marks the error of a pull as seen, as all its callers may be cancelled."""
    if not task.cancelled():
        task.exception()

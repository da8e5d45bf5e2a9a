"""What the driver itself reads of manifests: the digest of a tag, the platforms of an index, the manifest itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..clients.platforms import Platform
from ..counted import counted
from ..durations import spoken
from ..http.network import Network
from ..http.registry import MIB, Registry, RegistryError
from ..images import Image
from ..names import valid_digest
from ..outcomes import ErrorClass
from .route import Route

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
# The media types to accept. Without them a server may answer with an old schema, or with 404 for an index.
ACCEPT = ", ".join(
    (
        *_INDEXES,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_CONCURRENCY = 16
# The largest manifest: registries accept at least this much (distribution spec, "Pushing Manifests").
_MANIFEST_BYTES = 4 * MIB
# The most manifests of an index, far more than there are platforms.
_MOST_PLATFORMS = 1000
# Seconds for all requests before one prune. An image without an answer by then is asked for again before the next one.
_ASKING_SECONDS = 20.0


class DigestResolver:
    """Asks the server under test for the digest of a tag, with HEAD as `crane digest` does."""

    def __init__(self, network: Network, server: Registry, route: Route) -> None:
        self._network = network
        self._server = server
        self._route = route

    def by_digest(self, image: Image) -> Image:
        """Returns the image with its digest in place of the tag.

        Raises RegistryError if the server gives none, CancelledError after a `kill_all`.
        """
        path = self._route.manifest(image)
        headers = {"Accept": ACCEPT, **self._route.headers(image)}
        answer = self._network.run_until_kill(self._server.request("HEAD", path, headers=headers))
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status != 200 or not valid_digest(digest):
            raise RegistryError(f"no digest for {image.name}: HTTP {answer.status}", answer.status)
        return image._replace(reference=digest)


class PlatformImages:
    """The images of the platforms that an index lists. Asks the upstream once per image and keeps the answer.

    `upstream` is the upstream of the run, and `other` returns the one of an image that has an upstream of its own.
    """

    def __init__(
        self,
        network: Network,
        upstream: Registry,
        log: Callable[[str], None],
        other: Callable[[str], Registry] | None = None,
    ) -> None:
        self._network = network
        self._upstream = upstream
        self._other = other
        self._log = log
        self._known: dict[Image, tuple[Image, ...]] = {}
        self._unread: set[Image] = set()  # those of which the log has told

    def of(self, images: Sequence[Image]) -> Mapping[Image, Sequence[Image]]:
        """Returns the platforms' images for each image; none if its manifest is not an index or cannot be read.

        Raises CancelledError after a `kill_all`.
        """
        unknown = [image for image in images if image not in self._known]
        if unknown:
            self._network.run_until_kill(self._ask_all(unknown))
        return self._known

    async def _ask_all(self, images: Sequence[Image]) -> None:
        places = asyncio.Semaphore(_CONCURRENCY)
        failed: list[tuple[Image, str]] = []

        async def ask(image: Image) -> None:
            async with places:
                try:
                    self._known[image] = await asyncio.wait_for(
                        self._ask(image), max(0.0, until - loop.time())
                    )
                except asyncio.TimeoutError:
                    failed.append((image, f"no answer within {spoken(_ASKING_SECONDS)}"))
                except RegistryError as error:
                    failed.append((image, str(error)))

        loop = asyncio.get_running_loop()
        until = loop.time() + _ASKING_SECONDS
        await asyncio.gather(*(ask(image) for image in images))
        untold = [each for each in failed if each[0] not in self._unread]
        if untold:
            self._unread.update(image for image, _ in untold)
            image, reason = untold[0]
            self._log(
                f"cannot read the platforms of {counted(len(untold), 'image')} such as {image.name}, "
                f"so the platforms are not pruned: {reason}"
            )

    async def _ask(self, image: Image) -> tuple[Image, ...]:
        path = f"/v2/{image.repository}/manifests/{image.reference}"
        other = self._other(image.upstream) if self._other is not None and image.upstream else None
        manifest = await read_manifest(other or self._upstream, path, 0.0)
        digests = [entry.digest for entry in manifest.entries]
        return tuple(image._replace(reference=digest) for digest in digests)


class Entry(NamedTuple):
    """A manifest that an index lists, by its digest. `platform` is None if the index does not name one."""

    digest: str
    platform: Platform | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as the upstream sends it: any JSON object. `entries` is empty unless it is an index."""

    fields: Mapping[str, object]
    entries: tuple[Entry, ...]


async def read_manifest(registry: Registry, path: str, retry_seconds: float) -> Manifest:
    """Returns the manifest at this path. Raises RegistryError if it cannot be read, or if its index is too long."""
    answer = await registry.request(
        "GET",
        path,
        headers={"Accept": ACCEPT},
        retry=retry_seconds > 0,
        retry_seconds=retry_seconds,
        max_bytes=_MANIFEST_BYTES,
    )
    if answer.status != 200:
        raise RegistryError(f"HTTP {answer.status}", answer.status)
    fields = answer.json()
    if not isinstance(fields, dict):
        return Manifest({}, ())
    media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    entries = _entries(fields, media_type)
    if len(entries) > _MOST_PLATFORMS:
        raise RegistryError(
            f"its index lists {counted(len(entries), 'manifest')}", error_class=ErrorClass.BAD_CONTENT
        )
    return Manifest(fields, entries)


def _entries(manifest: Mapping[str, object], media_type: str) -> tuple[Entry, ...]:
    """Returns what an index lists; nothing for a manifest that is not an index."""
    listed = manifest.get("manifests")
    # a media type may be any JSON value, also one that has no hash
    if (manifest.get("mediaType") or media_type) not in _INDEXES or not isinstance(listed, list):
        return ()
    found = ((each.get("digest"), each.get("platform")) for each in listed if isinstance(each, dict))
    return tuple(
        Entry(digest, _platform(platform))
        for digest, platform in found
        if isinstance(digest, str) and valid_digest(digest)
    )


def _platform(given: object) -> Platform | None:
    if not isinstance(given, dict):
        return None
    words = (given.get(name) or "" for name in ("os", "architecture", "variant"))
    return Platform(*(word if isinstance(word, str) else "" for word in words))

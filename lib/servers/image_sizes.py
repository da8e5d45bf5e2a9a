"""Reads the sizes of the selected images from the manifests of their upstream, once before the load.

A size that cannot be read never ends a run. It is unknown, and the log says so. The time is bounded: a slow upstream,
or one that refuses, must not delay the start of the load.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from ..clients.platforms import Picks, Platform
from ..counted import counted
from ..durations import spoken
from ..figures import data
from ..http.registry import Registry, RegistryError
from ..images import Image
from ..names import valid_digest
from ..outcomes import ErrorClass
from ..sizes import ImageSize
from .manifests import Manifest, read_manifest

# The bounds in time, in seconds: of all sizes together, of one size, and of its retries.
WHOLE_SECONDS: Final = 60.0
IMAGE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 5.0
# Seconds after which the speed so far says whether `WHOLE_SECONDS` will do. Speeds vary, so that has to be clear.
_JUDGED_AFTER: Final = 5.0
_CLEARLY: Final = 1.5
# Sizes that are read at the same time.
_CONCURRENCY: Final = 32
# After this many images that the upstream refused, or did not answer for, it is asked for no more.
MOST_REFUSED: Final = 50
# Seconds between two log lines about the progress.
_PROGRESS_SECONDS: Final = 5.0
# An index may list indexes, down to this depth.
_DEEPEST: Final = 3
# The most layers of an image, and the largest blob in bytes: far more than any real image has.
_MOST_LAYERS: Final = 1000
LARGEST_BLOB: Final = 1 << 40
# Statuses that concern one image only. All others, and no answer, say that the upstream does not want to answer.
_OF_ONE_IMAGE: Final = frozenset({400, 404, 410})
# Layers of these kinds may be kept elsewhere, at the addresses that the manifest names.
_FOREIGN: Final = (".foreign.", ".nondistributable.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooses:
    """How a client chooses from an index, and the platform that it chooses."""

    picks: Picks
    platform: Platform


class SizeReader:
    """Reads sizes. `registry_of` returns the upstream of an image. For use in one event loop."""

    def __init__(
        self, registry_of: Callable[[Image], Registry], chooses: Chooses, log: Callable[[str], None]
    ) -> None:
        self._registry_of = registry_of
        self._chooses = chooses
        self._log = log

    async def read(self, images: Sequence[Image]) -> dict[Image, ImageSize]:
        """Returns the sizes that can be read. Logs how many cannot be, in one line."""
        reading = _Reading(total=len(images), log=self._log)
        left = iter(images)  # all consumers share it
        tasks = [
            asyncio.ensure_future(self._consume(left, reading)) for _ in range(min(_CONCURRENCY, len(images)))
        ]
        try:
            done, running = await asyncio.wait(
                tasks, timeout=WHOLE_SECONDS, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                error = task.exception()
                if error is not None and not isinstance(error, _GivenUp):
                    raise error
            if running:
                reading.give_up(f"reading them took more than {spoken(WHOLE_SECONDS)}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        reading.end(images)
        return reading.found

    async def _consume(self, images: Iterator[Image], reading: _Reading) -> None:
        for image in images:
            try:
                call = self._size(image, _RETRY_SECONDS / (1 + reading.refused))
                reading.found[image] = await asyncio.wait_for(call, IMAGE_SECONDS)
            except asyncio.TimeoutError:
                reading.miss(image, f"no answer within {spoken(IMAGE_SECONDS)}", refused=True)
            except RegistryError as error:
                reading.miss(image, str(error), refused=_is_refusal(error))
            reading.ended()
            if reading.gave_up is not None:
                raise _GivenUp

    async def _size(self, image: Image, retry_seconds: float) -> ImageSize:
        found = _Found()
        registry, before = self._registry_of(image), f"/v2/{image.repository}/manifests/"

        async def add(reference: str, depth: int) -> None:
            manifest = await read_manifest(registry, f"{before}{reference}", retry_seconds)
            if not manifest.entries:
                found.add(manifest)
                return
            if depth == _DEEPEST:
                raise _odd("its index lists indexes that list indexes")
            chosen = self._chooses.picks(
                [entry.platform for entry in manifest.entries], self._chooses.platform
            )
            if not chosen:
                wanted = "/".join(filter(None, self._chooses.platform))
                raise _odd(f"its index has no image for {wanted}")
            for place in chosen:
                await add(manifest.entries[place].digest, depth + 1)

        await add(image.reference, 0)
        return ImageSize(sum(found.configs.values()), found.layers)


def _odd(what: str) -> RegistryError:
    """Returns the error for a manifest from which no size can be read."""
    return RegistryError(what, error_class=ErrorClass.BAD_CONTENT)


class _GivenUp(Exception):
    """No more sizes are read."""


def _is_refusal(error: RegistryError) -> bool:
    """Returns whether the upstream did not answer well; not if only this image is gone, or its manifest is odd."""
    if error.status is None:
        return error.error_class is not ErrorClass.BAD_CONTENT
    return error.status != 200 and error.status not in _OF_ONE_IMAGE


@dataclass(slots=True)
class _Found:
    """The blobs of one image, by digest."""

    configs: dict[str, int] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)

    def add(self, manifest: Manifest) -> None:
        """Adds the blobs of a manifest. Raises RegistryError if it does not say how large they are."""
        layers = manifest.fields.get("layers")
        if "fsLayers" in manifest.fields:
            raise _odd("its manifest has schema 1, which has no sizes")
        if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
            raise _odd("its manifest has no list of layers, or a very long one")
        self.configs.update([_blob(manifest.fields.get("config"))])
        self.layers.update(_blob(layer) for layer in layers if not _is_elsewhere(layer))


def _blob(descriptor: object) -> tuple[str, int]:
    """Returns digest and size of a blob. Raises RegistryError if they are not valid."""
    fields: Mapping[str, object] = descriptor if isinstance(descriptor, dict) else {}
    digest, size = fields.get("digest"), fields.get("size")
    if not isinstance(digest, str) or not valid_digest(digest):
        raise _odd("its manifest names a blob without a valid digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST_BLOB:
        raise _odd("its manifest names a blob without a valid size")
    return digest, size


def _is_elsewhere(layer: object) -> bool:
    """Returns whether a layer is foreign: the server under test does not have it."""
    if not isinstance(layer, dict) or not layer.get("urls"):
        return False
    return any(kind in str(layer.get("mediaType")) for kind in _FOREIGN)


@dataclass(slots=True)
class _Reading:
    """The sizes so far. `gave_up` says why no more are read."""

    total: int
    log: Callable[[str], None]
    found: dict[Image, ImageSize] = field(default_factory=dict)
    done: int = 0
    refused: int = 0
    example: str | None = None
    gave_up: str | None = None
    began: float = field(default_factory=monotonic)
    logged: float = field(default_factory=monotonic)

    def miss(self, image: Image, reason: str, *, refused: bool) -> None:
        """Notes an image whose size is unknown."""
        self.refused += refused
        self.example = self.example or f"{image.name}: {reason}"
        if self.refused >= MOST_REFUSED:
            self.give_up(f"the upstream refused or did not answer for {self.refused} images")

    def give_up(self, why: str) -> None:
        """Ends the reading. What is known by now stays known."""
        self.gave_up = self.gave_up or why

    def ended(self) -> None:
        """Notes that one more image has ended. Gives up if the others would take too long."""
        self.done += 1
        done, now = self.done, monotonic()
        needed = (now - self.began) / done * self.total
        judged = done >= _CONCURRENCY and now - self.began > _JUDGED_AFTER
        if judged and needed > _CLEARLY * WHOLE_SECONDS:
            self.give_up(f"reading all of them would take about {spoken(round(needed))}")
        if now > self.logged + _PROGRESS_SECONDS:
            self.logged = now
            self.log(f"asked for the sizes of {done:,} of {counted(self.total, 'image')}")

    def end(self, images: Sequence[Image]) -> None:
        """Logs the result."""
        known = len(self.found)
        if known:
            total = sum(size.total for size in self.found.values())
            self.log(f"the sizes of {counted(known, 'image')} are known: {data(total)} in all")
        if known == len(images):
            return
        reasons = [f"gave up, as {self.gave_up}"] if self.gave_up else []
        reasons += [f"for example {self.example}"] if self.example else []
        self.log(
            f"warning: the sizes of {len(images) - known:,} of {counted(len(images), 'image')} are unknown "
            f"({'; '.join(reasons)}); bytes are null if one of them is pulled"
        )

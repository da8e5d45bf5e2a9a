"""Collects the latencies of each image whose size is known, in a series of bounded size."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from random import Random
from statistics import median
from typing import Final
from zlib import crc32

from .reservoir import Reservoir

# At most this many images are kept, a random choice if there are more; and this many latencies of each.
MOST_IMAGES: Final = 2000
MOST_LATENCIES: Final = 101


class SizedImage:
    """An image, with its size in bytes, and a sample of the latencies of its first and of its repeat pulls, in seconds.

    All images share `random`.
    """

    __slots__ = ("first", "name", "repeat", "size")

    def __init__(self, name: str, size: int, random: Random) -> None:
        self.name = name
        self.size = size
        self.first = Reservoir[float](MOST_LATENCIES, array("f"), random)
        self.repeat = Reservoir[float](MOST_LATENCIES, array("f"), random)


class SizeSeries:
    """Latency by image. The images that are kept are those whose names have the smallest checksums."""

    def __init__(self, most: int = MOST_IMAGES) -> None:
        self.dropped = False
        self._most = most
        self._limit = 1 << 32
        self._images: dict[str, SizedImage] = {}
        self._random = Random(1)  # noqa: S311 - a choice that is the same each time, not a secret

    def add(self, name: str, size: int, seconds: float, *, first: bool) -> None:
        """Adds a successful pull of an image of `size` bytes."""
        image = self._images.get(name)
        if image is None:
            if _checksum(name) >= self._limit:
                return
            image = self._images[name] = SizedImage(name, size, self._random)
            if len(self._images) > 2 * self._most:
                self._drop()
        (image.first if first else image.repeat).add(seconds)

    def _drop(self) -> None:
        self.dropped = True
        kept = sorted(self._images, key=_checksum)[: self._most]
        self._limit = _checksum(kept[-1]) + 1
        self._images = {name: self._images[name] for name in kept}

    def medians(self, *, first: bool) -> Iterator[tuple[SizedImage, Reservoir[float], float]]:
        """Yields each image that has first (or repeat) pulls, these pulls, and their median latency in seconds."""
        for image in self._images.values():
            pulls = image.first if first else image.repeat
            if pulls.items:
                yield image, pulls, median(pulls.items)


def _checksum(name: str) -> int:
    return crc32(name.encode("utf-8", "surrogatepass"))

"""The sizes of images, as far as they are known: config and layers for the platform, compressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .images import Image


class ImageSize(NamedTuple):
    """The bytes of an image's config, and of each of its layers by digest. A layer that it has twice is here once."""

    config: int
    layers: Mapping[str, int]

    @property
    def total(self) -> int:
        """The bytes of config and layers."""
        return self.config + sum(self.layers.values())


class Sizes:
    """The sizes of the selected images. An image may be missing.

    `shares_layers`: the client fetches a layer that images of one launch share only once.
    """

    def __init__(self, sizes: Mapping[Image, ImageSize], *, shares_layers: bool = False) -> None:
        self._sizes = sizes
        self._totals = {image: size.total for image, size in sizes.items()}
        self._shares_layers = shares_layers

    @property
    def known(self) -> int:
        """The number of images whose size is known."""
        return len(self._totals)

    @property
    def total(self) -> int:
        """The bytes of all images whose size is known."""
        return sum(self._totals.values())

    def of(self, image: Image) -> int | None:
        """Returns the bytes of an image that is pulled alone; None if unknown."""
        return self._totals.get(image)

    def of_next(self, image: Image, fetched: set[str]) -> int | None:
        """Returns the bytes of an image beyond the layers that its launch has `fetched`, and adds its own to them."""
        if not self._shares_layers:
            return self._totals.get(image)
        size = self._sizes.get(image)
        if size is None:
            return None
        new = size.layers.keys() - fetched
        fetched.update(new)
        return size.config + sum(size.layers[digest] for digest in new)

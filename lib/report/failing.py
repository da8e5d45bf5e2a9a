"""Counts the failed pulls of each image, in a series of bounded size."""

from __future__ import annotations

from collections import Counter

_MOST_IMAGES = 20_000


class Failing:
    """The failed pulls by image and error class. `dropped` counts those of images beyond the bound."""

    def __init__(self, most: int = _MOST_IMAGES) -> None:
        self.images: dict[str, Counter[str]] = {}
        self.dropped = 0
        self._most = most

    @property
    def known(self) -> int:
        """The number of images of which a pull failed, up to the bound."""
        return len(self.images)

    def add(self, image: str, error_class: str) -> None:
        counts = self.images.get(image)
        if counts is None:
            if len(self.images) >= self._most:
                self.dropped += 1
                return
            counts = self.images[image] = Counter()
        counts[error_class] += 1

    def worst(self, most: int) -> list[tuple[str, Counter[str]]]:
        """Returns the images with the most failed pulls, in order."""
        return sorted(self.images.items(), key=lambda item: (-item[1].total(), item[0]))[:most]

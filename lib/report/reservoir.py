"""A uniform random sample of bounded size."""

from __future__ import annotations

from collections.abc import MutableSequence
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps a uniform random sample of at most `size` items. `items` takes them, by default a new list.

    This is algorithm R: J. S. Vitter, "Random Sampling with a Reservoir" (ACM TOMS, 1985).
    """

    __slots__ = ("_random", "_size", "items", "seen")

    def __init__(
        self, size: int, items: MutableSequence[T] | None = None, random: Random | None = None
    ) -> None:
        self.items: MutableSequence[T] = [] if items is None else items
        self.seen = 0
        self._size = size
        self._random = random or Random(1)  # noqa: S311 - a choice that is the same each time, not a secret

    def add(self, item: T) -> None:
        self.seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
            return
        place = int(self._random.random() * self.seen)
        if place < self._size:
            self.items[place] = item

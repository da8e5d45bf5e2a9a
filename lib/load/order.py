"""The order of the images in a pass: as they are listed, shuffled, or drawn at random with replacement."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Final, Protocol

from ..errors import UsageError
from ..images import Image, ImageSet

_DRAW: Final = re.compile(r"uniform|zipf:(?P<exponent>\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_GREATEST_EXPONENT: Final = 10.0


class Order(Protocol):
    """Gives the images of one pass after the other. A pass has as many images as the image set."""

    def next_pass(self) -> Iterable[Image]: ...


class AsListed:
    """Every pass has all images in the order of the set; with `random`, each pass after the first is shuffled."""

    def __init__(self, image_set: ImageSet, random: Random | None = None) -> None:
        self._image_set = image_set
        self._random = random
        self._begun = False
        self._shuffled: list[Image] | None = None

    def next_pass(self) -> Iterable[Image]:
        if self._begun and self._random is not None:
            self._shuffled = self._shuffled or list(self._image_set.in_order())
            self._random.shuffle(self._shuffled)
        self._begun = True
        return self._shuffled or self._image_set.in_order()


@dataclass(frozen=True, slots=True)
class Draw:
    """How images are drawn: by Zipf's law with this exponent, or uniformly if it is 0.

    Zipf's law gives the image of rank k (from 1, in the order of the list) the weight 1/k^exponent.
    """

    exponent: float

    def __str__(self) -> str:
        return f"zipf:{self.exponent:g}" if self.exponent else "uniform"


def parse_draw(option: str, text: str) -> Draw:
    """Parses `uniform` or `zipf:1.1`. Raises UsageError for anything else."""
    match = _DRAW.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{option}: '{text}' is unknown; give uniform, or zipf:S with an exponent such as 1 (zipf:1)"
        )
    exponent = float(match["exponent"] or 0)
    if exponent > _GREATEST_EXPONENT:
        raise UsageError(
            f"{option}: '{text}' is out of range; give an exponent of at most {_GREATEST_EXPONENT:g}"
        )
    return Draw(exponent)


class Drawn:
    """Images drawn with replacement: a pass is as many draws as there are images.

    Workers that have all images have them with the same ranks, wherever they would begin.
    """

    def __init__(self, images: Sequence[Image], draw: Draw, random: Random) -> None:
        self._images = images
        self._sums = _sums(len(images), draw.exponent)
        self._random = random

    def next_pass(self) -> Iterator[Image]:
        last = len(self._images) - 1
        for _ in self._images:
            place = bisect_right(self._sums, self._random.random() * self._sums[-1])
            yield self._images[min(place, last)]


@lru_cache(maxsize=4)
def _sums(images: int, exponent: float) -> array[float]:
    """Returns the cumulated weights of the ranks. Workers with equally many images share them."""
    return array("d", accumulate(rank**-exponent for rank in range(1, images + 1)))

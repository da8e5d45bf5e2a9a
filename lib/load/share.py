"""A share of a load: what one of several hosts does of it.

The workers of the whole load are numbered from 0. Share k of n, with k from 1, has the workers k - 1, k - 1 + n and so
on, and as many of the pulls of a schedule. So each step of a ramp adds a worker to the next host, and the shares add up
to the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ..errors import UsageError

_SHARE: Final = re.compile(r"(?P<number>\d{1,6})/(?P<of>\d{1,6})", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Share:
    """Share `number` (from 1) of `of` shares."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def is_whole(self) -> bool:
        """Whether there is no other share."""
        return self.of == 1

    def count(self, whole: int) -> int:
        """Returns how many of so many, numbered from 0, are in this share."""
        return max(0, -(-(whole - self.number + 1) // self.of))

    def number_in_whole(self, own: int) -> int:
        """Returns the number in the whole of what has this number in the share; both count from 0."""
        return own * self.of + self.number - 1

    def pick(self, whole: Sequence[_T]) -> tuple[_T, ...]:
        """Returns those that are in this share."""
        return tuple(whole[self.number - 1 :: self.of])


WHOLE: Final = Share()


def parse_share(option: str, text: str) -> Share:
    """Parses `2/3`. Raises UsageError for anything else."""
    match = _SHARE.fullmatch(text.strip())
    number, of = (int(match["number"]), int(match["of"])) if match is not None else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(
            f"{option}: '{text}' is not a share; give its number and how many there are, such as 2/3"
        )
    return Share(number, of)

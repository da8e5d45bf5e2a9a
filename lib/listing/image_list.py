"""Parses the image list that a user gives in place of the upstream's catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..clean import shown
from ..names import split_reference


class ImageListError(Exception):
    """A line of an image list is not a valid image. The message is one line with the number of that line."""


def parse_image_list(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields (repository, tag or digest) for each image of a list, in its order, without duplicates.

    `#` begins a comment; blank lines are skipped. Raises ImageListError for a line that is not a valid image.
    """
    seen: set[tuple[str, str]] = set()
    for number, line in enumerate(lines, 1):
        text = line.lstrip("\ufeff").partition("#")[0].strip()
        if not text:
            continue
        try:
            repository, reference, _ = split_reference(text)
        except ValueError as error:
            raise ImageListError(f"line {number}: {shown(text)}: {error}") from None
        if (repository, reference) not in seen:
            seen.add((repository, reference))
            yield repository, reference

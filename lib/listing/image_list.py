"""The image list that a user gives in place of the upstream's catalog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..clean import shown
from ..names import split_reference


class ImageListError(Exception):
    """A line of an image list is no image; one line that names it by its number."""


def parse_image_list(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(repository, tag or digest) for each image of a list, in its order, each once.

    `#` begins a comment, blank lines are nothing. ImageListError names the number of a line that is no image.
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

"""Selects what the workers pull: lists the upstream or reads a file, filters, deals, and checks for shared images."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import RunError, UsageError
from ..http.connections import Connections
from ..http.registry import RegistryError
from ..images import Image, ImageSet, by_patterns, choose_tags, compile_regex, deal, overlaps
from ..options.settings import Settings
from ..streams import STDOUT
from ..user_files import MIB, bounded, open_bounded, reason, short_lines
from .image_list import ImageListError, parse_image_list
from .upstream import list_repositories

# The longest image list, in bytes, and its longest line, in characters.
_LONGEST_LIST = 256 * MIB
_LONGEST_LINE = 64 * 1024
# The driver warns about at most this many pairs of patterns by name.
_PAIRS_SHOWN = 5

# Repositories and their tags (or one digest), as the upstream or an image list gives them.
Listing = Sequence[tuple[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The images of each worker; `listed` counts the images before the filter."""

    listed: int
    image_sets: tuple[ImageSet, ...]

    @property
    def images(self) -> list[Image]:
        """All images without duplicates, in the listing's order within each set."""
        return list(dict.fromkeys(image for each in self.image_sets for image in each.images))


def read_image_list(source: str) -> Listing:
    """Reads `--image-list`: one entry per image, in the file's order. Raises UsageError if it cannot be read."""
    try:
        if source == STDOUT:
            if sys.stdin is None:
                raise UsageError("--image-list: stdin is closed; pipe the list into it, or name a file")
            stdin = os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
            return _parsed(bounded(stdin, _LONGEST_LIST))
        return _parsed(open_bounded(source, _LONGEST_LIST))
    except OSError as error:
        raise UsageError(f"--image-list: cannot read {source}: {reason(error)}") from None
    except (ImageListError, UnicodeDecodeError) as error:
        raise UsageError(f"--image-list: {source}: {error}") from None


def _parsed(file: BinaryIO) -> Listing:
    with io.TextIOWrapper(file, encoding="utf-8") as text:
        lines = short_lines(text, _LONGEST_LINE)
        return [(repository, (reference,)) for repository, reference in parse_image_list(lines)]


def list_upstream(settings: Settings, connections: Connections) -> Listing:
    """Lists the upstream's catalog. Raises RunError if it cannot be listed."""
    upstream = connections.registry(settings.registry.url)
    connections.log(f"listing the upstream {settings.registry.url}")
    try:
        found = connections.network.run_until_stop(list_repositories(upstream, log=connections.log))
    except RegistryError as error:
        raise RunError(f"cannot list the upstream: {error}") from None
    return [(repository.name, repository.tags) for repository in found]


def select(settings: Settings, repositories: Listing, connections: Connections) -> Selection:
    """Returns the images of this listing that pass the filter, one ImageSet per worker.

    Raises RunError if the test or a worker has no image to pull. Warns about images that workers share.
    """
    accept = compile_regex("--filter", settings.filter) if settings.filter is not None else None
    listed = sum(len(tags) for _, tags in repositories)
    images = list(choose_tags(repositories, accept, settings.all_tags))
    connections.log(
        f"images: {listed} listed in {len(repositories)} repositories, {len(images)} chosen for the test"
    )
    if not images:
        raise RunError(_nothing_left(settings, listed))
    selection = Selection(listed, tuple(_deal(settings, images)))
    _warn_of_overlaps(selection.image_sets, connections)
    return selection


def _nothing_left(settings: Settings, listed: int) -> str:
    source = settings.image_list or settings.registry.url
    if listed:
        return f"--filter '{settings.filter}' leaves none of the {listed} images of {source}; give another --filter"
    return f"{source} lists no images; push some, or name what to pull with --image-list"


def _deal(settings: Settings, images: list[Image]) -> list[ImageSet]:
    if settings.workers is not None:
        return deal(images, settings.workers)
    return by_patterns(images, settings.patterns, f"{settings.pullthrough.name}/{settings.registry.name}/")


def _warn_of_overlaps(image_sets: Sequence[ImageSet], connections: Connections) -> None:
    shared = overlaps(image_sets)
    for (one, other), count in list(shared.items())[:_PAIRS_SHOWN]:
        connections.caution(
            f"the patterns '{one}' and '{other}' share images ({count}); the second pull of each comes from the cache"
        )
    if len(shared) > _PAIRS_SHOWN:
        connections.caution(f"{len(shared) - _PAIRS_SHOWN} more pairs of patterns share images")

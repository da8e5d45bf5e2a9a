"""Selects what the workers pull: lists the upstream or reads a file, filters, deals, and checks for shared images."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from ..choices import ALL, SKIP
from ..counted import counted
from ..errors import RunError, UsageError
from ..http.connections import Connections
from ..http.registry import RegistryError
from ..images import (
    PAIRS,
    Heed,
    Image,
    ImageSet,
    PassedOver,
    by_patterns,
    choose_tags,
    compile_regex,
    deal,
    deal_all,
    distinct,
    overlaps,
)
from ..options.settings import Settings
from ..servers.mixed_up import swapped, swapped_if_empty
from ..streams import STDOUT
from ..user_files import MIB, bounded, open_bounded, reason, short_lines
from .image_list import ImageList, ImageListError, Upstreams, parse_image_list
from .upstream import list_repositories

# The longest image list, in bytes, and its longest line, in characters: kubectl may write all images into one.
_LONGEST_LIST = 256 * MIB
_LONGEST_LINE = 64 * MIB
# The driver warns about at most this many pairs of patterns by name.
_PAIRS_SHOWN = 5


class Listing(Protocol):
    """The images that there are: those of a catalog, or those of the user's list."""

    @property
    def listed(self) -> int:
        """The number of images."""
        ...

    @property
    def repositories(self) -> int:
        """The number of repositories."""
        ...

    def choose(
        self, accept: Callable[[str], bool] | None, all_tags: bool, passed_over: PassedOver, heed: Heed
    ) -> Iterator[Image]:
        """Yields the images that the filter accepts and that the test is to pull."""
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """The repositories of an upstream with their tags, as it lists them."""

    tags: Sequence[tuple[str, tuple[str, ...]]]

    @property
    def listed(self) -> int:
        return sum(len(tags) for _, tags in self.tags)

    @property
    def repositories(self) -> int:
        return len(self.tags)

    def choose(
        self, accept: Callable[[str], bool] | None, all_tags: bool, passed_over: PassedOver, heed: Heed
    ) -> Iterator[Image]:
        return choose_tags(self.tags, accept, all_tags, passed_over, heed)


@dataclass(frozen=True, slots=True)
class Selection:
    """The images of each worker; `listed` counts the images before the filter, `foreign` those of other upstreams.

    With a share of a load, these are the workers of this share. `lengths` has the number of images of each worker of
    the whole load, and `total` is the number of its distinct images; None if this is the whole load.
    """

    listed: int
    image_sets: tuple[ImageSet, ...]
    foreign: int = 0
    lengths: tuple[int, ...] = ()
    total: int | None = None

    @property
    def images(self) -> list[Image]:
        """All images without duplicates, in the listing's order within each set."""
        return list(distinct(self.image_sets))

    @property
    def first(self) -> Image:
        """The first of all images."""
        return self.image_sets[0].images[0]


def read_image_list(settings: Settings, source: str) -> ImageList:
    """Reads `--image-list`, in the file's order. Raises UsageError if it cannot be read or used."""
    upstreams = Upstreams(
        registry=settings.registry,
        name=settings.upstream_name,
        pullthrough=settings.pullthrough,
        layout=settings.layout.name,
        names_others=settings.layout.names_upstream,
        skip=settings.foreign == SKIP,
    )
    try:
        if source == STDOUT:
            if sys.stdin is None:
                raise UsageError("--image-list: stdin is closed; pipe the list into it, or name a file")
            stdin = os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
            return _parsed(bounded(stdin, _LONGEST_LIST), upstreams)
        return _parsed(open_bounded(source, _LONGEST_LIST), upstreams)
    except OSError as error:
        raise UsageError(
            f"--image-list: cannot read {source}: {reason(error)}; give a list of images"
        ) from None
    except (ImageListError, UnicodeError) as error:
        raise UsageError(f"--image-list: {source}: {error}") from None


def _parsed(file: BinaryIO, upstreams: Upstreams) -> ImageList:
    """Returns the images of a file in UTF-8 or, if its first bytes say so, in UTF-16, as PowerShell writes it."""
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    utf16 = buffered.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    with io.TextIOWrapper(buffered, encoding="utf-16" if utf16 else "utf-8-sig") as text:
        return parse_image_list(short_lines(text, _LONGEST_LINE), upstreams)


def list_upstream(settings: Settings, connections: Connections) -> Catalog:
    """Lists the upstream's catalog. Raises RunError if it cannot be listed."""
    upstream = connections.registry(settings.registry.url)
    connections.log(f"listing the upstream {settings.registry.url}")
    try:
        found = connections.network.run_until_stop(
            list_repositories(upstream, log=connections.log, caution=connections.caution)
        )
    except RegistryError as error:
        # a run that is not dry was warned before
        hint = swapped(settings.under_test, connections) if settings.dry_run else ""
        raise RunError(f"cannot list the upstream: {error}{f' ({hint})' if hint else ''}") from None
    return Catalog([(repository.name, repository.tags) for repository in found])


def select(settings: Settings, listing: Listing, connections: Connections) -> Selection:
    """Returns the images of this listing that pass the filter, one ImageSet per worker.

    Raises RunError if the test or a worker has no image to pull. Warns about images that patterns share.
    """
    heed = connections.network.stop.heed
    accept = compile_regex("--filter", settings.filter) if settings.filter is not None else None
    passed_over, listed = PassedOver(), listing.listed
    images = list(listing.choose(accept, settings.all_tags, passed_over, heed))
    connections.log(
        f"images: {listed} listed in {counted(listing.repositories, 'repository', 'repositories')}, "
        f"{len(images)} selected for the test"
    )
    if passed_over.example is not None:
        connections.log(
            f"skipped {counted(passed_over.tags, 'tag')} of signatures and the like, such as "
            f"{passed_over.example.name}, and {counted(passed_over.repositories, 'repository', 'repositories')} with "
            "no other tag; --all-tags takes them"
        )
    foreign = listing.foreign if isinstance(listing, ImageList) else 0
    if not images:
        empty = settings.image_list is None and not listed
        hint = swapped_if_empty(settings.under_test, connections) if empty else ""
        raise RunError(f"{_nothing_left(settings, listed, passed_over.tags, foreign)}{hint}")
    whole = _deal(settings, images, heed)
    own = settings.share.pick(whole)
    if not own:
        raise RunError(
            f"--share {settings.share} has no worker, because the load has {counted(len(whole), 'worker')}; leave this "
            "share out, or give more workers"
        )
    total = None if settings.share.is_whole else len(distinct(whole))
    selection = Selection(
        listed=listed,
        image_sets=own,
        foreign=foreign,
        lengths=tuple(len(each.images) for each in whole),
        total=total,
    )
    if settings.deal != ALL:  # else the user wants the workers to share images
        _warn_of_overlaps(selection.image_sets, connections, heed)
    return selection


def _nothing_left(settings: Settings, listed: int, passed_over: int, foreign: int) -> str:
    source = settings.image_list or settings.registry.url
    if source == STDOUT:
        source = "stdin"
    if passed_over:
        return (
            f"none of the {listed} tags of {source} is an image's: {passed_over} belong to signatures and the like; "
            "to pull these, use --all-tags"
        )
    if listed:
        return (
            f"--filter '{settings.filter}' leaves none of the {counted(listed, 'image')} of {source}; "
            "give another --filter"
        )
    if foreign:
        return f"{source} names no image of {settings.upstream_name}: --foreign skip left out all {foreign}"
    if settings.image_list is not None:
        what = "pipe them into it" if source == "stdin" else "write them into it"
        return f"--image-list: {source} names no images; {what}, one on each line, or leave out the option"
    return f"{source} lists no images; push some, or name what to pull with --image-list"


def _deal(settings: Settings, images: list[Image], heed: Heed) -> list[ImageSet]:
    if settings.workers is not None and settings.deal == ALL:
        return deal_all(images, settings.workers, apart=not settings.herd)
    if settings.workers is not None:
        return deal(images, settings.workers)
    return by_patterns(images, settings.patterns, searched_in(settings), heed)


def searched_in(settings: Settings) -> str:
    """Returns what stands before an image's name where patterns are searched."""
    return f"{settings.pullthrough.name}/{settings.registry.name}/"


def _warn_of_overlaps(image_sets: Sequence[ImageSet], connections: Connections, heed: Heed) -> None:
    shared = overlaps(image_sets, heed)
    for (one, other), count in list(shared.items())[:_PAIRS_SHOWN]:
        both = f"the pattern '{one}' is given more than once; its workers" if one == other else \
            f"the patterns '{one}' and '{other}'"  # fmt: skip
        connections.caution(f"{both} share images ({count}); the second pull of each comes from the cache")
    if len(shared) > _PAIRS_SHOWN:
        least = "at least " if len(shared) == PAIRS else ""
        connections.caution(
            f"images are also shared by {least}{counted(len(shared) - _PAIRS_SHOWN, 'further pair')} of patterns"
        )

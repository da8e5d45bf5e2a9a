"""Lists the upstream's repositories and their tags, from its catalog."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from ..clean import shown
from ..counted import counted
from ..http.paging import Log, PagedList, Pages, Sizes
from ..http.registry import MIB, Registry, RegistryError
from ..names import valid_repository, valid_tag
from ..outcomes import ErrorClass

REPOSITORY_LIMIT: Final = 1_000_000
TAG_LIMIT: Final = 5_000_000
_TAGS_BYTES: Final = 4 * MIB
_CATALOG_BYTES: Final = 64 * MIB
_NO_CATALOG: Final = frozenset({401, 403, 404, 405, 501})
# At most this many log lines about skipped names of one kind.
_LINES: Final = 20
# Seconds between two log lines about the progress of a long listing.
_PROGRESS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with at least one tag; `tags` are in the upstream's order, without duplicates."""

    name: str
    tags: tuple[str, ...]


async def list_repositories(
    registry: Registry,
    *,
    concurrency: int = 32,
    log: Log,
    caution: Log | None = None,
) -> list[Repository]:
    """Returns every repository that has tags, sorted by name.

    Logs what it skips (names and tags outside the grammar, repositories that are gone or refused), and the progress of
    a long listing. Calls `caution` about lists that end early; by default, this is logged too. Raises RegistryError if
    there is no catalog, if the connection is lost, if nothing can be listed, or above a million repositories or five
    million tags.
    """
    caution = caution or log
    names = await _names(registry, log, caution)
    listing = _Listing(registry, log, caution, len(names))
    left = iter(names)  # all consumers share it
    await _run_all(listing.consume(left) for _ in range(max(1, min(concurrency, len(names)))))
    return listing.finished()


async def _names(registry: Registry, log: Log, caution: Log) -> list[str]:
    skipped = _Skipped(log, "repository names outside the distribution grammar")
    names: set[str] = set()
    pages = Pages(
        registry,
        PagedList("/v2/_catalog", "repositories", valid_repository, _CATALOG_BYTES),
        skip=lambda name: skipped.add(f"skipped: not a repository name: {shown(name)}"),
    )
    try:
        async for page in pages.read():
            names.update(page)
            if len(names) > REPOSITORY_LIMIT:
                raise RegistryError(
                    f"{registry.host} lists more than {REPOSITORY_LIMIT} repositories: "
                    "choose some with --image-list FILE"
                )
    except RegistryError as error:
        if error.status in _NO_CATALOG:
            raise RegistryError(_without_catalog(registry, error), error.status) from error
        raise
    skipped.end()
    if pages.early_end is not None:
        caution(
            f"{registry.host}: {pages.early_end}; the list ends there, after {len(names)} repositories, "
            "and may be incomplete: compare this number, or name the images with --image-list FILE"
        )
    return sorted(names)


def _without_catalog(registry: Registry, error: RegistryError) -> str:
    if error.status in (401, 403):
        return f"{error}, or name the images with --image-list FILE if it gives no catalog"
    return f"{registry.host} has no catalog (HTTP {error.status}): name the images with --image-list FILE"


@dataclass(slots=True)
class _Listing:
    """Lists the tags of many repositories. A fixed number of consumers sends the requests, so memory stays bounded.

    `total` is the number of repositories, `done` those asked so far, `refused` those that failed other than by 404.
    """

    registry: Registry
    log: Log
    caution: Log
    total: int
    found: dict[str, tuple[str, ...]] = field(default_factory=dict)
    done: int = 0
    logged_at: float = field(default_factory=monotonic)
    tags: int = 0
    without_tags: int = 0
    refused: int = 0
    last_error: RegistryError | None = None
    sizes: Sizes = field(default_factory=Sizes)
    bad_tags: _Skipped = field(init=False)
    skipped: _Skipped = field(init=False)
    cut_short: _Skipped = field(init=False)
    _texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bad_tags = _Skipped(self.log, "tags outside the distribution grammar")
        self.skipped = _Skipped(self.log, "repositories whose tags cannot be listed")
        self.cut_short = _Skipped(self.log, "lists of tags that end early")

    async def consume(self, names: Iterator[str]) -> None:
        for name in names:
            await self._list(name)
            self.done += 1
            if monotonic() >= self.logged_at + _PROGRESS_SECONDS:
                self.logged_at = monotonic()
                self.log(
                    f"listed the tags of {self.done:,} of {counted(self.total, 'repository', 'repositories')}"
                )

    async def _list(self, name: str) -> None:
        try:
            tags = await self._tags(name)
        except RegistryError as error:
            self._skip(name, error)
            return
        if self.tags > TAG_LIMIT:
            raise RegistryError(
                f"{self.registry.host} lists more than {TAG_LIMIT} tags: choose some with --image-list FILE"
            )
        if tags:
            self.found[name] = tags
        else:
            self.without_tags += 1

    async def _tags(self, name: str) -> tuple[str, ...]:
        """Returns one repository's tags. Repositories share the string of a common tag, to save memory."""
        tags: dict[str, None] = {}
        pages = Pages(
            self.registry,
            PagedList(f"/v2/{name}/tags/list", "tags", valid_tag, _TAGS_BYTES),
            skip=lambda tag: self.bad_tags.add(f"skipped: not a tag of {name}: {shown(tag)}"),
            sizes=self.sizes,
            # After each repository that failed, the next one is retried for less time: thousands must not take hours.
            patience=1.0 / (1 + self.refused),
        )
        async for page in pages.read():
            self.tags += len(page)
            for tag in page:
                tags[self._texts.setdefault(tag, tag) if len(self._texts) < 100_000 else tag] = None
            if self.tags > TAG_LIMIT:
                break
        if pages.early_end is not None:
            self.cut_short.add(f"{name}: {pages.early_end}; the list ends there, after {len(tags)} tags")
        return tuple(tags)

    def _skip(self, name: str, error: RegistryError) -> None:
        """Skips a repository that is gone (404) or refused. Raises RegistryError if the connection is lost."""
        status = error.status
        if status is None and error.error_class is not ErrorClass.BAD_CONTENT:
            raise RegistryError(
                f"{error} (after {self.done:,} of {counted(self.total, 'repository', 'repositories')})",
                error_class=error.error_class,
            ) from error
        if status != 404:
            self.refused += 1
            self.last_error = error
        self.skipped.add(f"skipped: {name}: {'it is gone (404)' if status == 404 else error}")

    def finished(self) -> list[Repository]:
        """Returns the repositories by name. Raises RegistryError if every one was refused."""
        self.bad_tags.end()
        self.skipped.end()
        self.cut_short.end()
        if self.cut_short.count:
            self.caution(
                f"{self.registry.host}: the lists of tags of {self.cut_short.count} of {self.total} repositories end "
                "early, and may be incomplete (the log names them): name the images with --image-list FILE"
            )
        if self.without_tags:
            self.log(f"repositories without tags: {self.without_tags} of {self.total}")
        if self.last_error is not None and self.refused == self.total:
            raise RegistryError(
                f"no repository's tags can be listed: {self.last_error}", self.last_error.status
            )
        return [Repository(name, self.found[name]) for name in sorted(self.found)]


class _Skipped:
    """Logs what is skipped: the first twenty lines, each once, then their number in all."""

    def __init__(self, log: Log, what: str) -> None:
        self._log = log
        self._what = what
        self._shown: set[str] = set()
        self.count = 0

    def add(self, line: str) -> None:
        self.count += 1
        if len(self._shown) < _LINES and line not in self._shown:
            self._shown.add(line)
            self._log(line)

    def end(self) -> None:
        if self.count > len(self._shown):
            self._log(f"skipped: {self.count} {self._what} in all, of which {len(self._shown)} are shown")


async def _run_all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs the coroutines concurrently. If one fails, or on a cancellation, cancels the others and waits for them."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

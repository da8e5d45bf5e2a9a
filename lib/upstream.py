"""What the upstream holds: its catalog and tags (distribution spec, "Content Discovery"), or an image list.

Servers page in many ways, and some wrongly; `Pages` takes them as they come and ends on each of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from yarl import URL

from .failures import ErrorClass, clean
from .grammar import split_reference, valid_repository, valid_tag
from .http.headers import next_link
from .http.registry import MIB, Answer, Registry, RegistryError

REPOSITORY_LIMIT: Final = 1_000_000
TAG_LIMIT: Final = 5_000_000
PAGE_LIMIT: Final = 10_000
# So many pages in a row that bring nothing new are no catalog that will end.
BARREN_LIMIT: Final = 100
# What is asked for, best first: docker-registry refuses more than 1000, other servers less. None: no `n` at all.
PAGE_SIZES: Final[tuple[int | None, ...]] = (1000, 100, None, 10)
_GREATEST_SIZE: Final = 10_000_000
_TAGS_BYTES: Final = 4 * MIB
_CATALOG_BYTES: Final = 64 * MIB
_REFUSED_SIZE: Final = frozenset({400, 416, 422})
_NO_CATALOG: Final = frozenset({401, 403, 404, 405, 501})
# Greatest pages of servers that cut a list there, whatever is asked for, and give no link.
_USUAL_CUTS: Final = frozenset({50, 100, 200, 250, 500, 1000})
_LINES: Final = 20

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with at least one tag; `tags` in the upstream's order, each once."""

    name: str
    tags: tuple[str, ...]


class ImageListError(Exception):
    """A line of an image list is no image; one line that names it by its number."""


async def list_repositories(
    registry: Registry,
    *,
    concurrency: int = 32,
    log: Log,
    progress: Callable[[int, int], None] | None = None,
) -> list[Repository]:
    """Every repository that has tags, by name, whatever order the server gives them in.

    `progress(done, all)` is called after each repository. What is left out (names and tags outside the grammar,
    repositories that are gone or refused) is logged. RegistryError when there is no catalog, when the connection is
    lost for good, when nothing can be listed, and at a million repositories or five million tags.
    """
    names = await _names(registry, log)
    listing = _Listing(registry, log, progress, len(names))
    left = iter(names)  # one for all consumers
    await _run_all(listing.consume(left) for _ in range(max(1, min(concurrency, len(names)))))
    return listing.finished()


async def _names(registry: Registry, log: Log) -> list[str]:
    skipped = _Skipped(log, "repository names outside the distribution grammar")
    names: set[str] = set()
    pages = Pages(registry, "/v2/_catalog", "repositories", log, max_bytes=_CATALOG_BYTES)
    try:
        async for page in pages.read():
            for name in page:
                if not valid_repository(name):
                    skipped.add(f"skipped: not a repository name: {shown(name)}")
                    continue
                names.add(name)
            if len(names) > REPOSITORY_LIMIT:
                raise RegistryError(
                    f"{registry.host} lists more than {REPOSITORY_LIMIT} repositories: choose some with --image-list"
                )
    except RegistryError as error:
        if error.status in _NO_CATALOG:
            raise RegistryError(_without_catalog(registry, error), error.status) from error
        raise
    skipped.end()
    return sorted(names)


def _without_catalog(registry: Registry, error: RegistryError) -> str:
    if error.status in (401, 403):
        return f"{error}, or name the images with --image-list FILE if it gives no catalog"
    return f"{registry.host} has no catalog (HTTP {error.status}): name the images with --image-list FILE"


@dataclass(slots=True)
class _Listing:
    """Tags of many repositories, asked for by a fixed set of consumers, so that memory stays bounded."""

    registry: Registry
    log: Log
    progress: Callable[[int, int], None] | None
    total: int
    found: dict[str, tuple[str, ...]] = field(default_factory=dict)
    done: int = 0
    tags: int = 0
    without_tags: int = 0
    refused: int = 0
    last_error: RegistryError | None = None
    sizes: _Sizes = field(default_factory=lambda: _Sizes())
    bad_tags: _Skipped = field(init=False)
    skipped: _Skipped = field(init=False)
    _texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bad_tags = _Skipped(self.log, "tags outside the distribution grammar")
        self.skipped = _Skipped(self.log, "repositories whose tags cannot be listed")

    async def consume(self, names: Iterator[str]) -> None:
        for name in names:
            await self._list(name)
            self.done += 1
            if self.progress is not None:
                self.progress(self.done, self.total)

    async def _list(self, name: str) -> None:
        try:
            tags = await self._tags(name)
        except RegistryError as error:
            self._skip(name, error)
            return
        self.tags += len(tags)
        if self.tags > TAG_LIMIT:
            raise RegistryError(
                f"{self.registry.host} lists more than {TAG_LIMIT} tags: choose some with --image-list FILE"
            )
        if tags:
            self.found[name] = tags
        else:
            self.without_tags += 1

    async def _tags(self, name: str) -> tuple[str, ...]:
        """One repository's tags. A common tag is one string for all repositories."""
        tags: dict[str, None] = {}
        pages = Pages(
            self.registry,
            f"/v2/{name}/tags/list",
            "tags",
            self.log,
            max_bytes=_TAGS_BYTES,
            sizes=self.sizes,
            # Each failure for good shortens the patience with the next: thousands of them must not take hours.
            patience=1.0 / (1 + self.refused),
        )
        async for page in pages.read():
            for tag in page:
                if valid_tag(tag):
                    tags[self._texts.setdefault(tag, tag) if len(self._texts) < 100_000 else tag] = None
                else:
                    self.bad_tags.add(f"skipped: not a tag of {name}: {shown(tag)}")
            if self.tags + len(tags) > TAG_LIMIT:
                break
        return tuple(tags)

    def _skip(self, name: str, error: RegistryError) -> None:
        """Gone is no error, refused is one only when all are; a lost connection ends the listing."""
        status = error.status
        if status is None and error.error_class is not ErrorClass.BAD_CONTENT:
            raise RegistryError(
                f"{error} (after {self.done} of {self.total} repositories)", error_class=error.error_class
            ) from error
        if status != 404:
            self.refused += 1
            self.last_error = error
        self.skipped.add(f"skipped: {name}: {'it is gone (404)' if status == 404 else error}")

    def finished(self) -> list[Repository]:
        self.bad_tags.end()
        self.skipped.end()
        if self.without_tags:
            self.log(f"{self.without_tags} of {self.total} repositories have no tags")
        if self.last_error is not None and self.refused == self.total:
            raise RegistryError(
                f"no repository's tags can be listed: {self.last_error}", self.last_error.status
            )
        return [Repository(name, self.found[name]) for name in sorted(self.found)]


class _Sizes:
    """The page size that a server took, remembered for its next list."""

    def __init__(self) -> None:
        self._index = 0

    @property
    def now(self) -> int | None:
        return PAGE_SIZES[self._index]

    def smaller(self, refused: int | None) -> bool:
        """After a refusal of that size; False when there is none left to try."""
        if refused != self.now:
            return True
        if self._index + 1 == len(PAGE_SIZES):
            return False
        self._index += 1
        return True


class Pages:
    """One paged list: `read` gives the new strings of each page until nothing new comes."""

    def __init__(
        self,
        registry: Registry,
        path: str,
        key: str,
        log: Log,
        *,
        max_bytes: int,
        sizes: _Sizes | None = None,
        patience: float = 1.0,
    ) -> None:
        self._registry = registry
        self._path = path
        self._key = key
        self._log = log
        self._max_bytes = max_bytes
        self._sizes = sizes or _Sizes()
        self._patience = patience
        self._seen: set[str] = set()
        self._visited: set[str] = set()
        self._pages = 0
        self._barren = 0

    async def read(self) -> AsyncIterator[list[str]]:
        """The strings of each page that no page before had. RegistryError with the status of a page that fails."""
        size, answer = await self._first()
        page, link = self._items(answer), self._link(answer)
        yield self._new(page)
        if link is None and page and (len(page) == size or len(page) in _USUAL_CUTS):
            async for rest in self._rest(page):
                yield rest
        async for rest in self._linked(link):
            yield rest

    async def _first(self) -> tuple[int | None, Answer]:
        """The first page, of the greatest size that the server takes."""
        while True:
            size = self._sizes.now
            answer = await self._get(self._url(size))
            if answer.status == 200:
                return size, answer
            if answer.status not in _REFUSED_SIZE or not self._sizes.smaller(size):
                raise self._registry.complaint(answer)

    async def _linked(self, link: str | None) -> AsyncIterator[list[str]]:
        """The pages from this link on."""
        while link is not None:
            answer = await self._get(link)
            if answer.status != 200:
                raise self._registry.complaint(answer)
            yield self._new(self._items(answer))
            link = self._link(answer)

    async def _rest(self, page: list[str]) -> AsyncIterator[list[str]]:
        """What comes after a page that is just full and has no link: nothing, or the rest of a list that was cut.

        `crane registry serve` cuts, knows no `last`, and gives all without `n`; other servers have a greatest size
        and know `last`. So all three are tried, until an answer is plainly whole.
        """
        size = len(page)
        for greater in (None, size * 10, size * 100, size * 1000, _GREATEST_SIZE):
            answer = await self._get(self._url(greater))
            if answer.status != 200:
                break
            more, link = self._items(answer), self._link(answer)
            yield self._new(more)
            async for rest in self._linked(link):
                yield rest
            if link is not None or (len(more) > size and len(more) != greater):
                return
            if greater is not None and len(more) < greater:
                break
        async for rest in self._after(size, page[-1]):
            yield rest

    async def _after(self, size: int, last: str) -> AsyncIterator[list[str]]:
        """The pages after `last`, while they bring something new."""
        while True:
            answer = await self._get(self._url(size, last))
            page = self._items(answer) if answer.status == 200 else []
            new = self._new(page)
            if not new:
                return
            yield new
            last = page[-1]

    async def _get(self, url: str) -> Answer:
        self._pages += 1
        if self._pages > PAGE_LIMIT:
            raise self._endless(f"more than {PAGE_LIMIT} pages")
        self._visited.add(url)
        seconds = None if self._patience == 1.0 else self._registry.retry_seconds * self._patience
        return await self._registry.request("GET", url, max_bytes=self._max_bytes, retry_seconds=seconds)

    def _url(self, size: int | None, last: str | None = None) -> str:
        query = [f"n={size}"] if size is not None else []
        if last is not None:
            query.append(f"last={quote(last.encode('utf-8', 'replace'), safe='')}")
        return f"{self._registry.url}{self._path}" + ("?" + "&".join(query) if query else "")

    def _link(self, answer: Answer) -> str | None:
        """The next page's URL; None at the end, and where a page comes again."""
        target = next_link(answer.headers.getall("Link", []))
        if not target:
            return None
        link = _resolved(self._registry.url, answer.url, target)
        if link is None or link in self._visited:
            self._log(
                f"{self._registry.host}: the link to the next page of {self._path} "
                + ("is not valid" if link is None else "leads to a page that was read already")
                + "; the list ends there"
            )
            return None
        return link

    def _items(self, answer: Answer) -> list[str]:
        """The page's strings as they are, repeated ones too; null is an empty list."""
        value = answer.json()
        fields = value if isinstance(value, dict) else {}
        # A server may leave the tags out where there are none; an object without either is something else.
        items = fields.get(self._key, [] if self._key == "tags" and "name" in fields else False)
        if items is None:
            return []
        if not isinstance(items, list):
            raise RegistryError(
                f"{self._registry.host}{self._path} gives no list of {self._key}: is this an OCI registry?",
                answer.status,
                ErrorClass.BAD_CONTENT,
            )
        return [item if isinstance(item, str) else f"\0{type(item).__name__}" for item in items]

    def _new(self, page: list[str]) -> list[str]:
        new = [item for item in dict.fromkeys(page) if item not in self._seen]
        self._seen.update(new)
        self._barren = 0 if new else self._barren + 1
        if self._barren > BARREN_LIMIT:
            raise self._endless(f"{BARREN_LIMIT} pages in a row with nothing new")
        return new

    def _endless(self, reason: str) -> RegistryError:
        return RegistryError(
            f"{self._registry.host}: {self._path} does not end ({reason}): name the images with --image-list FILE",
            error_class=ErrorClass.BAD_CONTENT,
        )


def _resolved(base: str, page: str, target: str) -> str | None:
    """A link's target as a URL (RFC 3986), or None where it is none.

    `v2/…` without its slash is taken for `/v2/…`. A link to the registry's own name under the other scheme, as
    servers behind a TLS proxy send, is taken for the registry itself, so that the login goes with it.
    """
    try:
        url = URL(page).join(URL("/" + target if target.startswith("v2/") else target)).with_fragment(None)
        own = URL(base)
        if url.scheme not in ("http", "https") or not url.host:
            return None
        if url.host == own.host and url.scheme != own.scheme:
            url = own.with_path(url.raw_path, encoded=True).with_query(url.query)
    except ValueError:
        return None
    return str(url)


class _Skipped:
    """Log lines about what is left out: the first twenty, then a count."""

    def __init__(self, log: Log, what: str) -> None:
        self._log = log
        self._what = what
        self._count = 0

    def add(self, line: str) -> None:
        self._count += 1
        if self._count <= _LINES:
            self._log(line)

    def end(self) -> None:
        if self._count > _LINES:
            self._log(f"skipped: {self._count} {self._what} in all, of which {_LINES} are shown")


def shown(text: str) -> str:
    """A name from outside for a log line: short, on one line, without control characters."""
    return clean(text[:1000], 100)


async def _run_all(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them, together; the first that fails, or a cancellation, ends the others before it goes on."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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

"""Reads the paged lists of a registry (distribution spec, "Content Discovery").

Servers page in many ways, some of them wrong. `Pages` handles them all and always comes to an end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from yarl import URL

from ..clean import clean
from ..outcomes import ErrorClass
from .headers import next_link
from .registry import TRANSIENT, Answer, Registry, RegistryError

PAGE_LIMIT: Final = 10_000
# After this many pages in a row with nothing new, the list counts as endless.
BARREN_LIMIT: Final = 100
# Page sizes to ask for, in this order. docker-registry refuses more than 1000, other servers refuse less. None: no `n`.
PAGE_SIZES: Final[tuple[int | None, ...]] = (1000, 100, None, 10)
# A page with more values is refused before it is parsed: in memory, an empty list takes twenty times its text.
VALUE_LIMIT: Final = 1_000_000
# The most strings that are not valid names. They are kept to recognize duplicates, so their number is limited.
INVALID_LIMIT: Final = 10_000
# Characters kept of a string; valid names are shorter.
_LONGEST: Final = 300
_GREATEST_SIZE: Final = 10_000_000
# These refusals have nothing to do with the page size. Every other one may come from it: servers answer among others
# 400 (distribution), 413 (Quay), 416 and 422, and some fail with 429 or 5xx.
_NOT_THE_SIZE: Final = frozenset({401, 404})
# Seconds of retries for the first page before smaller sizes are tried.
_SHORT_SECONDS: Final = 2.0
# After this many lists for which no page size helped against a status, the driver believes this status sooner.
_IN_VAIN: Final = 3
# Seconds for the one request to a server that a link names and the user does not.
_FOREIGN_SECONDS: Final = 5.0
# The usual page sizes of servers that cut a list at their own limit and give no link to the rest.
_USUAL_CUTS: Final = frozenset({50, 100, 200, 250, 500, 1000})

Log = Callable[[str], None]


class Sizes:
    """The page size that a server accepts, kept for its next lists."""

    def __init__(self) -> None:
        self._accepted = 0
        self._in_vain: Counter[int] = Counter()

    def all_from_here(self) -> Iterator[tuple[int, int | None]]:
        """Yields the page sizes to ask for, each with its place in the order; None to ask for none."""
        yield from list(enumerate(PAGE_SIZES))[self._accepted :]

    def accept(self, place: int) -> None:
        """Begins the next lists with this page size."""
        self._accepted = max(self._accepted, place)

    def next_after(self, place: int, status: int) -> bool:
        """Returns whether to ask for the size after this one, when the server has refused this one."""
        if status < 400 or status in _NOT_THE_SIZE:
            return False
        if self._in_vain[status] < _IN_VAIN:
            return True
        return status < 500 and status != 403 and place == self._accepted

    def note(self, status: int) -> None:
        """Notes that no page size helped against this status."""
        self._in_vain[status] += 1


@dataclass(frozen=True, slots=True)
class PagedList:
    """A list of strings in pages: its path on the registry, and the key of the strings in the JSON of each page.

    `valid` returns whether the grammar allows a string. A page has at most `max_bytes` bytes.
    """

    path: str
    key: str
    valid: Callable[[str], bool]
    max_bytes: int


class Pages:
    """Reads one paged list: `read` yields the new valid strings of each page until the list ends.

    `skip` is called with each string that is not valid, cut to 300 characters. `patience` scales the seconds of
    retries. Memory stays bounded for any server if the caller limits the number of valid strings.

    When all is read, `early_end` says why the list may be longer than what was read; None if it is whole.
    """

    def __init__(
        self,
        registry: Registry,
        wanted: PagedList,
        *,
        skip: Log,
        sizes: Sizes | None = None,
        patience: float = 1.0,
    ) -> None:
        self._registry = registry
        self._path = wanted.path
        self._key = wanted.key
        self._valid = wanted.valid
        self._skip = skip
        self.early_end: str | None = None
        self._max_bytes = wanted.max_bytes
        self._sizes = sizes or Sizes()
        self._most_seconds = registry.retry_seconds * patience
        self._seen: set[str] = set()
        self._visited: set[bytes] = set()
        self._pages = 0
        self._barren = 0
        self._invalid = 0

    async def read(self) -> AsyncIterator[list[str]]:
        """Yields, for each page, the valid strings that no earlier page had. Raises RegistryError if a page fails."""
        async for new in self._read():
            yield [item for item in new if self._takes(item)]

    def _takes(self, item: str) -> bool:
        if self._valid(item):
            return True
        self._invalid += 1
        if self._invalid > INVALID_LIMIT:
            raise self._none(f"more than {INVALID_LIMIT} {self._key} that are not valid")
        self._skip(item)
        return False

    async def _read(self) -> AsyncIterator[list[str]]:
        size, answer = await self._first()
        page, link = self._items(answer), self._link(answer)
        yield self._new(page)
        full = len(page) if page and (len(page) == size or len(page) in _USUAL_CUTS) else None
        if link is None and full:
            async for rest in self._rest(page, asked=len(page) == size):
                yield rest
        async for rest in self._linked(link, full):
            yield rest

    async def _first(self) -> tuple[int | None, Answer]:
        """Returns the first page, with the first page size that the server accepts.

        A server may answer 429 or 5xx because it is busy, or because the page is too large for it. So this size gets
        retries for a short time, then each smaller size one try. Only then has the server all its time.
        """
        told: tuple[int | None, Answer] | None = None
        for place, size in self._sizes.all_from_here():
            busy = told is not None and told[1].status in TRANSIENT
            answer = await self._first_try(self._url(size), 0.0 if busy else _SHORT_SECONDS)
            if answer.status == 200:
                self._sizes.accept(place)
                return size, answer
            told = told if busy else (size, answer)
            if not self._sizes.next_after(place, answer.status):
                break
        else:
            self._sizes.note(answer.status)
        assert told is not None
        size, answer = told
        if answer.status in TRANSIENT and self._most_seconds > _SHORT_SECONDS:
            answer = await self._get(self._url(size))
        if answer.status == 200:
            return size, answer
        raise self._registry.complaint(answer)

    async def _first_try(self, url: str, seconds: float) -> Answer:
        """Returns the answer after so many seconds of retries at most; a server that does not answer gets all."""
        try:
            return await self._get(url, seconds=seconds)
        except RegistryError as error:
            if error.status is not None:
                raise
            return await self._get(url)

    async def _linked(self, link: _Link | None, full: int | None = None) -> AsyncIterator[list[str]]:
        """Yields the new strings of this link's page and of all pages that it leads to.

        `full` is the length of a full page, if known. If the last page is as long, more may follow without a link.
        """
        page: list[str] = []
        while link is not None:
            answer, page = await self._linked_page(link)
            yield self._new(page)
            link = self._link(answer)
        if page and len(page) == full and self.early_end is None:
            async for rest in self._after(len(page), page[-1]):
                yield rest

    async def _linked_page(self, link: _Link) -> tuple[Answer, list[str]]:
        """Returns the page of a link. Raises RegistryError if there is none.

        A link that names another server is first read as a link to the registry itself, which may know its own
        address wrongly. The other server, which the user does not name, gets one request without a login.
        """
        answer = await self._get(link.own)
        try:
            if answer.status != 200:
                raise self._registry.complaint(answer)
            return answer, self._items(answer)
        except RegistryError as error:
            if link.other is None:
                raise
            return await self._page_elsewhere(link, error)

    async def _page_elsewhere(self, link: _Link, own_error: RegistryError) -> tuple[Answer, list[str]]:
        reasons = [str(own_error).partition(": ")[0]]
        if link.other:
            try:
                answer = await asyncio.wait_for(self._get(link.other, retry=False), _FOREIGN_SECONDS)
                if answer.status == 200:
                    return answer, self._items(answer)
                reasons.append(f"the server of the link answers HTTP {answer.status}")
            except asyncio.TimeoutError:
                reasons.append("the server of the link does not answer")
            except RegistryError as error:
                reasons.append(str(error).partition(": ")[0])
        raise RegistryError(
            f"{self._registry.host} sends the header 'Link: {clean(link.header, 200)}', which leads to no page "
            f"({'; '.join(reasons)}): correct the address that the server has for itself (nginx: proxy_set_header "
            "Host $http_host), or name the images with --image-list FILE",
            error_class=ErrorClass.BAD_CONTENT,
        )

    async def _rest(self, page: list[str], *, asked: bool) -> AsyncIterator[list[str]]:
        """Yields what comes after a full page without a link: nothing, or the rest of a list that the server cut.

        `crane registry serve` cuts a list, ignores `last`, and gives the whole list without `n`. Other servers have a
        largest page size and support `last`. So this tries no `n`, then larger pages, then `last`, until an answer is
        complete.

        `asked`: the page is as long as the driver asked for. A shorter page of a usual length may just be the whole
        list. So if the server ignores `last`, as `crane registry serve` does, that is no reason for doubt.
        """
        size = len(page)
        broken_link, self.early_end = self.early_end, None
        for greater in (None, size * 10, size * 100, size * 1000, _GREATEST_SIZE):
            answer, more = await self._guess(self._url(greater), retry=greater is None)
            if answer is None:
                break
            link = self._link(answer)
            yield self._new(more)
            async for rest in self._linked(link):
                yield rest
            if link is not None or (len(more) > size and len(more) != greater):
                return
            if greater is not None and len(more) < greater:
                break
        self.early_end = None
        doubt = broken_link or f"{self._path} has exactly {size} entries and no link to more"
        async for rest in self._after(size, page[-1], doubt, may_ignore=not (asked or broken_link)):
            yield rest

    async def _guess(self, url: str, *, retry: bool) -> tuple[Answer | None, list[str]]:
        """Returns the page at a URL that the server may well refuse, or (None, [])."""
        try:
            answer = await self._get(url, retry=retry)
            return (answer, self._items(answer)) if answer.status == 200 else (None, [])
        except RegistryError:
            if self._pages > PAGE_LIMIT:
                raise
            return None, []

    async def _after(
        self, size: int, last: str, doubt: str | None = None, *, may_ignore: bool = False
    ) -> AsyncIterator[list[str]]:
        """Yields the new strings of the pages after `last`, until a page has nothing new.

        `doubt` says why the list may be longer. It becomes `early_end` if the server does not obey `last`: if it
        refuses it, or ignores it although it may not.
        """
        while True:
            answer = await self._get(self._url(size, last))
            page = self._items(answer) if answer.status == 200 else []
            new = self._new(page)
            if not new:
                if doubt is not None and (answer.status != 200 or (page and not may_ignore)):
                    what = (
                        f"refuses 'last' (HTTP {answer.status})" if answer.status != 200 else "ignores 'last'"
                    )
                    self.early_end = f"{doubt}, and the server {what}"
                return
            yield new
            last, doubt = page[-1], None

    async def _get(self, url: str, *, retry: bool = True, seconds: float | None = None) -> Answer:
        self._pages += 1
        if self._pages > PAGE_LIMIT:
            raise self._endless(f"more than {PAGE_LIMIT} pages")
        self._visited.add(_mark(url))
        return await self._registry.request(
            "GET",
            url,
            max_bytes=self._max_bytes,
            retry=retry,
            retry_seconds=self._most_seconds if seconds is None else min(seconds, self._most_seconds),
        )

    def _url(self, size: int | None, last: str | None = None) -> str:
        query = [f"n={size}"] if size is not None else []
        if last is not None:
            query.append(f"last={quote(last.encode('utf-8', 'replace'), safe='')}")
        return f"{self._registry.url}{self._path}" + ("?" + "&".join(query) if query else "")

    def _link(self, answer: Answer) -> _Link | None:
        """Returns the link to the next page; None at the end, or if the link is not valid or repeats a page."""
        headers = answer.headers.getall("Link", [])
        target = next_link(headers)
        if not target:
            return None
        link = _resolved(self._registry.url, answer.url, target, ", ".join(headers))
        if link is None or _mark(link.own) in self._visited:
            self.early_end = f"the link to the next page of {self._path} " + (
                "is not valid" if link is None else "leads to a page that was read before"
            )
            return None
        return link

    def _items(self, answer: Answer) -> list[str]:
        """Returns the page's strings, duplicates included; null counts as an empty list.

        Raises RegistryError if the page holds no such list.
        """
        if sum(map(answer.body.count, (b",", b"[", b"{"))) > VALUE_LIMIT:
            raise self._none(f"more than {VALUE_LIMIT} values on a page")
        value = answer.json()
        fields = value if isinstance(value, dict) else {}
        # A server may leave out `tags` if there are none. An object without `tags` and `name` is not a list of tags.
        items = fields.get(self._key, [] if self._key == "tags" and "name" in fields else False)
        if items is None:
            return []
        if not isinstance(items, list):
            raise self._none(f"no list of {self._key}")
        return [item[:_LONGEST] if isinstance(item, str) else f"\0{type(item).__name__}" for item in items]

    def _new(self, page: list[str]) -> list[str]:
        new = [item for item in dict.fromkeys(page) if item not in self._seen]
        self._seen.update(new)
        self._barren = 0 if new else self._barren + 1
        if self._barren > BARREN_LIMIT:
            raise self._endless(f"{BARREN_LIMIT} pages in a row with nothing new")
        return new

    def _none(self, what: str) -> RegistryError:
        return RegistryError(
            f"{self._registry.host}{self._path} gives {what}: is this an OCI registry?",
            200,
            ErrorClass.BAD_CONTENT,
        )

    def _endless(self, reason: str) -> RegistryError:
        return RegistryError(
            f"{self._registry.host}: {self._path} does not end ({reason}): name the images with --image-list FILE",
            error_class=ErrorClass.BAD_CONTENT,
        )


def _mark(url: str) -> bytes:
    """Returns a hash to recognize a URL again. A server may send thousands of URLs of 16 KB each."""
    return sha256(url.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Link:
    """A link to a next page: `own` is its URL on the registry itself, `header` the text of the header.

    `other` is None if the link names just that URL. Else it is the URL that the link names, or empty if nobody is asked
    there: a wrong port of the same host.
    """

    own: str
    header: str
    other: str | None


def _resolved(base: str, page: str, target: str, header: str) -> _Link | None:
    """Resolves a link's target (RFC 3986); None if it is not valid.

    `v2/…` without its leading slash counts as `/v2/…`. Servers behind another server do not always know their own
    address: they send links with another scheme, port or host, or without the path that the registry is below.
    """
    try:
        url = URL(page).join(URL("/" + target if target.startswith("v2/") else target)).with_fragment(None)
        own = URL(base)
        if url.scheme not in ("http", "https") or not url.host or url.port is None:
            return None
        root, path = own.raw_path.rstrip("/"), url.raw_path
        below = path if path.startswith(f"{root}/") else root + path
        here = URL.build(
            scheme=own.scheme,
            authority=own.raw_authority,
            path=below,
            query_string=url.raw_query_string,
            encoded=True,
        )
    except ValueError:
        return None
    if url == here:
        return _Link(str(here), header, None)
    moved = url.host != own.host or url.origin() == own.origin()
    return _Link(str(here), header, str(url) if moved else "")

"""Reads the paged lists of a registry (distribution spec, "Content Discovery").

Servers page in many ways, some of them wrong. `Pages` handles them all and always comes to an end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from yarl import URL

from ..outcomes import ErrorClass
from .headers import next_link
from .registry import Answer, Registry, RegistryError

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
_REFUSED_SIZE: Final = frozenset({400, 416, 422})
# The usual page sizes of servers that cut a list at their own limit and give no link to the rest.
_USUAL_CUTS: Final = frozenset({50, 100, 200, 250, 500, 1000})

Log = Callable[[str], None]


class Sizes:
    """The page size that a server accepted, kept for its next list."""

    def __init__(self) -> None:
        self._index = 0

    @property
    def now(self) -> int | None:
        """The page size to ask for; None to ask for none."""
        return PAGE_SIZES[self._index]

    def smaller(self, refused: int | None) -> bool:
        """Moves on to the next size after the server refused this one. Returns False if there is none left."""
        if refused != self.now:
            return True
        if self._index + 1 == len(PAGE_SIZES):
            return False
        self._index += 1
        return True


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
    """

    def __init__(
        self,
        registry: Registry,
        wanted: PagedList,
        *,
        skip: Log,
        log: Log,
        sizes: Sizes | None = None,
        patience: float = 1.0,
    ) -> None:
        self._registry = registry
        self._path = wanted.path
        self._key = wanted.key
        self._valid = wanted.valid
        self._skip = skip
        self._log = log
        self._max_bytes = wanted.max_bytes
        self._sizes = sizes or Sizes()
        self._patience = patience
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
        if link is None and page and (len(page) == size or len(page) in _USUAL_CUTS):
            async for rest in self._rest(page):
                yield rest
        async for rest in self._linked(link):
            yield rest

    async def _first(self) -> tuple[int | None, Answer]:
        """Returns the first page, with the first page size that the server accepts."""
        while True:
            size = self._sizes.now
            answer = await self._get(self._url(size))
            if answer.status == 200:
                return size, answer
            if answer.status not in _REFUSED_SIZE or not self._sizes.smaller(size):
                raise self._registry.complaint(answer)

    async def _linked(self, link: str | None) -> AsyncIterator[list[str]]:
        """Yields the new strings of this link's page and of all pages that it leads to."""
        while link is not None:
            answer = await self._get(link)
            if answer.status != 200:
                raise self._registry.complaint(answer)
            yield self._new(self._items(answer))
            link = self._link(answer)

    async def _rest(self, page: list[str]) -> AsyncIterator[list[str]]:
        """Yields what comes after a full page without a link: nothing, or the rest of a list that the server cut.

        `crane registry serve` cuts a list, ignores `last`, and gives the whole list without `n`. Other servers have a
        largest page size and support `last`. So this tries no `n`, then larger pages, then `last`, until an answer is
        complete.
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
        """Yields the new strings of the pages after `last`, until a page has nothing new."""
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
        self._visited.add(_mark(url))
        seconds = None if self._patience == 1.0 else self._registry.retry_seconds * self._patience
        return await self._registry.request("GET", url, max_bytes=self._max_bytes, retry_seconds=seconds)

    def _url(self, size: int | None, last: str | None = None) -> str:
        query = [f"n={size}"] if size is not None else []
        if last is not None:
            query.append(f"last={quote(last.encode('utf-8', 'replace'), safe='')}")
        return f"{self._registry.url}{self._path}" + ("?" + "&".join(query) if query else "")

    def _link(self, answer: Answer) -> str | None:
        """Returns the URL of the next page; None at the end, or if the link is not valid or repeats a page."""
        target = next_link(answer.headers.getall("Link", []))
        if not target:
            return None
        link = _resolved(self._registry.url, answer.url, target)
        if link is None or _mark(link) in self._visited:
            self._log(
                f"{self._registry.host}: the link to the next page of {self._path} "
                + ("is not valid" if link is None else "leads to a page that was read before")
                + "; the list ends there"
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


def _resolved(base: str, page: str, target: str) -> str | None:
    """Resolves a link's target to a URL (RFC 3986); None if it is not valid.

    `v2/…` without its leading slash counts as `/v2/…`. Servers behind a TLS proxy send links to their own name with the
    other scheme. Such a link counts as a link to the registry itself, so that it gets the login.
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

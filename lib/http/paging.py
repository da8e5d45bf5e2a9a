"""Paged lists of a registry (distribution spec, "Content Discovery").

Servers page in many ways, and some wrongly; `Pages` takes them as they come and ends on each of them.
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
# So many pages in a row that bring nothing new are no catalog that will end.
BARREN_LIMIT: Final = 100
# What is asked for, best first: docker-registry refuses more than 1000, other servers less. None: no `n` at all.
PAGE_SIZES: Final[tuple[int | None, ...]] = (1000, 100, None, 10)
# A page of more values is refused before it is read: in memory an empty list takes twenty times its text.
VALUE_LIMIT: Final = 1_000_000
# A list with so many strings that are no names is another kind of list, and they are kept to be told apart.
INVALID_LIMIT: Final = 10_000
# Of a string so many characters are kept; no name is as long.
_LONGEST: Final = 300
_GREATEST_SIZE: Final = 10_000_000
_REFUSED_SIZE: Final = frozenset({400, 416, 422})
# Greatest pages of servers that cut a list there, whatever is asked for, and give no link.
_USUAL_CUTS: Final = frozenset({50, 100, 200, 250, 500, 1000})

Log = Callable[[str], None]


class Sizes:
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


@dataclass(frozen=True, slots=True)
class PagedList:
    """A list of strings that a registry gives in pages: its path, and the key of the strings in each page's JSON.

    `valid` says which strings the grammar allows. A page has at most `max_bytes`.
    """

    path: str
    key: str
    valid: Callable[[str], bool]
    max_bytes: int


class Pages:
    """Reads one paged list: `read` gives the new valid strings of each page until nothing new comes.

    `skip` gets each that is not valid, cut to 300 characters. What is kept is bounded, whatever the server sends,
    as long as the caller bounds the valid ones.
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
        """The valid strings of each page that no page before had. RegistryError, with its status, for a failed page."""
        async for new in self._read():
            yield [item for item in new if self._takes(item)]

    def _takes(self, item: str) -> bool:
        if self._valid(item):
            return True
        self._invalid += 1
        if self._invalid > INVALID_LIMIT:
            raise self._none(f"more than {INVALID_LIMIT} {self._key} that no registry can have")
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
        self._visited.add(_mark(url))
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
        if link is None or _mark(link) in self._visited:
            self._log(
                f"{self._registry.host}: the link to the next page of {self._path} "
                + ("is not valid" if link is None else "leads to a page that was read already")
                + "; the list ends there"
            )
            return None
        return link

    def _items(self, answer: Answer) -> list[str]:
        """The page's strings as they are, repeated ones too; null is an empty list."""
        if sum(map(answer.body.count, (b",", b"[", b"{"))) > VALUE_LIMIT:
            raise self._none(f"more than {VALUE_LIMIT} values on a page")
        value = answer.json()
        fields = value if isinstance(value, dict) else {}
        # A server may leave the tags out where there are none; an object without either is something else.
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
    """What is kept of a URL to know it again; a server may give thousands of 16 KB each."""
    return sha256(url.encode()).digest()


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

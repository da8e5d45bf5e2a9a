"""However a server cuts, repeats and shuffles a list into pages: each name comes once, and the reading ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from lib.http.paging import PagedList, Pages
from lib.http.registry import Answer, RegistryError
from lib.names import valid_repository

NAMES = st.from_regex(r"[a-z0-9]{1,3}(/[a-z0-9]{1,3}){0,2}", fullmatch=True)
JUNK = st.text(max_size=5).filter(lambda text: not valid_repository(text))
URL = "http://registry:5000"


class Linked:
    """A registry whose pages link to each other: the page at index i leads to the one at `links[i]`, or nowhere."""

    url, host, retry_seconds = URL, "registry:5000", 1.0

    def __init__(self, pages: Sequence[Sequence[object]], links: Sequence[int | None]) -> None:
        self._pages = pages
        self._links = links
        self.asked: list[int] = []

    async def request(self, _method: str, url: str, **_: object) -> Answer:
        number = int(url.rpartition("page=")[2] or 0) if "page=" in url else 0
        self.asked.append(number)
        link = self._links[number]
        headers = {"Link": f'</v2/_catalog?page={link}>; rel="next"'} if link is not None else {}
        body = json.dumps({"repositories": self._pages[number]}).encode()
        return Answer(200, CIMultiDictProxy(CIMultiDict(headers)), body, url)


def read(registry: Linked) -> tuple[list[str], list[str]]:
    """The names in the order in which they came, and what was left out."""
    skipped: list[str] = []

    async def run() -> list[str]:
        pages = Pages(
            registry,  # type: ignore[arg-type]
            PagedList("/v2/_catalog", "repositories", valid_repository, 1 << 20),
            skip=skipped.append,
        )
        return [name async for page in pages.read() for name in page]

    return asyncio.run(run()), skipped


@st.composite
def cut(draw: st.DrawFn) -> tuple[set[str], list[list[str]]]:
    """A catalog in pages, in any order, with names that come again; page 0 is the first that is asked for."""
    names = draw(st.lists(NAMES, unique=True, min_size=1, max_size=30))
    again = draw(st.lists(st.sampled_from(names), max_size=10))
    order = draw(st.permutations([*names, *again]))
    edges = sorted(draw(st.lists(st.integers(0, len(order)), max_size=8)))
    pages = [order[start:end] for start, end in zip([0, *edges], [*edges, len(order)], strict=True)]
    return set(names), pages


@given(cut())
def test_any_partition_gives_each_name_once(catalog: tuple[set[str], list[list[str]]]) -> None:
    names, pages = catalog
    registry = Linked(pages, [*range(1, len(pages)), None])
    found, skipped = read(registry)
    assert sorted(found) == sorted(names)
    assert skipped == []
    assert registry.asked == list(range(len(pages)))


@given(st.data(), cut())
def test_any_web_of_links_ends_and_gives_what_was_seen_once(
    data: st.DataObject, catalog: tuple[set[str], list[list[str]]]
) -> None:
    """Loops, links back and links to the page itself."""
    _, pages = catalog
    count = len(pages)
    links = data.draw(st.lists(st.none() | st.integers(0, count - 1), min_size=count, max_size=count))
    registry = Linked(pages, links)
    found, _ = read(registry)
    assert len(found) == len(set(found))
    assert set(found) == {name for number in set(registry.asked) for name in pages[number]}
    assert len(registry.asked) <= count + 1  # page 0 may be asked for by its link as well


@given(st.lists(NAMES | JUNK | st.none() | st.integers() | st.lists(st.integers(), max_size=2), max_size=20))
def test_what_is_no_name_is_left_out_and_told(items: list[object]) -> None:
    found, skipped = read(Linked([items], [None]))
    texts = [item for item in items if isinstance(item, str)]
    kinds = {type(item) for item in items if not isinstance(item, str)}
    assert found == list(dict.fromkeys(filter(valid_repository, texts)))
    assert len(skipped) == len({text for text in texts if not valid_repository(text)}) + len(kinds)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON | st.fixed_dictionaries({"repositories": JSON}))
def test_any_page_is_a_list_or_one_error(value: object) -> None:
    class Any(Linked):
        async def request(self, _method: str, url: str, **_: object) -> Answer:
            return Answer(200, CIMultiDictProxy(CIMultiDict()), json.dumps(value).encode(), url)

    try:
        found, message = read(Any([], []))[0], "is this an OCI registry?"
    except RegistryError as error:
        found, message = [], str(error)
    assert message.isprintable()
    assert "is this an OCI registry?" in message
    assert all(map(valid_repository, found))

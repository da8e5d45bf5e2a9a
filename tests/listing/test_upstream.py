"""Listing an upstream: what is taken and left out, faults, bounds."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections import Counter
from collections.abc import Sequence

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from lib.http import paging
from lib.http.credentials import Credentials
from lib.http.paging import PagedList, Pages
from lib.http.registry import Answer, Registry, RegistryError, open_session
from lib.listing import upstream
from lib.listing.upstream import Repository, list_repositories
from lib.names import valid_repository
from tests.doubles.catalog import Catalog, serving
from tests.support.listing import catalog_only, is_safe, listed, listing, many, names_of, tags_only

NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


def test_endless_tags_of_one_repository_leave_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_LIMIT", 20)
    count = 0

    def tags(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        link = {"Link": f"<list?{count}>; rel=next"} if "/bad/" in request.path else {}
        return web.json_response({"tags": [f"v{count}"]}, headers=link)

    repositories, _, log = listing(catalog_only(tags, "bad", "good"))
    assert names_of(repositories) == ["good"]
    assert [line for line in log if "does not end" in line]


def test_endless_names_that_are_none_end_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are remembered to be told apart, so there must be an end to them."""
    monkeypatch.setattr(paging, "INVALID_LIMIT", 500)
    count = 0

    def catalog(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        names = [f"\U0001f600{count}-{i}" for i in range(100)]
        return web.json_response(
            {"repositories": names}, headers={"Link": f"</v2/_catalog?{count}>; rel=next"}
        )

    with pytest.raises(RegistryError, match="more than 500 repositories that are not valid"):
        listing(tags_only(catalog))
    assert count == 6


def test_tags_that_are_none_without_end_leave_the_other_repositories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "INVALID_LIMIT", 50)

    def tags(request: web.Request) -> web.Response:
        wrong = [f"-{i}" for i in range(60)] if "/bad/" in request.path else []
        return web.json_response({"tags": ["v1", *wrong]})

    repositories, _, log = listing(catalog_only(tags, "bad", "good"))
    assert names_of(repositories) == ["good"]
    assert [line for line in log if line.startswith("skipped: bad: ") and "more than 50 tags" in line]


@pytest.mark.parametrize("value", ["[]", "{}", "1", '""', '"aa"'])
def test_a_page_of_millions_of_values_is_not_read(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory each is many times as long as in JSON."""
    monkeypatch.setattr(paging, "VALUE_LIMIT", 1000)
    body = f'{{"repositories": [{",".join([value] * 1001)}]}}'
    with pytest.raises(RegistryError, match="more than 1000 values on a page"):
        listing(tags_only(lambda _: web.Response(text=body)))


def test_of_a_long_string_little_is_kept() -> None:
    handler = tags_only(
        lambda _: web.json_response({"repositories": ["A" * 1_000_000, "a" * 300, "a" * 255]})
    )
    skipped: list[str] = []

    async def run() -> list[str]:
        async with serving(handler) as server, open_session() as session:
            registry = Registry(server.url, session, Credentials({}, {}), log=print)
            catalog = Pages(
                registry,
                PagedList("/v2/_catalog", "repositories", valid_repository, 2 << 20),
                skip=skipped.append,
            )
            return [name async for page in catalog.read() for name in page]

    assert asyncio.run(run()) == ["a" * 255]
    assert [len(name) for name in skipped] == [300, 300]


def test_bad_links_of_many_repositories_are_told_twenty_times_and_warned_of_once() -> None:
    def tags(_: web.Request) -> web.Response:
        return web.json_response({"tags": ["v1"]}, headers={"Link": "<ftp://x/>; rel=next"})

    repositories, _, log = listing(catalog_only(tags, *(f"a{i}" for i in range(30))))
    assert len(repositories) == 30
    assert len(log) == 22
    assert "30 lists of tags that end early in all, of which 20 are shown" in log[-2]
    assert "the lists of tags of 30 of 30 repositories end early" in log[-1]


def test_too_many_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "TAG_LIMIT", 50)
    with pytest.raises(RegistryError, match="more than 50 tags"):
        listing(Catalog({f"a{i}": [f"v{t}" for t in range(20)] for i in range(3)}))


# --- content


def test_what_is_left_out() -> None:
    content: dict[str, Sequence[object] | int | None] = {
        "good": ["v1", "v1", "v2"],
        "empty": [],
        "null": None,
        "gone": 404,
        "secret": 403,
        "broken": 500,
        "A/upper": ["v1"],
        "../up": ["v1"],
        "evil\x1b[31m\nFORGED": ["v1"],
        "tags": ["ok", "-x", "a\tb", 7, None, ["l"], "--help"],
    }
    repositories, _, log = listing(Catalog(content))
    assert repositories == [Repository("good", ("v1", "v2")), Repository("tags", ("ok",))]
    text = "\n".join(log)
    assert all(line.isprintable() for line in log)
    for words in (
        "not a repository name: A/upper",
        "../up",
        "evil",
        "gone: it is gone (404)",
        "forbids",
        "answers 500",
    ):
        assert words in text
    assert text.count("not a tag of tags") == 6
    assert "repositories without tags: 2 of 7" in text


def test_duplicates_are_listed_once() -> None:
    handler = tags_only(lambda _: web.json_response({"repositories": ["b", "a", "b", "a"]}))
    repositories, server, _ = listing(handler)
    assert names_of(repositories) == ["a", "b"]
    assert len(server.seen) == 3


def test_bad_names_are_shown_up_to_twenty_and_then_counted() -> None:
    names = [f"BAD{i}" + "x" * 60_000 for i in range(30)] + ["good"]
    repositories, _, log = listing(tags_only(lambda _: web.json_response({"repositories": names})))
    assert names_of(repositories) == ["good"]
    assert len(log) == 21
    assert "30 repository names outside" in log[-1]
    assert max(map(len, log)) < 200


@pytest.mark.parametrize("body", [{"repositories": None}, {"repositories": []}])
def test_an_empty_catalog(body: object) -> None:
    assert listing(tags_only(lambda _: web.json_response(body)))[0] == []


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "3",
        '"x"',
        '{"repositories": "abc"}',
        '{"repositories": {}}',
        "<html>",
        "",
        '{"errors": []}',
        "[" * 99999,
    ],
)
def test_a_catalog_that_is_none(body: str) -> None:
    with pytest.raises(RegistryError, match="is this an OCI registry"):
        listing(tags_only(lambda _: web.Response(text=body)))


@pytest.mark.parametrize(
    "body", ["<html>", "{}", '{"tags": "v1"}', "[" * 99999, '{"tags": ["' + "x" * (5 << 20) + '"]}']
)
def test_tags_that_are_none_leave_the_others(body: str) -> None:
    def tags(request: web.Request) -> web.Response:
        return web.Response(text=body if "/bad/" in request.path else '{"tags": ["v1"]}')

    repositories, _, log = listing(catalog_only(tags, "bad", "good"))
    assert names_of(repositories) == ["good"]
    assert log[0].startswith("skipped: bad: ")


@pytest.mark.parametrize("body", ['{"name": "a"}', '{"name": "a", "tags": null}', '{"tags": []}'])
def test_no_tags(body: str) -> None:
    repositories, _, log = listing(catalog_only(lambda _: web.Response(text=body)))
    assert (repositories, log) == ([], ["repositories without tags: 1 of 1"])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "has no catalog"),
        (405, "has no catalog"),
        (501, "has no catalog"),
        (401, "needs a login"),
        (403, "forbids"),
    ],
)
def test_no_catalog_names_the_image_list(status: int, words: str) -> None:
    with pytest.raises(RegistryError, match=f"{words}.*--image-list") as caught:
        listing(tags_only(lambda _: web.Response(status=status)))
    assert caught.value.status == status


@pytest.mark.parametrize("status", [401, 403, 500])
def test_tags_that_are_all_refused_are_an_error(status: int) -> None:
    with pytest.raises(RegistryError, match="no repository's tags can be listed") as caught:
        listing(Catalog({f"a{i}": status for i in range(3)}))
    assert caught.value.status == status


def test_many_broken_repositories_do_not_take_hours() -> None:
    """Once a few have failed in spite of many requests, each of the others gets one."""
    content: dict[str, Sequence[object] | int | None] = {f"bad{i:03}": 503 for i in range(300)}
    repositories, server, log = listing(
        Catalog({**content, "good": ["v1"]}), retry_seconds=1.0, concurrency=8
    )
    assert names_of(repositories) == ["good"]
    asked = Counter(each.target.partition("?")[0] for each in server.seen)
    assert sum(count > 1 for count in asked.values()) < 50
    assert len(log) == 21


# --- faults of the upstream


def test_one_answer_in_three_is_429() -> None:
    catalog = Catalog(many(40), greatest=10)
    count = 0

    async def limited(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return (
            web.Response(status=429, headers={"Retry-After": "0"})
            if count % 3 == 0
            else await catalog(request)
        )

    repositories, _, log = listing(limited, retry_seconds=20.0)
    assert (names_of(repositories), log) == (list(many(40)), [])


def test_an_upstream_that_dies_is_one_clear_line() -> None:
    catalog = Catalog(many(40))
    count = 0

    async def dying(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count > 20 and request.transport is not None:
            request.transport.abort()
        return await catalog(request)

    with pytest.raises(RegistryError, match=r"closed the connection.*\(after \d+ of 40 repositories\)"):
        listing(dying, concurrency=4)


def test_a_cancelled_listing_ends_at_once_with_its_tasks() -> None:
    async def run() -> tuple[int, int]:
        async with serving(Catalog(many(500), delay=0.2)) as server:
            task = asyncio.ensure_future(listed(server.url))
            while len(server.seen) < 20:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.25)
            asked = len(server.seen)
            await asyncio.sleep(0.3)
            return asked, len(server.seen) - asked

    asked, later = asyncio.run(run())
    assert asked < 500
    assert later == 0


def test_requests_in_flight_are_bounded() -> None:
    now = most = 0
    catalog = Catalog(many(60), delay=0.01)

    async def counted(request: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            return await catalog(request)
        finally:
            now -= 1

    listing(counted, concurrency=6)
    assert most == 6


def test_a_long_listing_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listing(Catalog(many(3)))[2] == []
    monkeypatch.setattr(upstream, "_PROGRESS_SECONDS", 0.0)
    _, _, log = listing(Catalog(many(3)))
    assert log == [f"listed the tags of {done} of 3 repositories" for done in (1, 2, 3)]


def test_memory_and_tasks_are_bounded() -> None:
    """Memory for the listing itself; the requests are left out, to be quick."""
    count = 20_000
    most_tasks = 0

    class Instant:
        url, host, retry_seconds = "http://x", "x", 1.0

        async def request(self, _method: str, url: str, **_: object) -> Answer:
            nonlocal most_tasks
            if "_catalog" in url:
                body = json.dumps({"repositories": [f"team/app-{i:06}" for i in range(count)]}).encode()
            else:
                body = b'{"tags": ["latest", "v1"]}'
                most_tasks = max(most_tasks, len(asyncio.all_tasks()) if "00/" in url else 0)
            return Answer(200, NO_HEADERS, body, url)

    tracemalloc.start()
    try:
        repositories = asyncio.run(list_repositories(Instant(), log=print))  # type: ignore[arg-type]
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(repositories) == count
    assert most_tasks < 40
    assert kept < 8 << 20
    assert peak < 16 << 20


# --- any server


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.booleans(), lambda inner: st.lists(inner), max_leaves=20
    )
)
def test_any_json_is_a_list_or_an_error(value: object) -> None:
    async def handle(request: web.Request) -> web.Response:
        key = "tags" if "tags" in request.path else "repositories"
        return web.json_response({key: value})

    log: list[str] = []
    try:
        repositories, _, log = listing(handle)
        assert names_of(repositories) == sorted(set(names_of(repositories)))
    except RegistryError as error:
        log = [str(error)]
    assert all(is_safe(line) for line in log)

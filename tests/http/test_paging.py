"""Paged lists: in all the ways that servers page, well and badly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.http import paging
from lib.http.credentials import Credentials
from lib.http.registry import Registry, RegistryError, open_session
from lib.lab.servers import crane_registry, docker_registry
from lib.listing import upstream
from lib.listing.upstream import Repository
from tests.doubles.catalog import Catalog, Server, no_link, serving
from tests.support.images import push, tag_again
from tests.support.listing import catalog_targets, listed, listing, many, names_of, tags_only
from tests.support.programs import or_skip

LINKS: Mapping[str, Callable[[str, int, str], str]] = {
    "from the root": lambda path, size, last: f'<{path}?n={size}&last={last}>; rel="next"',
    "no quotes, other order": lambda path, size, last: f"<{path}?last={last}&n={size}>;rel=next",
    "upper case": lambda path, size, last: f'<{path}?n={size}&last={last}>; REL="NEXT"',
    "single quotes": lambda path, size, last: f"<{path}?n={size}&last={last}>; rel='next'",
    "relative": lambda path, size, last: f'<{path.rpartition("/")[2]}?n={size}&last={last}>; rel="next"',
    "relative to the root, without its slash": lambda path, size, last: (
        f"<{path[1:]}?n={size}&last={last}>; rel=next"
    ),
    "query alone": lambda path, size, last: f'<?n={size}&last={last}>; rel="next"',
    "escaped": lambda path, size, last: f'<{path}?n={size}&last={last.replace("/", "%2F")}>; rel="next"',
    "with others": lambda path, size, last: (
        f'</v2/x>; rel="prev"; title="a, <b>; rel=next", <{path}?n={size}&last={last}>; type=x; rel="last next"'
    ),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS.keys())
def test_links(link: Callable[[str, int, str], str]) -> None:
    content = {f"team/app-{i}": [f"v{t}" for t in range(7)] for i in range(10)}
    repositories, _, _ = listing(Catalog(content, link=link, greatest=3))
    assert repositories == [Repository(name, tuple(tags)) for name, tags in content.items()]


@pytest.mark.parametrize("absolute", ["{url}", "https://{host}", "//{host}"])
def test_absolute_links_to_the_registry_itself(absolute: str) -> None:
    """A server behind a TLS proxy may write the other scheme; the login goes along."""

    async def run() -> list[str]:
        base = ""

        def link(path: str, size: int, last: str) -> str:
            return f'<{base}{path}?n={size}&last={last}>; rel="next"'

        catalog = Catalog(many(5), link=link, greatest=2)

        async def guarded(request: web.Request) -> web.StreamResponse:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            return await catalog(request)

        async with serving(guarded) as server:
            base = absolute.format(url=server.url, host=server.host)
            login = {"auths": {server.host: {"username": "bob", "password": "pw"}}}
            return names_of(
                await listed(server.url, credentials=Credentials({Path("config.json"): login}, {}))
            )

    assert asyncio.run(run()) == list(many(5))


def test_a_link_to_another_server_gets_no_login() -> None:
    """Only if the registry itself has no such page is the other server asked."""

    async def run() -> tuple[list[str], list[str | None]]:
        async def elsewhere(_request: web.Request) -> web.Response:
            return web.json_response({"repositories": ["b"]})

        async def guarded(request: web.Request) -> web.Response:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if "page" in request.query:
                return web.Response(status=404)
            if "_catalog" in request.path:
                link = f'<{named(other)}/v2/_catalog?page=2>; rel="next"'
                return web.json_response({"repositories": ["a"]}, headers={"Link": link})
            return web.json_response({"tags": ["v1"]})

        def named(server: Server) -> str:
            return server.url.replace("127.0.0.1", "localhost")

        async with serving(elsewhere) as other, serving(guarded) as server:
            hosts = {key: {"username": "bob", "password": "pw"} for key in (server.host, named(other))}
            repositories = await listed(
                server.url, credentials=Credentials({Path("config.json"): {"auths": hosts}}, {})
            )
            return names_of(repositories), [each.authorization for each in other.seen]

    names, sent = asyncio.run(run())
    assert (names, sent) == (["a", "b"], [None])


@pytest.mark.parametrize(
    ("habits", "count"),
    [
        ({"link": no_link, "knows_last": False, "shuffled": True}, 2500),  # crane registry serve
        ({"link": no_link, "knows_last": False, "shuffled": True}, 1000),
        ({"link": no_link, "greatest": 1000}, 2500),
        ({"link": no_link, "greatest": 1000}, 2000),
        ({"link": no_link, "greatest": 1000, "without_n": 100}, 2500),
        ({"link": no_link, "without_n": 1000}, 2500),
        ({"link": no_link, "refused_over": 1000, "without_n": 100}, 2500),
        ({"link": no_link, "refused_over": 100, "without_n": 100}, 250),
        ({"link": no_link, "greatest": 100}, 250),  # shorter than what was asked for
        ({"refused_over": 1000, "without_n": 100}, 2500),  # docker-registry
        ({"refused_over": 500}, 250),
        ({"refused_over": 50, "without_n": 20}, 250),
        ({"refused_over": 20, "without_n": 20}, 250),
        ({"greatest": 10}, 250),
    ],
)
def test_servers_page_in_many_ways(habits: dict[str, object], count: int) -> None:
    catalog = Catalog(dict.fromkeys(many(count)) | {"zz": ["v1"]}, **habits)  # type: ignore[arg-type]
    seen: list[str] = []

    async def run() -> list[str]:
        async with serving(catalog) as server, open_session() as session:
            registry = Registry(server.url, session, Credentials({}, {}), log=seen.append)
            return await upstream._names(registry, seen.append, seen.append)

    assert asyncio.run(run()) == [*many(count), "zz"]
    assert seen == []


@pytest.mark.parametrize(
    "habits", [{}, {"link": no_link, "greatest": 100}, {"refused_over": 7, "without_n": 3}]
)
def test_tags_are_paged_as_well(habits: dict[str, object]) -> None:
    tags = [f"v{i}" for i in range(230)]
    repositories, _, _ = listing(Catalog({"a": tags}, **habits))  # type: ignore[arg-type]
    assert repositories == [Repository("a", tuple(tags))]


def test_a_refused_page_size_is_remembered_for_other_repositories() -> None:
    content = {f"a{i}": ["v1"] for i in range(20)}
    _, server, _ = listing(Catalog(content, refused_over=100), concurrency=1)
    assert sum("n=1000" in target for target in server.targets()) == 2


def test_a_whole_list_takes_one_request() -> None:
    _, server, _ = listing(Catalog(many(7)))
    assert len(server.seen) == 8
    assert catalog_targets(server) == ["/v2/_catalog?n=1000"]


@pytest.mark.parametrize("target", ["/v2/_catalog?n=1000", "/v2/_catalog?b", "/v2/_catalog?a"])
def test_a_link_that_loops_ends_the_list(target: str) -> None:
    def catalog(request: web.Request) -> web.Response:
        name = {"a": "x/a", "b": "x/b"}.get(request.query_string, "x/first")
        following = {"x/first": "/v2/_catalog?a", "x/a": "/v2/_catalog?b"}.get(name, target)
        return web.json_response({"repositories": [name]}, headers={"Link": f"<{following}>; rel=next"})

    repositories, server, log = listing(tags_only(catalog))
    assert names_of(repositories) == ["x/a", "x/b", "x/first"]
    assert len(catalog_targets(server)) == 3
    assert [line for line in log if "read before" in line]


@pytest.mark.parametrize("target", ["http://[", "ftp://x/", "http://h:p/", "javascript:alert(1)", "//"])
def test_a_link_that_is_none_ends_the_list(target: str) -> None:
    def catalog(_: web.Request) -> web.Response:
        return web.json_response({"repositories": ["a"]}, headers={"Link": f"<{target}>; rel=next"})

    repositories, _, log = listing(tags_only(catalog))
    assert names_of(repositories) == ["a"]
    assert "the list ends there" in log[0]


@pytest.mark.parametrize("status", [404, 400, 503])
def test_a_page_that_is_lost_is_an_error_and_no_short_list(status: int) -> None:
    def catalog(request: web.Request) -> web.Response:
        if request.query_string == "b":
            return web.Response(status=status)
        return web.json_response({"repositories": ["a"]}, headers={"Link": "</v2/_catalog?b>; rel=next"})

    with pytest.raises(RegistryError) as caught:
        listing(tags_only(catalog))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("grows", "reason"),
    [(False, "nothing new"), (True, "more than 200 pages"), (None, "more than 2000 repositories")],
)
def test_endless_pages(grows: bool | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_LIMIT", 200)
    monkeypatch.setattr(upstream, "REPOSITORY_LIMIT", 2000)
    count = 0

    def catalog(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        names = ["a"] if grows is False else [f"a{count}"] if grows else [f"a{count}-{i}" for i in range(900)]
        return web.json_response(
            {"repositories": names}, headers={"Link": f"</v2/_catalog?{count}>; rel=next"}
        )

    with pytest.raises(RegistryError, match=reason) as caught:
        listing(tags_only(catalog))
    assert "--image-list" in str(caught.value)


# --- random servers


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(0, 40),
    greatest=st.none() | st.integers(1, 15),
    without_n=st.none() | st.integers(1, 15),
    refused_over=st.none() | st.integers(10, 2000),
    link=st.sampled_from([*LINKS.values()]),
    size=st.sampled_from([5, 10, 1000]),
)
def test_every_page_is_found(
    count: int,
    greatest: int | None,
    without_n: int | None,
    refused_over: int | None,
    link: Callable[[str, int, str], str],
    size: int,
) -> None:
    names = sorted(many(count))
    catalog = Catalog(dict.fromkeys(names), link, greatest, refused_over, without_n)

    async def run() -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paging, "PAGE_SIZES", (size, 10, None))
            async with serving(catalog) as server, open_session() as session:
                registry = Registry(server.url, session, Credentials({}, {}), log=print)
                return await upstream._names(registry, print, print)

    assert asyncio.run(run()) == names


# --- the real registries


def push_empty(host: str, name: str, *tags: str) -> None:
    """An image without layers, under these tags."""
    image = push(host, name, tags[0])
    for tag in tags[1:]:
        tag_again(host, image, tag)


def check_real(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"team/app-{i:02}" for i in range(25)]
    random.Random(1).shuffle(names)
    for name in names:
        push_empty(host, name, "v1", "v2")
    for sizes in [(1000, None), (10, None), (25, None), (7, None), (None,)]:
        monkeypatch.setattr(paging, "PAGE_SIZES", sizes)
        repositories = asyncio.run(listed(f"http://{host}"))
        assert names_of(repositories) == sorted(names), sizes
        assert {tuple(sorted(each.tags)) for each in repositories} == {("v1", "v2")}


def test_crane_registry_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    with or_skip(crane_registry()) as server:
        check_real(server.address, monkeypatch)


def test_docker_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    with or_skip(docker_registry()) as server:
        check_real(server.address, monkeypatch)
        monkeypatch.setattr(paging, "PAGE_SIZES", (5000, 10, None))
        assert len(asyncio.run(listed(server.url))) == 25

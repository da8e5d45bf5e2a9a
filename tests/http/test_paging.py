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
from tests.doubles.catalog import Catalog, Handler, Server, no_link, sending, serving
from tests.support.images import push, tag_again
from tests.support.listing import (
    catalog_only,
    catalog_targets,
    listed,
    listing,
    many,
    names_of,
    tags_only,
)
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
    "without brackets": lambda path, size, last: f'{path}?n={size}&last={last}; rel="next"',
    "without a relation": lambda path, size, last: f"<{path}?n={size}&last={last}>",
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


# --- links that name another address


@pytest.mark.parametrize(
    "base",
    [
        "http://127.0.0.1:1",  # nginx with `Host $host` in front of a server on another port
        "http://127.0.0.1",
        "http://registry.invalid:5000",
        "https://registry.invalid",
        "//registry.invalid",
        "http://192.0.2.1:5000",  # nobody answers there
    ],
)
def test_a_link_with_a_wrong_port_or_host_is_read_from_the_registry_itself(base: str) -> None:
    def link(path: str, size: int, last: str) -> str:
        return f'<{base}{path}?n={size}&last={last}>; rel="next"'

    content = {f"team/app-{i:02}": [f"v{t}" for t in range(5)] for i in range(10)}
    repositories, server, log = listing(Catalog(content, link=link, greatest=2))
    assert repositories == [Repository(name, tuple(tags)) for name, tags in content.items()]
    assert (log, len(catalog_targets(server))) == ([], 5)


@pytest.mark.parametrize("base", ["http://127.0.0.1:1", "http://nobody.localhost:1"])
def test_a_link_that_leads_nowhere_is_one_line_that_names_the_header(base: str) -> None:
    target = f"{base}/v2/_catalog?page=2"

    def catalog(request: web.Request) -> web.Response:
        if "page" in request.query:
            return web.Response(status=404)
        return web.json_response({"repositories": ["a"]}, headers={"Link": f'<{target}>; rel="next"'})

    with pytest.raises(RegistryError) as caught:
        listing(tags_only(catalog), retry_seconds=600.0)
    told = str(caught.value)
    assert f"sends the header 'Link: <{target}>; rel=\"next\"', which leads to no page" in told
    assert "answers 404" in told
    assert "proxy_set_header Host $http_host" in told
    assert "--image-list" in told
    assert "\n" not in told


def test_a_server_that_only_a_link_names_is_asked_once_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paging, "_FOREIGN_SECONDS", 0.2)

    async def run() -> tuple[str, int]:
        async with sending(b"", hold=True) as silent:
            target = silent.url.replace("127.0.0.1", "localhost") + "/v2/_catalog?page=2"

            def catalog(request: web.Request) -> web.Response:
                page = web.json_response({"repositories": ["a"]}, headers={"Link": f"<{target}>; rel=next"})
                return web.Response(status=404) if "page" in request.query else page

            async with serving(tags_only(catalog)) as server:
                with pytest.raises(RegistryError) as caught:
                    await listed(server.url, retry_seconds=600.0)
            return str(caught.value), len(silent.seen)

    told, asked = asyncio.run(run())
    assert "the server of the link does not answer" in told
    assert asked == 1


def test_an_html_page_at_the_link_s_path_is_no_page() -> None:
    def tags(request: web.Request) -> web.Response:
        if request.query.get("page"):
            return web.Response(text="<html>welcome</html>", content_type="text/html")
        link = (
            {"Link": '<http://127.0.0.1:1/v2/x/tags/list?page=2>; rel="next"'}
            if "/bad/" in request.path
            else {}
        )
        return web.json_response({"tags": ["v1"]}, headers=link)

    repositories, _, log = listing(catalog_only(tags, "bad", "good"))
    assert names_of(repositories) == ["good"]
    assert (
        len([line for line in log if line.startswith("skipped: bad: ") and "sends the header 'Link:" in line])
        == 1
    )


# --- registries below a path


@pytest.mark.parametrize("link", [*LINKS.values()], ids=[*LINKS])
@pytest.mark.parametrize("prefix", ["", "/artifactory/api/docker/key"])
def test_a_registry_below_a_path(link: Callable[[str, int, str], str], prefix: str) -> None:
    """Its links may or may not have the path that it is below (`prefix`), which it need not know."""
    content = {f"team/app-{i}": ["v1", "v2", "v3"] for i in range(5)}

    def named(path: str, size: int, last: str) -> str:
        return link(path, size, last).replace("</v2/", f"<{prefix}/v2/").replace("<v2/", f"<{prefix}/v2/")

    catalog = Catalog(content, link=named, greatest=2)

    async def below(request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/artifactory/api/docker/key/v2/"):
            return web.Response(status=404)
        if "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        path = request.rel_url.with_path(request.path.removeprefix("/artifactory/api/docker/key"))
        return await catalog(request.clone(rel_url=path.with_query(request.query)))

    async def run() -> list[Repository]:
        async with serving(below) as server:
            login = {"auths": {server.host: {"username": "bob", "password": "pw"}}}
            credentials = Credentials({Path("config.json"): login}, {})
            return await listed(f"{server.url}/artifactory/api/docker/key", credentials=credentials)

    assert asyncio.run(run()) == [Repository(name, tuple(tags)) for name, tags in content.items()]


# --- page sizes that are refused


@pytest.mark.parametrize(
    "status", [400, 403, 405, 406, 409, 410, 413, 414, 416, 418, 422, 431, 451, 500, 501, 502, 507]
)
@pytest.mark.parametrize("most", [999, 100, 99])
def test_any_refusal_of_a_large_page_is_tried_again_with_a_smaller_one(status: int, most: int) -> None:
    catalog = Catalog({"a": [f"v{i}" for i in range(230)], "b": ["v1"]}, without_n=50)

    async def limited(request: web.Request) -> web.StreamResponse:
        if int(request.query.get("n", 0)) > most:
            body = {"errors": [{"code": "TOO_MANY_TAGS_REQUESTED", "message": "requested more than 100"}]}
            return web.json_response(body, status=status)
        return await catalog(request)

    repositories, _, log = listing(limited)
    assert repositories == [Repository("a", tuple(f"v{i}" for i in range(230))), Repository("b", ("v1",))]
    assert log == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_soon_asked_for_a_smaller_page(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a minute for its answer, but the page may just be too large for it."""
    monkeypatch.setattr(paging, "_SHORT_SECONDS", 0.3)
    catalog = Catalog({"a": [f"v{i}" for i in range(230)], "b": ["v1"]})

    async def limited(request: web.Request) -> web.StreamResponse:
        if int(request.query.get("n", 0)) > 100:
            return web.json_response({}, status=status)
        return await catalog(request)

    repositories, server, _ = listing(limited, retry_seconds=60.0, concurrency=1)
    assert repositories == [Repository("a", tuple(f"v{i}" for i in range(230))), Repository("b", ("v1",))]
    large = {each.target.partition("?")[0] for each in server.seen if "n=1000" in each.target}
    assert large == {"/v2/_catalog", "/v2/a/tags/list"}


def test_a_server_that_is_busy_for_longer_has_all_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "_SHORT_SECONDS", 0.0)
    catalog = Catalog({"a": ["v1"]})
    refused = iter([True] * 6)

    async def busy(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=503) if next(refused, False) else await catalog(request)

    repositories, server, _ = listing(busy, retry_seconds=60.0, concurrency=1)
    assert repositories == [Repository("a", ("v1",))]
    assert [each.target.partition("?")[2] for each in server.seen[:7]] == [
        *("n=1000", "n=100", "", "n=10"),
        *["n=1000"] * 3,
    ]


def test_quay_refuses_more_than_100_tags_and_pages_by_a_token() -> None:
    """413 for tags alone; the links of Quay have a token in place of `last`."""
    names = [f"org/app-{i:02}" for i in range(12)]
    tags = [f"v{i:03}" for i in range(250)]

    async def quay(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": names})
        size = int(request.query.get("n", 50))
        if size > 100:
            return web.json_response({"errors": [{"code": "TOO_MANY_TAGS_REQUESTED"}]}, status=413)
        begin = int(request.query.get("next_page", 0))
        more = {"Link": f'<{request.path}?n={size}&next_page={begin + size}>; rel="next"'}
        page = tags[begin : begin + size]
        return web.json_response({"tags": page}, headers=more if begin + size < len(tags) else {})

    repositories, server, log = listing(quay, concurrency=1)
    assert {each.name: each.tags for each in repositories} == dict.fromkeys(names, tuple(tags))
    assert log == []
    assert sum("tags/list?n=1000" in target for target in server.targets()) == 1


def test_a_refusal_that_no_size_cures_is_soon_believed() -> None:
    content: dict[str, list[str] | int] = {f"a{i:02}": 410 for i in range(20)}
    _, server, log = listing(Catalog({**content, "z": ["v1"]}), concurrency=1)
    assert len([line for line in log if line.startswith("skipped: a")]) == 20
    assert len(server.seen) < 20 * 2 + 3 * 4


def test_that_a_login_may_not_list_is_believed_after_three_repositories() -> None:
    content: dict[str, list[str] | int] = {f"a{i:02}": 403 for i in range(20)}
    _, server, log = listing(Catalog({**content, "z": ["v1"]}), concurrency=1)
    assert len([line for line in log if line.startswith("skipped: a")]) == 20
    assert len(server.seen) < 20 + 3 * 4


@pytest.mark.parametrize("status", [401, 404])
def test_what_has_nothing_to_do_with_the_size_is_asked_once(status: int) -> None:
    _, server, _ = listing(Catalog({"a": status, "b": ["v1"]}))
    assert sum("/v2/a/" in target for target in server.targets()) == 1


# --- lists that end early


def warned(handler: Handler) -> tuple[list[Repository], list[str], list[str]]:
    """What is listed, the warnings, and the log."""
    cautions: list[str] = []
    repositories, _, log = listing(handler, caution=cautions.append)
    return repositories, cautions, log


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/v2/_catalog?n=1000", "leads to a page that was read before"), ("ftp://x/", "is not valid")],
)
@pytest.mark.parametrize("count", [3, 50, 1000])
def test_a_link_that_leads_back_is_a_warning_with_the_count(target: str, reason: str, count: int) -> None:
    """A full page is asked for in other ways too; the bad link in each answer is told once."""
    names = [*many(count)]
    body = {"repositories": names}
    handler = tags_only(lambda _: web.json_response(body, headers={"Link": f"<{target}>; rel=next"}))
    repositories, cautions, log = warned(handler)
    assert len(repositories) == count
    assert len(cautions) == 1
    assert f"the link to the next page of /v2/_catalog {reason}" in cautions[0]
    assert f"the list ends there, after {count} repositories, and may be incomplete" in cautions[0]
    assert log == []


@pytest.mark.parametrize(
    ("answer", "cut", "what"),
    [
        (200, 1000, "ignores 'last'"),
        (400, 1000, "refuses 'last' (HTTP 400)"),
        (400, 100, "refuses 'last' (HTTP 400)"),
    ],
)
def test_pages_that_stop_without_reason_are_a_warning(answer: int, cut: int, what: str) -> None:
    """The server cuts its list, and gives no way to the rest."""

    def catalog(request: web.Request) -> web.Response:
        if "last" in request.query and answer != 200:
            return web.Response(status=answer)
        return web.json_response({"repositories": [*many(2 * cut + 50)][:cut]})

    repositories, cautions, log = warned(tags_only(catalog))
    assert (len(repositories), len(cautions), log) == (cut, 1, [])
    assert f"/v2/_catalog has exactly {cut} entries and no link to more, and the server {what}" in cautions[0]
    assert f"after {cut} repositories" in cautions[0]


@pytest.mark.parametrize("length", [100, 500])
def test_a_list_of_a_usual_length_is_whole_if_the_server_ignores_last(length: int) -> None:
    """As `crane registry serve` answers, the lab's upstream: its lists of 500 images are good ones."""

    def catalog(request: web.Request) -> web.Response:
        return web.json_response({"repositories": [*many(length)][: int(request.query.get("n", length))]})

    repositories, cautions, log = warned(tags_only(catalog))
    assert (len(repositories), cautions, log) == (length, [], [])


def test_a_link_that_is_lost_in_mid_list_is_made_up_for_by_last() -> None:
    def link(path: str, size: int, last: str) -> str | None:
        return None if "00199" in last else f'<{path}?n={size}&last={last}>; rel="next"'

    catalog = Catalog(many(350), link=link, greatest=100)
    repositories, cautions, _ = warned(catalog)
    assert (len(repositories), cautions) == (350, [])


def test_the_same_line_is_logged_once() -> None:
    """Names that differ only in what is not shown give the same line."""
    names = ["bad\tname", "bad\nname", "bad name", "X" * 200 + "a", "X" * 200 + "b", "good"]
    _, _, log = listing(tags_only(lambda _: web.json_response({"repositories": names})))
    assert len(log) == len(set(log)) == 3
    assert "5 repository names outside the distribution grammar in all, of which 2 are shown" in log[-1]


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

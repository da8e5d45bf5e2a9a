from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shutil
import socket
import subprocess
import sys
import time
import tracemalloc
import unicodedata
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from lib import upstream
from lib.http.credentials import Credentials
from lib.http.registry import Answer, Registry, RegistryError, open_session
from lib.upstream import ImageListError, Repository, list_repositories, parse_image_list
from tests.doubles.catalog import Catalog, Handler, Server, no_link, serving

SHA = "sha256:" + "a" * 64
NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


async def listed(
    url: str, log: list[str] | None = None, credentials: Credentials | None = None, **options: object
) -> list[Repository]:
    retry_seconds = options.pop("retry_seconds", 0.3)
    async with open_session() as session:
        registry = Registry(
            url,
            session,
            credentials or Credentials({}, {}),
            retry_seconds=retry_seconds,  # type: ignore[arg-type]
            log=lambda _line: None,
        )
        lines = log if log is not None else []
        return await list_repositories(registry, log=lines.append, **options)  # type: ignore[arg-type]


def listing(handler: Handler, **options: object) -> tuple[list[Repository], Server, list[str]]:
    """What the double is listed as, what it was asked, and the log."""

    async def run() -> tuple[list[Repository], Server, list[str]]:
        log: list[str] = []
        async with serving(handler) as server:
            return await listed(server.url, log, **options), server, log  # type: ignore[arg-type]

    return asyncio.run(run())


def names_of(repositories: Sequence[Repository]) -> list[str]:
    return [each.name for each in repositories]


def is_safe(line: str) -> bool:
    """No control characters, line breaks or halves of surrogate pairs."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in line)


def many(count: int) -> dict[str, list[str]]:
    return {f"team/app-{i:05}": ["v1"] for i in range(count)}


def catalog_targets(server: Server) -> list[str]:
    return [target for target in server.targets() if "_catalog" in target]


def tags_only(handler: Callable[[web.Request], web.Response]) -> Handler:
    """A registry whose catalog is answered by `handler`, and in which each repository has one tag."""

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("/tags/list"):
            return web.json_response({"name": "x", "tags": ["v1"]})
        return handler(request)

    return handle


def catalog_only(handler: Callable[[web.Request], web.Response], *names: str) -> Handler:
    """A registry with these repositories, whose tags are answered by `handler`."""

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/_catalog":
            return web.json_response({"repositories": names or ("a",)})
        return handler(request)

    return handle


# --- paging


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
    async def run() -> tuple[list[str], list[str | None]]:
        async def elsewhere(_request: web.Request) -> web.Response:
            return web.json_response({"repositories": ["b"]})

        async def guarded(request: web.Request) -> web.Response:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if "_catalog" in request.path:
                link = f'<{other.url}/v2/_catalog>; rel="next"'
                return web.json_response({"repositories": ["a"]}, headers={"Link": link})
            return web.json_response({"tags": ["v1"]})

        async with serving(elsewhere) as other, serving(guarded) as server:
            hosts = {each.host: {"username": "bob", "password": "pw"} for each in (server, other)}
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
            return await upstream._names(registry, seen.append)

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
    assert [line for line in log if "read already" in line]


@pytest.mark.parametrize("target", ["http://[", "ftp://x/", "http://h:p/", "javascript:alert(1)", "//"])
def test_a_link_that_is_none_ends_the_list(target: str) -> None:
    def catalog(_: web.Request) -> web.Response:
        return web.json_response({"repositories": ["a"]}, headers={"Link": f"<{target}>; rel=next"})

    repositories, _, log = listing(tags_only(catalog))
    assert names_of(repositories) == ["a"]
    assert "the list ends there" in log[0]


@pytest.mark.parametrize(
    ("grows", "reason"),
    [(False, "nothing new"), (True, "more than 200 pages"), (None, "more than 2000 repositories")],
)
def test_endless_pages(grows: bool | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PAGE_LIMIT", 200)
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


def test_endless_tags_of_one_repository_leave_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PAGE_LIMIT", 20)
    count = 0

    def tags(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        link = {"Link": f"<list?{count}>; rel=next"} if "/bad/" in request.path else {}
        return web.json_response({"tags": [f"v{count}"]}, headers=link)

    repositories, _, log = listing(catalog_only(tags, "bad", "good"))
    assert names_of(repositories) == ["good"]
    assert [line for line in log if "does not end" in line]


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
    assert "2 of 7 repositories have no tags" in text


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
    assert (repositories, log) == ([], ["1 of 1 repositories have no tags"])


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "has no catalog"),
        (405, "has no catalog"),
        (501, "has no catalog"),
        (401, "wants a login"),
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
    started = time.monotonic()
    content: dict[str, Sequence[object] | int | None] = {f"bad{i:03}": 503 for i in range(300)}
    repositories, _, log = listing(Catalog({**content, "good": ["v1"]}), retry_seconds=1.0, concurrency=8)
    assert names_of(repositories) == ["good"]
    assert time.monotonic() - started < 20
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
    async def run() -> tuple[float, int]:
        async with serving(Catalog(many(500), delay=0.2)) as server:
            task = asyncio.ensure_future(listed(server.url))
            await asyncio.sleep(0.6)
            before = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            took = time.monotonic() - before
            await asyncio.sleep(0.25)
            asked = len(server.seen)
            await asyncio.sleep(0.3)
            return took, len(server.seen) - asked

    took, later = asyncio.run(run())
    assert took < 5
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


def test_progress() -> None:
    calls: list[tuple[int, int]] = []
    listing(Catalog(many(9)), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 9) for done in range(1, 10)]


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


# --- hostile and random servers


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
            patch.setattr(upstream, "PAGE_SIZES", (size, 10, None))
            async with serving(catalog) as server, open_session() as session:
                registry = Registry(server.url, session, Credentials({}, {}), log=print)
                return await upstream._names(registry, print)

    assert asyncio.run(run()) == names


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


# --- image lists


@pytest.mark.parametrize(
    ("lines", "images"),
    [
        (["a:v1\n", "b/c:v2"], [("a", "v1"), ("b/c", "v2")]),
        (["# all", "", "   ", "\t a:v1 \r\n", "a:v1 # again", "b:v1# x"], [("a", "v1"), ("b", "v1")]),
        ([f"a@{SHA}", "a:v1", f"a@{SHA}"], [("a", SHA), ("a", "v1")]),
        (["\ufeffa:v1"], [("a", "v1")]),
        ([], []),
    ],
)
def test_image_list(lines: list[str], images: list[tuple[str, str]]) -> None:
    assert list(parse_image_list(lines)) == images


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a", "line 3: a: no tag"),
        ("A:v1", "line 3: A:v1: not a repository name"),
        ("host:5000/a:v1", "leave out the registry"),
        ("a:v1 b:v1", "not a"),
        ("--help:v1", "not a repository name"),
        ("\x1b[31mred:v1", "not a repository name"),
        ("x" * 65536, "no tag"),
        ("a:\udcff", "not a tag"),
    ],
)
def test_a_bad_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ImageListError, match="line 3: ") as caught:
        list(parse_image_list(["# list", "a:v1", line]))
    message = str(caught.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 400


# --- the real registries


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[str]:
    """A real registry on this port, until the end of the block."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


CRANE = shutil.which("crane") or shutil.which("crane", path=str(Path(sys.executable).parent))


def blob_put(host: str, name: str, data: bytes) -> tuple[str, int]:
    """Push a blob in one request; its digest and size (distribution spec, "Single POST" then PUT)."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    start = urllib.request.Request(f"http://{host}/v2/{name}/blobs/uploads/", method="POST", data=b"")
    with urllib.request.urlopen(start) as answer:
        location = answer.headers["Location"]
    if location.startswith("/"):
        location = f"http://{host}{location}"
    url = location + ("&" if "?" in location else "?") + f"digest={digest}"
    put = urllib.request.Request(
        url, method="PUT", data=data, headers={"Content-Type": "application/octet-stream"}
    )
    urllib.request.urlopen(put).close()
    return digest, len(data)


def push(host: str, name: str, *tags: str) -> None:
    """An image of no layers under these tags."""
    digest, size = blob_put(host, name, b"{}")
    media = "application/vnd.docker.distribution.manifest.v2+json"
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": size, "digest": digest}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media, "config": config, "layers": []}).encode()
    for tag in tags:
        url = f"http://{host}/v2/{name}/manifests/{tag}"
        put = urllib.request.Request(url, method="PUT", data=manifest, headers={"Content-Type": media})
        urllib.request.urlopen(put).close()


def check_real(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"team/app-{i:02}" for i in range(25)]
    random.Random(1).shuffle(names)
    for name in names:
        push(host, name, "v1", "v2")
    for sizes in [(1000, None), (10, None), (25, None), (7, None), (None,)]:
        monkeypatch.setattr(upstream, "PAGE_SIZES", sizes)
        repositories = asyncio.run(listed(f"http://{host}"))
        assert names_of(repositories) == sorted(names), sizes
        assert {tuple(sorted(each.tags)) for each in repositories} == {("v1", "v2")}


@pytest.mark.skipif(CRANE is None, reason="needs crane")
def test_crane_registry_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with running([str(CRANE), "registry", "serve", "--address", f"127.0.0.1:{port}"], port) as host:
        check_real(host, monkeypatch)


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="needs docker-registry")
def test_docker_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (tmp_path / "config.yml").write_text(json.dumps(config))
    with running(["docker-registry", "serve", str(tmp_path / "config.yml")], port) as host:
        check_real(host, monkeypatch)
        monkeypatch.setattr(upstream, "PAGE_SIZES", (5000, 10, None))
        assert len(asyncio.run(listed(f"http://{host}"))) == 25

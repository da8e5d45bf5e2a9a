"""The driver's own requests for a status that the client does not show: when, for what, and what follows."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web

from lib.clients.client import BASE, BLOB, MANIFEST, TOKEN, Unshown
from lib.clients.crane import Crane
from lib.clients.ctr import Ctr
from lib.clients.skopeo import Skopeo
from lib.http.address import parse_endpoint
from lib.http.credentials import Credentials
from lib.http.network import Network
from lib.images import Image
from lib.outcomes import Failure
from lib.processes.signals import Stop
from lib.servers import ask_status
from lib.servers.ask_status import INTERVAL_SECONDS, MOST, StatusAsker
from lib.servers.layout import parse_layout
from lib.servers.route import plan_route
from lib.servers.under_test import ServerUnderTest
from tests.doubles.catalog import Handler, Server
from tests.support.registry import BOB, bob_at, registry_on, serving_on
from tests.support.waiting import SECONDS, wait_until

IMAGE = Image("team/app", "v1")
DIGEST = "sha256:" + "a" * 64
SAID = "the tag has expired"
UNKNOWN = Failure("other", "the client's words")


def unshown(text: str = SAID, place: str = MANIFEST, reference: str = "") -> Unshown:
    return Unshown(place, reference, text, range(400, 500))


def error(status: int, message: str = SAID, code: str = "TAG_EXPIRED") -> web.Response:
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    return web.Response(status=status, text=body, content_type="application/json")


def always(make: Callable[[], web.Response]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return make()

    return handle


@dataclass
class Asking:
    """A server, and what asks it."""

    asker: StatusAsker
    server: Server
    stop: Stop
    log: list[str]

    def class_of(self, image: Image = IMAGE, answer: Unshown | None = None) -> str:
        return self.asker.settle(image, UNKNOWN, answer or unshown()).error_class


@contextmanager
def asking(
    handler: Handler,
    layout: str = "distribution",
    client: type[Crane | Skopeo | Ctr] = Crane,
    *,
    login: bool = False,
) -> Iterator[Asking]:
    stop, log = Stop(), list[str]()
    with Network(stop) as network, serving_on(network, handler) as server:
        credentials: Credentials | None = bob_at(server) if login else None
        with registry_on(network, server.url, credentials, strict=True) as registry:
            endpoint = parse_endpoint("--pullthrough-url", server.url)
            under_test = ServerUnderTest(endpoint, endpoint, "up:5000", parse_layout(layout))
            route = plan_route(under_test, client, [IMAGE])
            yield Asking(StatusAsker(network, registry, route, log.append), server, stop, log)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass; else no time does."""
    now = [1000.0]
    monkeypatch.setattr(ask_status, "monotonic", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (401, "unauthorized"),
        (404, "not-found"),
        (410, "not-found"),
        (412, "forbidden"),
        (429, "rate-limited"),
    ],
)
def test_the_status_decides_the_class(status: int, word: str) -> None:
    with asking(always(lambda: error(status))) as asked:
        assert asked.class_of() == word
    (line,) = asked.log
    assert line == (
        f"asked the server about team/app:v1 (manifest), as the client does not show the status: HTTP {status}"
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: web.json_response({"schemaVersion": 2}),
        lambda: error(404, "quite something else"),
        lambda: error(503),
        lambda: web.Response(status=404, text="<html>"),
        lambda: web.Response(status=404, text="[" * 60_000),
        lambda: web.Response(
            status=404, text=json.dumps({"errors": [{"message": SAID}], "x": "x" * 100_000})
        ),
        lambda: web.Response(status=404, text='{"errors": 3}'),
    ],
)
def test_another_answer_leaves_the_failure_as_it_is(make: Callable[[], web.Response]) -> None:
    with asking(always(make)) as asked:
        assert asked.class_of() == "other"
    assert asked.log[0].endswith(": the failure did not occur again")


def test_a_class_that_says_more_than_the_status_stays() -> None:
    with asking(always(lambda: error(400))) as asked:
        assert (
            asked.asker.settle(IMAGE, Failure("bad-reference", ""), unshown()).error_class == "bad-reference"
        )
        assert (
            asked.asker.settle(Image("b", "v1"), Failure("server-error", ""), unshown()).error_class
            == "other"
        )


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        (unshown(), "/v2/team/app/manifests/v1"),
        (unshown(reference=DIGEST), f"/v2/team/app/manifests/{DIGEST}"),
        (unshown(place=BLOB, reference=DIGEST), f"/v2/team/app/blobs/{DIGEST}"),
        (unshown(place=BASE), "/v2/"),
        (unshown(place=TOKEN), "/v2/team/app/manifests/v1"),
    ],
)
def test_it_asks_for_what_the_client_asked_for(answer: Unshown, target: str) -> None:
    with asking(always(lambda: error(404))) as asked:
        assert asked.class_of(answer=answer) == "not-found"
        assert asked.server.targets() == [target]


@pytest.mark.parametrize(
    ("client", "target", "header"),
    [
        (Crane, "/v2/team/app/manifests/v1", "up:5000"),
        (Skopeo, "/v2/team/app/manifests/v1?ns=up%3A5000", None),
        (Ctr, "/v2/team/app/manifests/v1?ns=up%3A5000", None),
    ],
)
def test_it_names_the_upstream_as_the_client_does(
    client: type[Crane | Skopeo | Ctr], target: str, header: str | None
) -> None:
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-Registry"))
        return error(404)

    with asking(handle, "ociregistry", client) as asked:
        assert asked.class_of() == "not-found"
        assert asked.server.targets() == [target]
    assert seen == [header]


def test_the_login_is_sent_to_the_registry_alone() -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != BOB:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return error(412)

    with asking(handle, login=True) as asked:
        assert asked.class_of() == "forbidden"
        assert [each.authorization for each in asked.server.seen] == [None, BOB]
    assert "pw" not in "".join(asked.log)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 429])
def test_a_refusal_of_the_token_service_is_an_answer_too(status: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/token":
            return error(status)
        realm = f'Bearer realm="http://{request.host}/token"'
        return web.Response(status=401, headers={"WWW-Authenticate": realm})

    words = {400: "other", 401: "unauthorized", 403: "forbidden", 404: "not-found", 412: "forbidden"}
    with asking(handle) as asked:
        assert asked.class_of(answer=unshown(place=TOKEN)) == words.get(status, "rate-limited")


def test_the_same_failure_is_asked_for_once_in_an_interval(clock: Callable[[float], None]) -> None:
    with asking(always(lambda: error(404))) as asked:
        for _ in range(20):
            assert asked.class_of() == "not-found"
        assert len(asked.server.seen) == 1
        clock(INTERVAL_SECONDS)
        assert asked.class_of() == "not-found"
        assert len(asked.server.seen) == 2


def test_workers_that_fail_together_share_one_request(clock: Callable[[float], None]) -> None:
    del clock
    release = threading.Event()

    async def handle(_: web.Request) -> web.Response:
        await asyncio.to_thread(release.wait, SECONDS)
        return error(429)

    with asking(handle) as asked, ThreadPoolExecutor(8) as pool:
        found = [pool.submit(asked.class_of) for _ in range(8)]
        wait_until(lambda: asked.server.seen)
        release.set()
        assert {each.result(SECONDS) for each in found} == {"rate-limited"}
        assert len(asked.server.seen) == 1


def test_images_that_fail_alike_are_soon_asked_for_together(clock: Callable[[float], None]) -> None:
    """A message may name the image, its digest or a request; that makes no other failure of it."""

    async def handle(request: web.Request) -> web.Response:
        name = request.path.removeprefix("/v2/").partition("/manifests/")[0]
        return error(412, f"{name} at {DIGEST} breaks a rule")

    with asking(handle) as asked:
        for number in range(50):
            answer = unshown(f"PROJECTPOLICYVIOLATION: app-{number} at {DIGEST} breaks a rule")
            assert asked.class_of(Image(f"app-{number}", "v1"), answer) == "forbidden"
        assert len(asked.server.seen) == ask_status._PROOF
        clock(INTERVAL_SECONDS)
        for number in range(50):
            answer = unshown(f"PROJECTPOLICYVIOLATION: app-{number} at {DIGEST} breaks a rule")
            assert asked.class_of(Image(f"app-{number}", "v1"), answer) == "forbidden"
        assert len(asked.server.seen) == ask_status._PROOF + 1


def test_images_that_fail_in_the_same_words_may_have_different_statuses(
    clock: Callable[[float], None],
) -> None:
    del clock

    async def handle(request: web.Request) -> web.Response:
        return error(404 if "/odd-" in request.path else 403)

    with asking(handle) as asked:
        for number in range(MOST):
            name, word = (f"odd-{number}", "not-found") if number % 2 else (f"even-{number}", "forbidden")
            assert asked.class_of(Image(name, "v1")) == word
        assert len(asked.server.seen) == MOST
        assert asked.class_of(Image("one-more", "v1")) == "other"
        assert len(asked.server.seen) == MOST


def test_what_was_known_helps_when_the_server_has_recovered(clock: Callable[[float], None]) -> None:
    answers = [error(429), web.json_response({})]

    async def handle(_: web.Request) -> web.Response:
        return answers.pop(0)

    with asking(handle) as asked:
        assert asked.class_of() == "rate-limited"
        clock(INTERVAL_SECONDS)
        assert asked.class_of() == "rate-limited"
    assert answers == []


async def hold(_: web.Request) -> web.Response:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def test_a_server_that_does_not_answer_holds_up_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_status, "_SECONDS", 0.05)
    with asking(hold) as asked:
        assert asked.class_of() == "other"


def test_a_stop_ends_a_request_and_prevents_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_status, "_SECONDS", 10 * SECONDS)
    with asking(hold) as asked, ThreadPoolExecutor(1) as pool:
        found = pool.submit(asked.class_of)
        wait_until(lambda: asked.server.seen)
        asked.stop.request(signal.SIGTERM)
        assert found.result(SECONDS) == "other"
        assert asked.class_of(Image("another", "v1")) == "other"
        assert len(asked.server.seen) == 1

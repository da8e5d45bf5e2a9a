"""Runs through a forward proxy with the real clients: driver and client go the same way, and say so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.lab.servers import Server, docker_registry_proxy
from tests.doubles.certificates import Authority
from tests.doubles.forward_proxy import ForwardProxy, forward_proxy
from tests.doubles.secured import secured_registry
from tests.support.doctor import doctor
from tests.support.driving import Ended, drive
from tests.support.programs import needs, or_skip
from tests.support.upstream import Upstream
from tests.test_pull_through import CLIENTS

CACHE, UP = "cache.corp.example:5000", "up.corp.example:5000"
SECRET = "sekret-of-the-proxy"
USER_AGENTS = {"crane": "crane", "skopeo": "skopeo", "ctr": "containerd"}
NAMES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
)
OFF = {name: "" for name in NAMES if name in os.environ}


@pytest.fixture
def cache(upstream: Upstream) -> Iterator[Server]:
    with or_skip(docker_registry_proxy(upstream.url)) as server:
        yield server


@pytest.fixture
def path(client: str, request: pytest.FixtureRequest) -> str:
    """Of the client."""
    found: str = request.getfixturevalue(client)
    return found


def options(path: str, *more: str) -> list[str]:
    return [
        f"--pullthrough-url={CACHE}", f"--registry-url={UP}", "--layout=distribution", f"--client={path}",
        "--patterns=-0001", *more,
    ]  # fmt: skip


def run(tmp_path: Path, path: str, environment: dict[str, str], *more: str) -> Ended:
    return drive(tmp_path, *options(path, "--passes=1", *more), environment={**OFF, **environment})


def names(cache: Server, upstream: Upstream) -> dict[str, str]:
    return {CACHE: cache.address, UP: upstream.address}


def with_login(proxy: ForwardProxy) -> str:
    return proxy.url.replace("//", f"//bob:{SECRET}@")


@pytest.mark.parametrize("client", CLIENTS)
def test_driver_and_client_go_through_the_proxy(
    client: str, path: str, cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    """Its address needs no scheme. The login in it goes to the proxy, and is shown nowhere."""
    with forward_proxy(names(cache, upstream), login=f"bob:{SECRET}") as proxy:
        bare = f"bob:{SECRET}@{proxy.address}"
        ended = run(tmp_path, path, {"HTTP_PROXY": bare})
        status, checks, _ = doctor(*options(path), environment={**OFF, "HTTP_PROXY": bare})
    assert (ended.status, ended.stderr, status) == (0, "", 0), checks
    assert (ended.summary["pulled"], ended.summary["failed"]) == (4, 0)
    assert f"requests to http://{CACHE} go through the proxy {proxy.url} (HTTP_PROXY)" in ended.log
    assert set(proxy.by("ocidriver")) == {CACHE, UP}
    assert set(proxy.by(USER_AGENTS[client])) == {CACHE}
    ways = [check["message"] for check in checks if check["name"] == "proxy"]
    through = f"go through the proxy {proxy.url} (HTTP_PROXY)"
    assert ways[0] == f"to {UP}, the driver {through.replace('go', 'goes', 1)}"
    assert ways[1].startswith(f"to {CACHE}, the driver and {client} {through}")
    written = "".join(each.read_text() for each in tmp_path.iterdir() if each.is_file())
    assert SECRET not in written + str(checks)


@pytest.mark.parametrize("exceptions", ["*.corp.example", ".corp.example:5000", "corp.example", "*"])
@pytest.mark.parametrize("client", CLIENTS)
def test_what_no_proxy_names_is_asked_directly_by_both(
    client: str, path: str, exceptions: str, cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    """The names are the proxy's alone, so whoever goes directly does not find them."""
    (tmp_path / "images").write_text(f"{upstream.images[0]}\n")
    with forward_proxy(names(cache, upstream)) as proxy:
        environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "NO_PROXY": exceptions}
        ended = run(tmp_path, path, environment, "--keep-going", f"--image-list={tmp_path}/images")
        assert ended.summary["errors"] == {"dns": 1}, ended.events
        refused = run(tmp_path, path, environment)
        assert "cannot be resolved" in refused.stderr
    assert proxy.asked == []


@pytest.mark.parametrize("client", CLIENTS)
def test_loopback_is_never_asked_by_a_proxy(
    client: str, path: str, cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with forward_proxy({}) as proxy:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.url}",
            "--layout=distribution", f"--client={path}", "--patterns=-0001", "--passes=1",
            environment={**OFF, "HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url},
        )  # fmt: skip
    assert (ended.status, ended.summary["pulled"], proxy.asked) == (0, 4, [])


@needs("openssl")
@pytest.mark.parametrize("client", CLIENTS)
def test_https_goes_through_connect(client: str, path: str, upstream: Upstream, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue("cache", names="DNS:cache.corp.example")
    with (
        or_skip(secured_registry(certificate, proxy={"remoteurl": upstream.url})) as server,
        forward_proxy({CACHE: server.address, UP: upstream.address}, login=f"bob:{SECRET}") as proxy,
    ):
        both = {"HTTP_PROXY": with_login(proxy), "https_proxy": with_login(proxy)}
        given = [word.replace(CACHE, f"https://{CACHE}") for word in options(path, "--passes=1")]
        ended = drive(tmp_path, *given, f"--ca-file={authority.path}", environment={**OFF, **both})
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.summary["pulled"] == 4
    assert {("CONNECT", CACHE), ("GET", UP)} == {(method, server) for _, method, server in proxy.asked}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("refusal", "marks"), [(407, {}), (403, {"X_Squid_Error": "ERR_ACCESS_DENIED 0"})])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_refuses_is_told_before_any_load(
    client: str, path: str, scheme: str, refusal: int, marks: dict[str, str], tmp_path: Path
) -> None:
    with forward_proxy({}, refusal=refusal, **marks) as proxy:
        both = {"HTTP_PROXY": with_login(proxy), "HTTPS_PROXY": with_login(proxy)}
        given = [word.replace(CACHE, f"{scheme}://{CACHE}") for word in options(path, "--passes=1")]
        ended = drive(tmp_path, *given, environment={**OFF, **both})
        assert proxy.by(USER_AGENTS[client]) == {}
    assert (ended.status, ended.stderr.count("\n"), ended.events) == (1, 1, ())
    assert f"the proxy {proxy.url} ({scheme.upper()}_PROXY) answers {refusal} for {CACHE}" in ended.stderr
    assert SECRET not in ended.stderr + ended.log


@pytest.mark.parametrize("refusal", [403, 407, 502, 503])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_refuses_a_connection_in_mid_run(
    client: str, path: str, refusal: int, tmp_path: Path
) -> None:
    """Go shows only the reason of the proxy's answer, without its status."""
    (tmp_path / "images").write_text("app-0001:v1\n")
    with forward_proxy({}, refusal=refusal) as proxy:
        given = [word.replace(CACHE, f"https://{CACHE}") for word in options(path, "--passes=1")]
        ended = drive(
            tmp_path, *given, "--keep-going", f"--image-list={tmp_path}/images",
            environment={**OFF, "HTTPS_PROXY": with_login(proxy)},
        )  # fmt: skip
    assert ended.summary["errors"] == {"refused": 1}, ended.events
    assert SECRET not in "".join(each.read_text() for each in tmp_path.iterdir())


def test_a_variable_that_nobody_reads_is_warned_of(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    ended = drive(
        tmp_path, f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.url}", "--layout=distribution",
        f"--client={crane}", "--patterns=-0001", "--passes=1", environment={**OFF, "ALL_PROXY": "http://127.0.0.1:1"},
    )  # fmt: skip
    assert ended.status == 0
    assert "ALL_PROXY is set, but the clients and ocidriver do not read it" in ended.stderr

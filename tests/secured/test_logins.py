"""Logins from end to end: wherever users keep them, by password and by token, and no secret anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.lab.servers import Server
from tests.doubles.certificates import Certificate
from tests.doubles.secured import KEPT, LISTER, PULLER, REFRESH_TOKEN, kept_in_docker
from tests.doubles.spy import Spy
from tests.doubles.tls_server import QuietHandler, tls_server
from tests.support.driving import drive
from tests.support.secured_runs import (
    CLIENTS,
    QUICK,
    WithTokens,
    World,
    apart,
    check_nothing_leaked,
    check_private,
    one_line,
    servers,
    told,
    watched_run,
)
from tests.support.waiting import wait_until

MANIFEST_SERVED = re.compile(r'"GET /v2/\S+/manifests/\S+ HTTP/[\d.]+" 200 .*"(?:crane|skopeo)')


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("client", CLIENTS)
def test_passwords_over_tls(
    client: str, kept: str, world: World, upstream: Server, cache: Server, spy: Spy, tmp_path: Path
) -> None:
    users = {upstream.address: LISTER, cache.address: PULLER}
    before = cache.log_path.stat().st_size
    login = KEPT[kept](tmp_path, users)
    ended = watched_run(world, spy, tmp_path, *servers(cache, upstream), login=login)
    assert ended.summary["pulled"] == spy.launches("pull", "copy") > 0
    # a client may end before the server has written down what it sent
    wait_until(lambda: len(MANIFEST_SERVED.findall(logged(cache, before))) >= ended.summary["pulled"])
    assert len(MANIFEST_SERVED.findall(logged(cache, before))) == ended.summary["pulled"]
    check_nothing_leaked(ended, spy, LISTER.password, LISTER.basic, PULLER.password, PULLER.basic)
    check_private(spy, tmp_path, "docker", "docker/config.json", "tls", "tls/authorities.pem")


def logged(server: Server, since: int) -> str:
    return server.log_path.read_bytes()[since:].decode(errors="replace")


@pytest.mark.parametrize(
    ("entry", "method"),
    [({"auth": PULLER.basic}, "GET"), ({"identitytoken": REFRESH_TOKEN}, "POST")],
    ids=["password", "identity token"],
)
@pytest.mark.parametrize("client", CLIENTS)
def test_tokens(
    client: str,
    entry: Mapping[str, str],
    method: str,
    world: World,
    with_tokens: WithTokens,
    spy: Spy,
    tmp_path: Path,
) -> None:
    """Listing and clients get tokens from the service, for what they do alone; no token is seen anywhere."""
    server, service = with_tokens.server, with_tokens.service
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.address: entry}}))
    before = len(service.requests)
    login = {"DOCKER_CONFIG": str(tmp_path)}
    ended = watched_run(world, spy, tmp_path, *servers(server, server), login=login)
    granted = service.requests[before:]
    assert {each for each, _ in granted} == {method}
    assert ("registry:catalog:*",) in {scopes for _, scopes in granted}
    assert len(granted) > ended.summary["pulled"]
    signatures = [token.rpartition(".")[2] for token in service.issued]
    check_nothing_leaked(
        ended, spy, PULLER.password, PULLER.basic, REFRESH_TOKEN, *service.issued, *signatures
    )
    check_private(spy, tmp_path, "docker", "docker/config.json")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_registry_token_is_for_crane_alone(
    client: str, world: World, with_tokens: WithTokens, spy: Spy, tmp_path: Path
) -> None:
    server = with_tokens.server
    scopes = ["registry:catalog:*", *(f"repository:{image.partition(':')[0]}:pull" for image in world.images)]
    token = with_tokens.service.grant("GET", f"Basic {PULLER.basic}", {"scope": scopes})
    config = {"auths": {server.address: {"registrytoken": token}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    ended = drive(
        tmp_path, *servers(server, server), *QUICK, f"--client={spy.client}", f"--ca-file={world.authority.path}",
        environment={**apart(tmp_path), "DOCKER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    if client == "crane":
        assert (ended.status, told(ended), ended.summary["failed"]) == (0, "", 0)
    else:
        assert (ended.status, ended.events) == (1, ())
        assert "skopeo cannot use a registry token" in one_line(ended)


@contextmanager
def echoing_registry(certificate: Certificate) -> Iterator[str]:
    """Wants a login, and writes what it got into each refusal."""

    class Handler(QuietHandler):
        def answer(self) -> None:
            if "Authorization" not in self.headers:
                self.send(401, b"{}", WWW_Authenticate='Basic realm="echo"')
            elif self.path == "/v2/":
                self.send(200, b"{}")
            else:
                text = f"request had Authorization: {self.headers['Authorization']}"
                self.send(403, json.dumps({"errors": [{"code": "DENIED", "message": text}]}).encode())

    with tls_server(certificate, Handler) as address:
        yield address


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_writes_the_login_into_its_errors(
    client: str, world: World, spy: Spy, tmp_path: Path
) -> None:
    """It is masked in log, events, report and on stderr."""
    with echoing_registry(world.certificate) as address:
        login = kept_in_docker(tmp_path, {address: PULLER})
        ended = drive(
            tmp_path, f"--pullthrough-url=https://{address}", f"--registry-url=https://{address}", *QUICK,
            "--passes=100", "--image-list=-", f"--client={spy.client}", f"--ca-file={world.authority.path}",
            f"--report-file={tmp_path}/report.html",
            environment={**apart(tmp_path), **login}, stdin="a/app-0001:v1\na/app-0002:v1\n",
        )  # fmt: skip
    assert ended.status == 1
    assert ended.summary["errors"] == {"forbidden": ended.summary["failed"]}
    assert "Basic ***" in ended.log
    assert "Basic ***" in ended.stderr
    check_nothing_leaked(ended, spy, PULLER.password, PULLER.basic)

"""ctr with TLS and logins: it types the password at a terminal, and shows a client certificate."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lib.lab.servers import Server
from tests.doubles.certificates import Certificate
from tests.doubles.secured import KEPT, LISTER, PULLER, REFRESH_TOKEN, kept_in_docker, secured_registry
from tests.doubles.spy import Spy
from tests.support.containerd import check_nothing_left
from tests.support.doctor import doctor, messages
from tests.support.driving import drive
from tests.support.secured_runs import (
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

MANIFEST_SERVED = re.compile(r'"GET /v2/\S+/manifests/\S+ HTTP/[\d.]+" 200 .*"containerd/')
client = pytest.fixture(lambda: "ctr", name="client")


@pytest.mark.parametrize("kept", ["docker", "helpers"])
def test_ctr_types_the_password(
    kept: str, world: World, upstream: Server, cache: Server, spy: Spy, tmp_path: Path
) -> None:
    users = {upstream.address: LISTER, cache.address: PULLER}
    before = cache.log_path.stat().st_size
    login = KEPT[kept](tmp_path, users)
    ended = watched_run(world, spy, tmp_path, *servers(cache, upstream), login=login)
    served = cache.log_path.read_bytes()[before:].decode(errors="replace")
    assert ended.summary["pulled"] == spy.launches("fetch") > 0
    assert len(MANIFEST_SERVED.findall(served)) == ended.summary["pulled"]
    assert PULLER.name.encode() in spy.kept()
    check_nothing_leaked(ended, spy, LISTER.password, LISTER.basic, PULLER.password, PULLER.basic)
    check_private(spy, tmp_path, "hosts", "hosts/_default/hosts.toml", "tls", "tls/authorities.pem")
    check_nothing_left(ended)


def test_ctr_gets_tokens_for_a_password(
    world: World, with_tokens: WithTokens, spy: Spy, tmp_path: Path
) -> None:
    server, service = with_tokens.server, with_tokens.service
    login = kept_in_docker(tmp_path, {server.address: PULLER})
    before = len(service.requests)
    ended = watched_run(world, spy, tmp_path, *servers(server, server), login=login)
    granted = service.requests[before:]
    assert len(granted) > ended.summary["pulled"]
    signatures = [token.rpartition(".")[2] for token in service.issued]
    check_nothing_leaked(ended, spy, PULLER.password, PULLER.basic, *service.issued, *signatures)
    check_private(spy, tmp_path, "hosts/_default/hosts.toml")


def test_a_wrong_password(world: World, upstream: Server, cache: Server, spy: Spy, tmp_path: Path) -> None:
    wrong = replace(PULLER, password="not-that-one")
    login = kept_in_docker(tmp_path, {upstream.address: LISTER, cache.address: wrong})
    with spy.watching():
        ended = drive(
            tmp_path, *servers(cache, upstream), *QUICK, f"--client={spy.client}", "--keep-going",
            f"--ca-file={world.authority.path}", f"--report-file={tmp_path}/report.html",
            environment={**apart(tmp_path), **login},
        )  # fmt: skip
    assert ended.status == 1
    assert ended.summary["errors"] == {"unauthorized": ended.summary["failed"]}
    assert ended.summary["failed"] == spy.launches("fetch") > 0
    ended.check_accounts()
    check_nothing_leaked(ended, spy, wrong.password, wrong.basic)
    check_nothing_left(ended)


def test_ctr_takes_a_registry_token_from_a_private_file(
    world: World, with_tokens: WithTokens, spy: Spy, tmp_path: Path
) -> None:
    server = with_tokens.server
    scopes = ["registry:catalog:*", *(f"repository:{image.partition(':')[0]}:pull" for image in world.images)]
    token = with_tokens.service.grant("GET", f"Basic {PULLER.basic}", {"scope": scopes})
    assert token is not None
    (tmp_path / "config.json").write_text(json.dumps({"auths": {server.address: {"registrytoken": token}}}))
    ended = watched_run(
        world, spy, tmp_path, *servers(server, server), login={"DOCKER_CONFIG": str(tmp_path)}
    )
    check_nothing_leaked(ended, spy, token, token.rpartition(".")[2])
    check_private(spy, tmp_path, "hosts/_default/hosts.toml")


def test_ctr_has_no_way_for_an_identity_token(
    world: World, with_tokens: WithTokens, spy: Spy, tmp_path: Path
) -> None:
    server = with_tokens.server
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {server.address: {"identitytoken": REFRESH_TOKEN}}}))
    ended = drive(
        tmp_path, *servers(server, server), *QUICK, f"--client={spy.client}", f"--ca-file={world.authority.path}",
        environment={**apart(tmp_path), "DOCKER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    assert (ended.status, ended.events) == (1, ())
    assert one_line(ended) == (
        "ocidriver: ctr takes an identity token only on its command line, where everybody can read it; "
        f"{config} has one for {server.address}: log in with a name and a password, or use another client"
    )
    assert spy.launches("fetch") == 0


def test_ctr_shows_a_client_certificate(
    world: World, for_members: Server, member: Certificate, spy: Spy, tmp_path: Path
) -> None:
    shown = [f"--client-cert={member.path}", f"--client-key={member.key}"]
    ended = drive(
        tmp_path, *servers(for_members, for_members), *QUICK, *shown, f"--ca-file={world.authority.path}",
        f"--client={spy.client}", environment=apart(tmp_path),
    )  # fmt: skip
    assert (ended.status, told(ended)) == (0, "")
    assert (ended.summary["failed"], ended.summary["images"]) == (0, len(world.images))
    assert member.key.read_text().splitlines()[1].encode() not in spy.kept()
    check_private(spy, tmp_path, "hosts/_default/hosts.toml")


@pytest.mark.parametrize("fault", ["wrong name", "expired", "self-signed"])
def test_a_bad_certificate_is_a_class_of_its_own_with_ctr(
    fault: str, world: World, bad: dict[str, Certificate], upstream: Server, spy: Spy, tmp_path: Path
) -> None:
    login = kept_in_docker(tmp_path, {upstream.address: LISTER})
    with secured_registry(bad[fault], storage=world.storage) as server:
        ended = drive(
            tmp_path, *servers(server, upstream), *QUICK, f"--ca-file={world.authority.path}", "--keep-going",
            f"--client={spy.client}", environment={**apart(tmp_path), **login},
        )  # fmt: skip
    ended.check_accounts()
    assert ended.summary["errors"] == {"tls": spy.launches("fetch")}
    assert ended.summary["pulled"] == 0


def test_insecure_with_ctr(world: World, bad: dict[str, Certificate], spy: Spy, tmp_path: Path) -> None:
    with secured_registry(bad["wrong name"], user=PULLER, storage=world.storage) as server:
        login = kept_in_docker(tmp_path, {server.address: PULLER})
        ended = drive(
            tmp_path, *servers(server, server), *QUICK, "--insecure", f"--client={spy.client}",
            environment={**apart(tmp_path), **login},
        )  # fmt: skip
    assert ended.status == 0
    assert told(ended).startswith("ocidriver: warning: --insecure: ")
    assert ended.summary["failed"] == 0
    assert ended.summary["pulled"] == spy.launches("fetch")


def test_doctor_pulls_with_a_login_and_ctr(
    world: World, upstream: Server, cache: Server, ctr: str, tmp_path: Path
) -> None:
    login = kept_in_docker(tmp_path, {upstream.address: LISTER, cache.address: PULLER})
    status, checks, _ = doctor(
        *servers(cache, upstream), *QUICK[:2], f"--client={ctr}", f"--ca-file={world.authority.path}",
        environment={**apart(tmp_path), **login},
    )  # fmt: skip
    assert status == 0, checks
    assert " by ctr in " in messages(checks)["pull"]

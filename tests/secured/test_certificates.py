"""Certificates from end to end: those of clients, bad ones of servers, and the choice to check none."""

from __future__ import annotations

import re
from pathlib import Path
from signal import SIGTERM

import pytest

from lib.lab.servers import Server
from tests.doubles.certificates import Certificate
from tests.doubles.secured import LISTER, PULLER, kept_in_docker, secured_registry
from tests.doubles.spy import Spy
from tests.support.driving import drive, finish, read, start
from tests.support.secured_runs import (
    CLIENTS,
    QUICK,
    WithTokens,
    World,
    apart,
    check_private,
    one_line,
    servers,
    told,
)
from tests.support.waiting import wait_until


def shown(member: Certificate) -> list[str]:
    return [f"--client-cert={member.path}", f"--client-key={member.key}"]


@pytest.mark.parametrize("client", ["skopeo"])
def test_skopeo_shows_a_client_certificate(
    world: World, for_members: Server, member: Certificate, spy: Spy, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, *servers(for_members, for_members), *QUICK, *shown(member), f"--ca-file={world.authority.path}",
        f"--client={spy.client}", environment=apart(tmp_path),
    )  # fmt: skip
    assert (ended.status, told(ended)) == (0, "")
    assert (ended.summary["failed"], ended.summary["images"]) == (0, len(world.images))
    key = member.key.read_text().splitlines()[1].encode()
    assert key not in spy.kept()
    links = {path for _, kind, path in spy.files() if kind == "l"}
    assert links == {"certificates/client.cert", "certificates/client.key"}
    check_private(spy, tmp_path, "certificates")


def test_skopeo_shows_it_for_a_batch_too(
    world: World, for_members: Server, member: Certificate, skopeo: str, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, *servers(for_members, for_members), *QUICK, *shown(member), f"--ca-file={world.authority.path}",
        f"--client={skopeo}", "--batch=3", environment=apart(tmp_path),
    )  # fmt: skip
    assert (ended.status, told(ended), ended.summary["failed"]) == (0, "", 0)
    ended.check_accounts()


def test_crane_cannot_and_is_not_begun_with(
    world: World, for_members: Server, member: Certificate, crane: str, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, *servers(for_members, for_members), *QUICK, *shown(member), f"--ca-file={world.authority.path}",
        f"--client={crane}", environment=apart(tmp_path),
    )  # fmt: skip
    assert (ended.status, ended.events) == (1, ())
    wants = (
        f"{for_members.address} asks for a client certificate, and crane cannot send one; "
        "use --client skopeo or --client ctr"
    )
    assert told(ended) == f"ocidriver: {wants}\n"


def test_crane_may_pull_where_only_the_upstream_asks_for_one(
    world: World,
    for_members: Server,
    with_tokens: WithTokens,
    member: Certificate,
    crane: str,
    tmp_path: Path,
) -> None:
    """The pullthrough server is TLS too, so the driver has to find out that it asks for none."""
    login = kept_in_docker(tmp_path, {with_tokens.server.address: PULLER})
    ended = drive(
        tmp_path, *servers(with_tokens.server, for_members), *QUICK, *shown(member), f"--client={crane}",
        f"--ca-file={world.authority.path}", environment={**apart(tmp_path), **login},
    )  # fmt: skip
    assert (ended.status, told(ended)) == (0, "")
    assert (
        f"crane sends no client certificate; {with_tokens.server.address} does not ask for one" in ended.log
    )


def test_a_client_certificate_that_is_missing(
    world: World, for_members: Server, crane: str, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, *servers(for_members, for_members), *QUICK, f"--client={crane}", "--image-list=-",
        f"--ca-file={world.authority.path}", environment=apart(tmp_path), stdin=world.images[0],
    )  # fmt: skip
    assert ended.status == 1
    assert one_line(ended).endswith(
        f"{for_members.address} asks for a client certificate that it accepts: give --client-cert and --client-key"
    )


REMEDIES = {
    "wrong name": r"\(Hostname mismatch.*\): call the server by a name that the certificate is for",
    "expired": r"\(certificate has expired\): renew it, and check this machine's clock",
    "self-signed": r"\(self.signed certificate\): name its CA .* with --ca-file FILE",
}


@pytest.mark.parametrize("which", ["server under test", "upstream"])
@pytest.mark.parametrize("fault", REMEDIES)
def test_a_bad_certificate_ends_the_run_in_one_line(
    fault: str,
    which: str,
    world: World,
    bad: dict[str, Certificate],
    upstream: Server,
    crane: str,
    tmp_path: Path,
) -> None:
    with secured_registry(bad[fault], storage=world.storage) as server:
        pair = (server, upstream) if which == "server under test" else (upstream, server)
        ended = drive(
            tmp_path, *servers(*pair), *QUICK, f"--ca-file={world.authority.path}", f"--client={crane}",
            environment=apart(tmp_path),
        )  # fmt: skip
    assert (ended.status, ended.events) == (1, ())
    told = rf"the certificate of {server.address} is not accepted {REMEDIES[fault]}, or check none with --insecure$"
    assert re.search(told, one_line(ended))


@pytest.mark.parametrize("fault", REMEDIES)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_bad_certificate_is_a_class_of_its_own(
    client: str,
    fault: str,
    world: World,
    bad: dict[str, Certificate],
    upstream: Server,
    spy: Spy,
    tmp_path: Path,
) -> None:
    """--keep-going: each launch is one failure of that class, and the run goes on to its end."""
    login = kept_in_docker(tmp_path, {upstream.address: LISTER})
    with secured_registry(bad[fault], storage=world.storage) as server:
        ended = drive(
            tmp_path, *servers(server, upstream), *QUICK, f"--ca-file={world.authority.path}", "--keep-going",
            f"--client={spy.client}", environment={**apart(tmp_path), **login},
        )  # fmt: skip
    ended.check_accounts()
    launches = spy.launches("pull", "copy")
    assert launches > 0
    assert ended.summary["errors"] == {"tls": launches}
    assert (ended.summary["pulled"], ended.summary["interrupted_pulls"]) == (0, 0)
    assert launches == sum(each["images"] for each in ended.summary["workers"])
    assert ended.status == 1
    assert f"nothing was pulled: {launches} pulls failed, {launches} of them with tls" in one_line(ended)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_certificate_that_expires_and_is_renewed(
    client: str, world: World, bad: dict[str, Certificate], upstream: Server, spy: Spy, tmp_path: Path
) -> None:
    """Failures are counted by class meanwhile, pulls go on afterwards, and the run is a good one."""
    login = kept_in_docker(tmp_path, {upstream.address: LISTER})

    def happened(**wanted: str) -> int:
        events = read(tmp_path, 0, partial=True).events
        return sum(wanted.items() <= event.items() for event in events)

    with secured_registry(world.certificate, storage=world.storage) as server:
        port = int(server.address.partition(":")[2])
        running = start(
            tmp_path, *servers(server, upstream), "--patterns=.", QUICK[1], "--iteration-seconds=100", "--grace=100",
            f"--client={spy.client}", f"--ca-file={world.authority.path}", environment={**apart(tmp_path), **login},
        )  # fmt: skip
        wait_until(lambda: happened(outcome="ok") >= 3)
    with secured_registry(bad["expired"], storage=world.storage, port=port):
        wait_until(lambda: happened(**{"class": "tls"}) >= 3)
    with secured_registry(world.certificate, storage=world.storage, port=port):
        good = happened(outcome="ok")
        wait_until(lambda: happened(outcome="ok") >= good + 3)
        running.send_signal(SIGTERM)
        ended = finish(running, tmp_path)
    assert (ended.status, told(ended)) == (143, "")
    ended.check_accounts()
    assert ended.summary["errors"]["tls"] >= 3
    assert set(ended.summary["errors"]) <= {"tls", "refused", "reset"}
    assert ended.outcomes()[-1] == "ok"
    assert ended.summary["pulled"] + ended.summary["failed"] == spy.launches("pull", "copy")


@pytest.mark.parametrize("client", CLIENTS)
def test_insecure_is_the_users_own_choice(
    client: str, world: World, bad: dict[str, Certificate], spy: Spy, tmp_path: Path
) -> None:
    with secured_registry(bad["wrong name"], user=PULLER, storage=world.storage) as server:
        login = kept_in_docker(tmp_path, {server.address: PULLER})
        ended = drive(
            tmp_path, *servers(server, server), *QUICK, "--insecure", f"--client={spy.client}",
            environment={**apart(tmp_path), **login},
        )  # fmt: skip
    warning = (
        "warning: --insecure: no server's certificate is checked; any server that answers receives the logins"
    )
    assert (ended.status, told(ended)) == (0, f"ocidriver: {warning}\n")
    assert warning in ended.log
    assert ended.summary["failed"] == 0
    assert ended.summary["settings"]["insecure"] is True


def test_skopeo_behind_the_gateway_needs_that_choice(
    world: World, upstream: Server, skopeo: str, tmp_path: Path
) -> None:
    """Ociregistry's layout, an upstream with a port: skopeo goes through the gateway, which speaks plain http."""
    with secured_registry(world.certificate, storage=world.storage) as server:
        ended = drive(
            tmp_path, *servers(server, server), "--patterns=-0001", f"--client={skopeo}", "--passes=1",
            f"--ca-file={world.authority.path}", environment=apart(tmp_path),
        )  # fmt: skip
        assert (ended.status, ended.events) == (1, ())
        assert "or accept this with --insecure" in one_line(ended)
        (tmp_path / "accepted").mkdir()
        ended = drive(
            tmp_path / "accepted", *servers(server, server), "--patterns=-0001", f"--client={skopeo}",
            "--passes=1", "--insecure", environment=apart(tmp_path),
        )  # fmt: skip
        assert (ended.status, ended.summary["failed"]) == (0, 0)

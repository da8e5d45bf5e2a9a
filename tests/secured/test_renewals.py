"""Short-lived logins that are renewed during a run, in all the ways in which programs do that."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.doubles.guarded import Guarded, Passwords, basic, guarded_registry
from tests.support.driving import finish, read, start, wait_for_log, wait_for_outcomes
from tests.support.secured_runs import apart, told
from tests.support.waiting import wait_until

ALL = ["crane", "skopeo", "ctr"]
OLD, NEW = "Old-7-hours", "New-7-hours"
Write = Callable[[Path, str], None]


@pytest.fixture
def server() -> Iterator[Guarded]:
    with guarded_registry(Passwords({"": {basic("aws", OLD)}}), ["some/app-0001", "some/app-0002"]) as found:
        yield found


def entry(address: str, password: str) -> dict[str, dict[str, str]]:
    return {address: {"auth": basic("aws", password).partition(" ")[2]}}


def config(address: str, password: str) -> str:
    return json.dumps({"auths": entry(address, password)})


def replaced(path: Path, text: str) -> None:
    path.with_name("new").write_text(text)
    path.with_name("new").replace(path)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def switched(path: Path, text: str) -> None:
    """As Kubernetes does for a secret: a link to `..data/config.json`, and `..data` is a link that is replaced."""
    generation = path.parent / f"..{len(list(path.parent.iterdir()))}"
    generation.mkdir()
    (generation / path.name).write_text(text)
    (path.parent / "..new").symlink_to(generation.name)
    (path.parent / "..new").replace(path.parent / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(f"..data/{path.name}")


WAYS = {each.__name__: each for each in (replaced, in_place, switched)}


class Run:
    """A run of one worker without end, which pulls and, with `prune`, prunes."""

    def __init__(
        self, server: Guarded, client: str, folder: Path, login: Mapping[str, str], *more: str
    ) -> None:
        self.server, self.folder = server, folder
        self.running = start(
            folder, f"--pullthrough-url={server.address}", f"--registry-url={server.address}", "--workers=1",
            "--iteration-seconds=1000", "--layout=distribution", f"--client={client}", *more,
            environment={**apart(folder), **login},
        )  # fmt: skip

    def pulls_well(self, count: int = 3) -> None:
        """Until there were so many more good pulls."""
        wait_for_outcomes(
            self.folder, "ok", read(self.folder, 0, partial=True).outcomes().count("ok") + count
        )

    def now_only(self, password: str) -> None:
        """Until the new password has come in; the old one does not count from then on."""
        guard = self.server.guard
        assert isinstance(guard, Passwords)
        guard.allowed[""].add(basic("aws", password))
        wait_until(lambda: f"aws:{password}" in self.server.users("/manifests/"))
        guard.allowed[""] = {basic("aws", password)}

    def end(self) -> str:
        """The log of a run without a failed pull."""
        self.running.send_signal(SIGTERM)
        ended = finish(self.running, self.folder)
        assert (ended.status, told(ended)) == (143, "")
        assert (ended.summary["failed"], ended.summary["prune_failed"]) == (0, 0)
        assert OLD not in ended.log + ended.stderr
        assert NEW not in ended.log + ended.stderr
        return ended.log


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", ALL)
def test_the_next_launch_uses_a_login_that_was_renewed(
    client: str, way: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "docker" / "config.json"
    path.parent.mkdir()
    WAYS[way](path, config(server.address, OLD))
    run = Run(
        server, request.getfixturevalue(client), tmp_path, {"DOCKER_CONFIG": str(path.parent)}, "--shuffle"
    )
    run.pulls_well()
    WAYS[way](path, config(server.address, NEW))
    run.now_only(NEW)
    run.pulls_well()
    log = run.end()
    assert log.count(f"the login for {server.address} was renewed ({path})") == 1


@pytest.mark.parametrize("client", ["skopeo", "ctr"])
def test_prunes_use_it_as_well(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """skopeo deletes by itself; for ctr the driver does, with a login of its own."""
    path = tmp_path / "auth.json"
    path.write_text(config(server.address, OLD))
    with guarded_registry(Passwords({"": {""}}), server.repositories) as upstream:
        run = Run(
            server, request.getfixturevalue(client), tmp_path, {"REGISTRY_AUTH_FILE": str(path)},
            f"--registry-url={upstream.address}", "--prune",
        )  # fmt: skip
        wait_until(lambda: f"aws:{OLD}" in server.users("/manifests/", "DELETE"))
        run.pulls_well()
        replaced(path, config(server.address, NEW))
        run.now_only(NEW)
        wait_until(lambda: f"aws:{NEW}" in server.users("/manifests/", "DELETE"))
        run.pulls_well()
        run.end()


@pytest.mark.parametrize("client", ALL)
def test_a_file_that_is_broken_or_gone_for_a_moment_keeps_its_last_login(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "config.json"
    path.write_text(config(server.address, OLD))
    run = Run(server, request.getfixturevalue(client), tmp_path, {"DOCKER_CONFIG": str(tmp_path)})
    run.pulls_well()
    path.write_text(config(server.address, NEW)[:-9])
    wait_for_log(tmp_path, f"{path} is not valid JSON; its last logins stay in use")
    run.pulls_well()
    path.unlink()
    run.pulls_well()
    replaced(path, "")
    run.pulls_well()
    replaced(path, '{"auths": {}}')
    wait_for_log(tmp_path, f"there is no login for {server.address} any more; the last one stays in use")
    run.pulls_well()
    replaced(path, config(server.address, NEW))
    run.now_only(NEW)
    run.pulls_well()
    log = run.end()
    assert log.count("is not valid JSON") == log.count("any more; the last") == log.count("was renewed") == 1


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_a_login_that_comes_late(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The run begins without any file, where everybody may pull."""
    guard = server.guard
    assert isinstance(guard, Passwords)
    guard.allowed[""] = {"", basic("aws", NEW)}
    folder = tmp_path / "late"
    run = Run(server, request.getfixturevalue(client), tmp_path, {"DOCKER_CONFIG": str(folder)})
    run.pulls_well()
    folder.mkdir()
    replaced(folder / "config.json", config(server.address, NEW))
    guard.allowed[""].discard("")
    run.pulls_well()
    run.running.send_signal(SIGTERM)
    ended = finish(run.running, tmp_path)
    assert set(ended.summary["errors"]) <= {"unauthorized"}  # within the second in which it is not looked for
    assert ended.outcomes()[-1] == "ok"


@pytest.mark.parametrize("client", ALL)
def test_a_helper_is_asked_again(
    client: str, server: Guarded, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """crane and skopeo ask it at each launch. For ctr the driver asks, once a pull was refused."""
    answer = tmp_path / "answer"
    replaced(answer, json.dumps({"Username": "aws", "Secret": OLD}))
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nread -r host\necho >> {tmp_path}/asked\ncat {answer}\n")
    program.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {server.address: "test"}}))
    login = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    run = Run(server, request.getfixturevalue(client), tmp_path, login)
    run.pulls_well()
    replaced(answer, json.dumps({"Username": "aws", "Secret": NEW}))
    guard = server.guard
    assert isinstance(guard, Passwords)
    guard.allowed[""] = {basic("aws", NEW)}
    wait_until(lambda: f"aws:{NEW}" in server.users("/manifests/"))
    run.pulls_well()
    run.running.send_signal(SIGTERM)
    ended = finish(run.running, tmp_path)
    assert set(ended.summary["errors"]) <= {"unauthorized"}
    assert ended.outcomes()[-3:] == ["ok"] * 3
    assert NEW not in ended.log
    if client == "ctr":
        assert f"the login for {server.address} was renewed" in ended.log
        assert (tmp_path / "asked").read_text().count("\n") < ended.summary["failed"] + ended.summary[
            "pulled"
        ]

"""What doctor and populate do behind TLS and logins, prunes included."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lib.lab.servers import Server
from tests.doubles.secured import LISTER, PULLER, kept_in_docker, secured_registry
from tests.support.doctor import doctor, messages
from tests.support.driving import command
from tests.support.secured_runs import CLIENTS, QUICK, World, apart, servers


@pytest.mark.parametrize("client", CLIENTS)
def test_doctor_pulls_and_prunes_with_a_login(
    client: str, world: World, upstream: Server, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(client)
    shutil.copytree(world.storage, tmp_path / "storage")
    with secured_registry(world.certificate, user=PULLER, storage=tmp_path / "storage") as server:
        login = kept_in_docker(tmp_path, {upstream.address: LISTER, server.address: PULLER})
        status, checks, _ = doctor(
            *servers(server, upstream), *QUICK[:2], "--prune", f"--client={path}", f"--ca-file={world.authority.path}",
            environment={**apart(tmp_path), **login},
        )  # fmt: skip
    assert status == 0, checks
    assert (
        messages(checks)["server under test"] == f"{server.address} answers (TLS, its certificate is valid)"
    )
    assert messages(checks)["credentials"].endswith(f"for {upstream.address}, {server.address}")
    assert "is gone" in messages(checks)["prune"]


def test_doctor_tells_of_a_login_that_cannot_be_read(world: World, upstream: Server, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {upstream.address: "missing"}}))
    status, checks, _ = doctor(
        *servers(upstream, upstream), *QUICK[:2], f"--ca-file={world.authority.path}",
        environment={**apart(tmp_path), "DOCKER_CONFIG": str(tmp_path)},
    )  # fmt: skip
    assert status == 1
    assert "docker-credential-missing" in messages(checks)["credentials"]


def test_populate_pushes_with_a_login_over_tls(world: World, tmp_path: Path) -> None:
    with secured_registry(world.certificate, user=PULLER) as server:
        login = kept_in_docker(tmp_path, {server.address: PULLER})

        def push(*options: str) -> subprocess.CompletedProcess[str]:
            words = ("populate", f"--registry-url={server.url}", "--groups=1", "--images=2", *options)
            return subprocess.run(
                command(*words), capture_output=True, text=True, timeout=100, check=False,
                env={**os.environ, **apart(tmp_path), **login},
            )  # fmt: skip

        done = push()
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "with --ca-file FILE" in done.stderr
        done = push(f"--ca-file={world.authority.path}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{server.address} has 2 images after ")

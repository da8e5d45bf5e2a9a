"""The lab's servers: real ones, started, asked, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.lab import servers
from lib.lab.servers import (
    Server,
    ServerFailed,
    ServerMissing,
    crane_registry,
    docker_registry,
    docker_registry_proxy,
    find_program,
    registry_config,
)
from tests.doubles.secured import TESTER
from tests.support.asking import ask
from tests.support.paths import ROOT
from tests.support.processes import exists, wait_until_gone
from tests.support.programs import or_skip
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until


def test_a_server_runs_for_as_long_as_its_block() -> None:
    with crane_registry() as server:
        assert ask(server.address, "GET", "/v2/").status == 200
        assert server.url == f"http://{server.address}"
        assert exists(server.pid)
    assert not exists(server.pid)
    assert not server.data_dir.exists()
    assert not server.log_path.parent.exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_server_is_ended_by_whatever_ends_the_block(error: type[BaseException]) -> None:
    seen: list[Server] = []

    def fail_inside() -> None:
        with crane_registry() as server:
            seen.append(server)
            raise error

    with pytest.raises(error):
        fail_inside()
    assert not exists(seen[0].pid)
    assert not seen[0].log_path.parent.exists()


def test_a_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.3)
    with crane_registry() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not exists(server.pid)


def test_a_server_ends_with_a_process_that_is_killed() -> None:
    program = (
        "from lib.lab.servers import crane_registry\n"
        "with crane_registry() as server: print(server.pid, flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert exists(pid)
        owner.kill()
    wait_until_gone([pid])


def test_a_port_that_is_taken_is_told() -> None:
    with crane_registry() as server:
        second = crane_registry(port=int(server.address.rpartition(":")[2]))
        with pytest.raises(ServerFailed, match="address already in use"):
            second.__enter__()


def test_a_server_can_come_back_on_its_port() -> None:
    with crane_registry() as first:
        address = first.address
    with crane_registry(port=int(address.rpartition(":")[2])) as second:
        assert second.address == address


def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "crane"
    silent.write_text("#!/bin/sh\necho 'thinking'\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(servers, "find_program", lambda *_names, **_hint: str(silent))
    monkeypatch.setattr(servers, "READY_SECONDS", 2.0)
    with pytest.raises(ServerFailed, match="not ready in time: thinking"), crane_registry():
        pass


def test_a_proxy_serves_what_its_upstream_has_and_logs_it(upstream: Upstream, proxy: Server) -> None:
    repository, tag = upstream.images[0].split(":")
    path = f"/v2/{repository}/manifests/{tag}"
    accept = "application/vnd.oci.image.manifest.v1+json"
    assert ask(proxy.address, "GET", path, headers={"Accept": accept}).status == 200
    wait_until(lambda: f'"GET {path} HTTP/1.1" 200' in proxy.log_path.read_text())
    assert any(proxy.data_dir.rglob("data"))


def test_a_proxy_refuses_deletes(upstream: Upstream, proxy: Server) -> None:
    repository = upstream.images[0].split(":")[0]
    assert ask(proxy.address, "DELETE", f"/v2/{repository}/manifests/sha256:{'0' * 64}").status == 405


def test_deletes_are_allowed_or_not(deletable: Server) -> None:
    path = f"/v2/some/image/manifests/sha256:{'0' * 64}"
    assert ask(deletable.address, "DELETE", path).status == 404
    with docker_registry(delete=False) as server:
        assert ask(server.address, "DELETE", path).status == 405


def test_a_password_file_is_asked_for() -> None:
    with or_skip(docker_registry(htpasswd=TESTER.htpasswd)) as server:
        assert ask(server.address, "GET", "/v2/").status == 401
        assert (
            ask(server.address, "GET", "/v2/", headers={"Authorization": "Basic dGVzdGVyOnNlY3JldA=="}).status
            == 200
        )
        assert (
            ask(server.address, "GET", "/v2/", headers={"Authorization": "Basic dGVzdGVyOndyb25n"}).status
            == 401
        )


def test_a_proxy_of_an_upstream_given_without_a_scheme(upstream: Upstream) -> None:
    with or_skip(docker_registry_proxy(upstream.address)) as server:
        assert ask(server.address, "GET", "/v2/").status == 200


def test_a_missing_program_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServerMissing, match=r"^docker-registry is not installed: apt-get install docker-reg"):
        docker_registry().__enter__()
    with pytest.raises(ServerMissing, match=r"^crane is not installed: in a clone, run make setup"):
        crane_registry().__enter__()


def test_programs_beside_python_come_before_those_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, name in (("here", "second"), ("path", "first"), ("path", "second")):
        program = tmp_path / folder / name
        program.parent.mkdir(exist_ok=True)
        program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "here" / "python"))
    assert find_program("second", hint="") == str(tmp_path / "here" / "second")
    assert find_program("first", "second", hint="") == str(tmp_path / "path" / "first")
    assert find_program("third", "second", hint="") == str(tmp_path / "here" / "second")


def test_the_configuration_listens_on_loopback_only(tmp_path: Path) -> None:
    config = json.loads(registry_config(tmp_path, 0, delete=True, proxy={"remoteurl": "http://up:5000"}))
    assert config["http"]["addr"] == "127.0.0.1:0"
    assert config["storage"] == {"filesystem": {"rootdirectory": str(tmp_path)}, "delete": {"enabled": True}}
    assert config["proxy"] == {"remoteurl": "http://up:5000"}

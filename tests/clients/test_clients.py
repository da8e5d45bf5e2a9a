"""The clients' argv, finding them, and the private configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.clients.classify import failure_of
from lib.clients.client import Executable, parse_platform, this_platform
from lib.clients.crane import Crane, with_header
from lib.clients.find import find_client
from lib.clients.skopeo import Skopeo
from lib.errors import RunError, UsageError
from lib.processes.launch import Outcome
from tests.doubles.fake_crane import install

SCRATCH = Path("/scratch")


def test_crane_commands() -> None:
    plain = Crane(Executable("/bin/crane", "1"), "linux/arm64", True)
    tls = Crane(Executable("/bin/crane", "1"), "linux/arm64", False)
    assert plain.pull(["c:1/a:v1"], SCRATCH) == [
        "/bin/crane", "pull", "--insecure", "--platform", "linux/arm64", "c:1/a:v1", "/dev/null",
    ]  # fmt: skip
    assert "--insecure" not in tls.pull(["c:1/a:v1"], SCRATCH)
    assert plain.delete("c:1/a:v1", SCRATCH) == ["/bin/crane", "delete", "--insecure", "c:1/a:v1"]
    assert tls.delete("c:1/a:v1", SCRATCH) == ["/bin/crane", "delete", "c:1/a:v1"]


def test_skopeo_commands() -> None:
    plain = Skopeo(Executable("/bin/skopeo", "1"), "linux/arm/v7", True, Path("/auth.json"))
    tls = Skopeo(
        Executable("/bin/skopeo", "1"),
        "linux/amd64",
        False,
        Path("/auth.json"),
        certificates=Path("/certs"),
        registries_d=Path("/none"),
    )
    assert plain.pull(["c:1/a:v1"], SCRATCH) == [
        "/bin/skopeo", "--insecure-policy", "--tmpdir", "/scratch",
        "--override-os", "linux", "--override-arch", "arm", "--override-variant", "v7",
        "copy", "--quiet", "--remove-signatures", "--src-tls-verify=false", "--src-authfile", "/auth.json",
        "docker://c:1/a:v1", "dir:/scratch/images",
    ]  # fmt: skip
    assert plain.delete("c:1/a:v1", SCRATCH) == [
        "/bin/skopeo", "--insecure-policy", "--tmpdir", "/scratch", "delete", "--tls-verify=false",
        "--authfile", "/auth.json", "docker://c:1/a:v1",
    ]  # fmt: skip
    assert tls.pull(["c:1/a:v1"], SCRATCH)[-7:-2] == [
        "--src-tls-verify=true", "--src-authfile", "/auth.json", "--src-cert-dir", "/certs",
    ]  # fmt: skip
    for argv in (tls.pull(["c:1/a:v1"], SCRATCH), tls.delete("c:1/a:v1", SCRATCH)):
        assert argv[1:4] == ["--insecure-policy", "--registries.d", "/none"]
    assert tls.delete("c:1/a:v1", SCRATCH)[-6:-1] == [
        "--tls-verify=true", "--authfile", "/auth.json", "--cert-dir", "/certs",
    ]  # fmt: skip


def test_the_real_clients_are_recognised(crane: str, skopeo: str) -> None:
    for kind, path in (("crane", crane), ("skopeo", skopeo)):
        found = find_client(path, os.environ)
        assert (found.kind.name, found.executable.path) == (kind, path)
        assert found.executable.version[0].isdigit()


def test_by_another_name(tmp_path: Path) -> None:
    install(tmp_path).rename(tmp_path / "puller-1.2")
    assert find_client(str(tmp_path / "puller-1.2"), os.environ).kind is Crane


def test_auto_takes_crane_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_client("auto", os.environ).executable.path == str(tmp_path / "crane")


def test_no_client_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(RunError, match="neither crane nor skopeo was found on PATH: install"):
        find_client("auto", os.environ)
    with pytest.raises(RunError, match="'skopeo' was not found"):
        find_client("skopeo", os.environ)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", "does not answer as crane"),
        ("exit 4", "ended with status 4"),
        ("kill -SEGV $$", "ended by signal 11"),
    ],
)
def test_what_is_no_client(tmp_path: Path, script: str, told: str) -> None:
    path = tmp_path / "crane"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    with pytest.raises(RunError, match=f"does not work: .*{told}"):
        find_client(str(path), os.environ)


def test_a_file_that_cannot_be_executed(tmp_path: Path) -> None:
    path = tmp_path / "crane"
    path.write_text("not a program")
    with pytest.raises(RunError, match="cannot be executed"):
        find_client(str(path), os.environ)
    path.chmod(0o755)
    with pytest.raises(RunError, match="does not work"):
        find_client(str(path), os.environ)


@pytest.mark.parametrize("text", ["linux", "linux/", "linux/amd64/v1/x", "linux/amd 64", "../x"])
def test_wrong_platforms(text: str) -> None:
    with pytest.raises(UsageError, match="OS/ARCH"):
        parse_platform(text)


def test_platforms() -> None:
    assert parse_platform("linux/arm/v7") == "linux/arm/v7"
    assert parse_platform(this_platform()).startswith("linux/")


def test_a_header_more() -> None:
    user = {"auths": {"cache:8080": {"auth": "eDp5"}}, "HttpHeaders": {"X-Mine": "1"}}
    assert with_header(user, ("X-Registry", "up:5000")) == {
        **user,
        "HttpHeaders": {"X-Mine": "1", "X-Registry": "up:5000"},
    }
    assert with_header({}, ("X-Registry", "up")) == {"HttpHeaders": {"X-Registry": "up"}}


@pytest.mark.parametrize(
    ("outcome", "error_class", "message"),
    [
        (Outcome(127, "cannot start", 0, 0, error=FileNotFoundError(2, "no")), "client", "cannot start"),
        (
            Outcome(127, "cannot start", 0, 0, error=BlockingIOError(11, "no")),
            "client",
            "cannot start; is a limit too low (ulimit -u, pids.max)?",
        ),
        (Outcome(127, "cannot start", 0, 0, error=OSError(5, "no")), "other", "cannot start"),
        (Outcome(-9, "", 0, 2.5, timed_out=True), "timeout", "killed after 2.5s (--pull-timeout)"),
        (Outcome(-11, "", 0, 1), "killed", None),
    ],
)
def test_failures_without_a_word_of_the_client(
    outcome: Outcome, error_class: str, message: str | None
) -> None:
    failure = failure_of(Crane, outcome)
    assert failure.error_class == error_class
    assert message is None or failure.message == message

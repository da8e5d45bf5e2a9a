"""What is selected from a real registry: images and not their signatures, each once, and what a stop interrupts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.lab.servers import Server, crane_registry
from tests.support.driving import drive, finish, start, wait_for_log
from tests.support.images import push
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

HEX = "0123456789abcdef" * 4
ARTIFACTS = (f"sha256-{HEX}", f"sha256-{HEX}.att", f"sha256-{HEX}.sbom", f"sha256-{HEX}.sig")


def wait_for_file(path: Path) -> None:
    wait_until(path.exists)


@pytest.fixture
def registry() -> Iterator[Server]:
    """An empty registry that lists tags in the order of the alphabet."""
    with crane_registry() as server:
        yield server


@pytest.mark.parametrize("client", ["crane", "skopeo", "ctr"])
def test_signatures_are_passed_over(
    client: str, registry: Server, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """They stand before the image's tag in the registry's list."""
    for tag in (*ARTIFACTS, "v1"):
        push(registry.address, "signed", tag, tag.encode())
    push(registry.address, "signatures", ARTIFACTS[3], b"only")
    words = (
        f"--pullthrough-url={registry.url}", f"--registry-url={registry.url}", "--layout=direct", "--passes=1",
        f"--client={request.getfixturevalue(client)}", "--workers=1",
    )  # fmt: skip
    ended = drive(tmp_path, *words)
    assert (ended.status, [event["image"] for event in ended.events]) == (0, ["signed:v1"])
    assert "skipped 5 tags of signatures and the like" in ended.log
    assert "1 repository with no other tag" in ended.log
    every = drive(tmp_path, *words, "--all-tags")
    assert (every.status, every.summary["pulled"]) == (0, 6)
    assert "skipped" not in every.log
    only = drive(tmp_path, *words, "--filter=^signatures:")
    assert only.status == 1
    assert "to pull these, use --all-tags" in only.stderr
    listed = drive(tmp_path, *words, "--image-list=-", stdin=f"signatures:{ARTIFACTS[3]}")
    assert (listed.status, listed.summary["pulled"]) == (0, 1)  # what the user names is pulled


def test_a_pattern_that_is_given_three_times_shares_each_image_once(
    upstream: Upstream, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, "--pullthrough-url=127.0.0.1:1", f"--registry-url={upstream.url}", "--dry-run", "--passes=1",
        "--patterns=-0001,-0001,-0001",
    )  # fmt: skip
    assert ended.status == 0
    (line,) = ended.stderr.splitlines()
    assert "the pattern '-0001' is given more than once; its workers share images (4)" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_images_are_dealt_ends_the_run(
    number: signal.Signals, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """Nothing that comes after the dealing is in the log."""
    (tmp_path / "images").write_text("".join(f"team-{k % 97}/app-{k:06d}:v1\n" for k in range(200_000)))
    patterns = ",".join(f"app-{k % 2000:04d}.*v1$|{k}x" for k in range(6000))
    running = start(
        tmp_path, "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--dry-run",
        f"--image-list={tmp_path}/images", f"--patterns={patterns}", environment=temporary,
    )  # fmt: skip
    wait_for_log(tmp_path, "images: 200000 listed")
    running.send_signal(number)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.stderr) == (128 + number, "")
    assert ended.summary["interrupted"] is True
    assert "dry run" not in ended.log
    assert "ramp of" not in ended.log


def test_a_signal_while_a_client_does_not_report_its_version(
    tmp_path: Path, temporary: dict[str, str]
) -> None:
    client = tmp_path / "crane"
    client.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/asked\nsleep 600\n")
    client.chmod(0o755)
    running = start(
        tmp_path, "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", f"--client={client}",
        environment=temporary,
    )  # fmt: skip
    wait_for_file(tmp_path / "asked")
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.stderr) == (143, "")


def test_a_signal_while_containerd_does_not_answer(
    ctr: str, upstream: Upstream, tmp_path: Path, temporary: dict[str, str]
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ctr").symlink_to(ctr)
    (programs / "containerd").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/asked\nexec sleep 600\n")
    (programs / "containerd").chmod(0o755)
    running = start(
        tmp_path, f"--pullthrough-url={upstream.url}", f"--registry-url={upstream.url}", "--workers=1",
        f"--client={programs}/ctr", "--layout=direct", environment={**temporary, "PATH": os.environ["PATH"]},
    )  # fmt: skip
    wait_for_file(tmp_path / "asked")
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.stderr) == (143, "")


def test_folders_that_a_run_makes_are_told(tmp_path: Path) -> None:
    words = (
        "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run", "--passes=1",
        "--image-list=-",
    )  # fmt: skip
    outputs = [
        f"--{name}-file={tmp_path}/new/{folder}/{name}"
        for name, folder in (
            ("metrics", "a/b"), ("log", "log"), ("events", "a/b"), ("summary", "sum"), ("report", "page")
        )
    ]  # fmt: skip
    ended = drive(tmp_path, *words, *outputs, stdin="app:v1")
    made = sorted(line.partition(": ")[2] for line in ended.stderr.splitlines())
    assert ended.status == 0
    assert [line.partition(":")[0] for line in made] == [
        "--log-file", "--metrics-file", "--report-file", "--summary-file",
    ]  # fmt: skip
    assert all("made the folder" in line for line in made)
    log = (tmp_path / "new" / "log" / "log").read_text()
    assert f"--events-file, --metrics-file: made the folder {tmp_path}/new/a/b" in log
    again = drive(tmp_path, *words, *outputs, stdin="app:v1")
    assert (again.status, again.stderr) == (0, "")

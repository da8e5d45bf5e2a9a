"""`ocidriver populate` and `ocidriver lab`, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from lib.lab.servers import crane_registry
from tests.support.driving import command, files, read
from tests.support.ports import taken_port
from tests.support.processes import descendants, wait_until_gone
from tests.support.running import run as run_program
from tests.support.waiting import SECONDS

SMALL = ("--groups=2", "--images=3", "--layers=1", "--layer-size=1KiB")


def run(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return run_program(*command(*words), environment=environment)


def test_populate_pushes_what_is_not_there_and_says_what_to_run(crane: str) -> None:
    del crane
    with crane_registry() as server:
        outputs = []
        for _ in range(2):
            done = run("populate", "--registry-url", server.address, *SMALL)
            assert (done.returncode, done.stderr) == (0, "")
            outputs.append(done.stdout)
        pushed = server.log_path.read_text().count(" PUT /v2/") - server.log_path.read_text().count(
            "/blobs/uploads/"
        )
    assert outputs[0].startswith(f"{server.address} has 6 images after ")
    assert (
        f"--pullthrough-url CACHE:PORT --registry-url {server.address} --patterns=-0001,-0002\n" in outputs[0]
    )
    assert pushed <= 6


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--registry-url=127.0.0.1:1"], 1, "cannot push: 127.0.0.1:1 refuses connections"),
        ([], 2, "--registry-url"),
        (["--registry-url=127.0.0.1:1", "--layer-size=1"], 2, "between 1KiB and 1GiB"),
        (["--registry-url=127.0.0.1:1", "--layer-size=big"], 2, "not a size"),
        (["--registry-url=127.0.0.1:1", f"--layer-size={'9' * 400}"], 2, "between 1KiB and 1GiB"),
        (["--registry-url=127.0.0.1:1", "--platforms=amd64"], 2, "OS/ARCH"),
    ],
)
def test_populate_errors_are_one_line(words: list[str], status: int, told: str) -> None:
    done = run("populate", *words)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1)
    assert told in done.stderr


@pytest.mark.parametrize(("cache", "upstream"), [("embedded", "crane"), ("distribution", "distribution")])
def test_the_load_test_runs_against_a_lab_and_ends_with_it(
    cache: str, upstream: str, crane: str, tmp_path: Path, temporary: dict[str, str]
) -> None:
    del crane
    done = run(
        "lab", f"--cache={cache}", f"--upstream={upstream}", *SMALL,
        "--", "--patterns=-0001,-0002", "--passes=2", *files(tmp_path), environment=temporary,
    )  # fmt: skip
    ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["failed"] == 0
    assert (ended.summary["images"], ended.summary["pulled"]) == (6, 12)
    assert ended.summary["settings"]["layout"] == ("ociregistry" if cache == "embedded" else "distribution")


def test_faults_of_the_cache_reach_the_clients(crane: str, tmp_path: Path) -> None:
    del crane
    done = run(
        "lab", *SMALL, "--fault=manifest-404:2x", "--latency=1",
        "--", "--patterns=-0001", "--passes=1", "--client=crane", *files(tmp_path),
    )  # fmt: skip
    ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    ended.check_accounts()
    assert 1 <= ended.summary["errors"].pop("not-found") <= 2
    assert ended.summary["errors"] == {}


def test_a_lab_from_any_folder(crane: str, tmp_path: Path) -> None:
    del crane
    words = ("lab", *SMALL, "--", "--patterns=.", "--dry-run", "--passes=1")
    done = run_program(*command(*words), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_of_the_embedded_cache_only() -> None:
    done = run("lab", "--cache=distribution", "--latency=5")
    assert done.returncode == 2
    assert "--latency works only with the embedded cache" in done.stderr


def running_lab(temporary: dict[str, str]) -> subprocess.Popen[str]:
    """A lab that has said all that it says."""
    lab = subprocess.Popen(
        command("lab", *SMALL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **temporary},
    )
    assert lab.stdout is not None
    shown = ""
    while "Ctrl-C" not in shown:
        line = lab.stdout.readline()
        assert line
        shown += line
    return lab


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_whatever_ends_a_lab_nothing_is_left(
    number: signal.Signals, status: int, crane: str, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """A lab that was killed leaves its folders, locked by nobody, to the next start."""
    del crane
    lab = running_lab(temporary)
    children = descendants(lab.pid)
    assert len(children) >= 2
    lab.send_signal(number)
    out, err = lab.communicate(timeout=SECONDS)
    assert (lab.returncode, out, err) == (status, "", "")
    wait_until_gone(children)
    if number == signal.SIGKILL:
        again = run("lab", *SMALL, "--", "--patterns=.", "--dry-run", "--passes=1", environment=temporary)
        assert again.returncode == 0


@pytest.mark.parametrize("option", ["--cache-port", "--upstream-port"])
def test_a_port_that_is_taken(option: str, crane: str, temporary: dict[str, str]) -> None:
    del crane
    with taken_port() as port:
        done = run("lab", *SMALL, f"{option}={port}", environment=temporary)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "address already in use; give another port" in done.stderr


@pytest.mark.parametrize("name", ["upstream", "cache"])
def test_a_lab_whose_server_has_gone_ends(name: str, crane: str, temporary: dict[str, str]) -> None:
    del crane
    lab = running_lab(temporary)
    children = descendants(lab.pid)
    words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in children}
    wanted = "lib.lab.cache" if name == "cache" else "registry"
    (server,) = [pid for pid, argv in words.items() if wanted in argv]
    os.kill(server, signal.SIGKILL)
    _, err = lab.communicate(timeout=SECONDS)
    assert lab.returncode == 1
    assert err.startswith(f"ocidriver: server ({name}) has ended; start the lab again: ")
    wait_until_gone(children)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--fault=nonsense"], "--fault: 'nonsense' is not a fault; use "),
        (["--latency=0"], "--latency"),
        (["--max-concurrent=x"], "--max-concurrent"),
        (["--no-coalescing", "--cache=distribution"], "--no-coalescing works only with the embedded cache"),
        (["--", "--bogus"], "No such option '--bogus'"),
        (["--", "--patterns=a", "--workers=2"], "give either --patterns "),
        (["--", "--patterns=("], "--patterns"),
        (["--", "--metrics-file="], "a file's name cannot be empty"),
    ],
)
def test_wrong_options_end_a_lab_before_it_starts(
    words: list[str], told: str, temporary: dict[str, str]
) -> None:
    """Without crane, so no server could start."""
    done = run("lab", *SMALL, *words, environment={**temporary, "PATH": "/nowhere"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr


def test_what_the_lab_prints_can_be_run(crane: str, tmp_path: Path) -> None:
    """From another terminal, as it says."""
    del crane
    lab = subprocess.Popen(
        command("lab", *SMALL), stdout=subprocess.PIPE, text=True, cwd=Path(command()[1]).parent
    )
    assert lab.stdout is not None
    lines: list[str] = []
    while not any("Ctrl-C" in line for line in lines):
        lines.append(lab.stdout.readline())
    try:
        (printed,) = (line for line in lines if "--pullthrough-url" in line)
        words = printed.replace("--iteration-seconds 10", "--iteration-seconds 0.3").split()[1:]
        done = run(*words, *files(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((tmp_path / "summary.json").read_text())["pulled"] > 0
    finally:
        lab.send_signal(signal.SIGINT)
        lab.wait(SECONDS)
        lab.stdout.close()

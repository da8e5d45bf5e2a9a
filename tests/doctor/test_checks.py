"""`ocidriver doctor` against set-ups that work and that do not: each fault gives the one line a person would need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from lib.doctor.command import recommended
from lib.lab.servers import Server, docker_registry, lab_cache
from tests.doubles.secured import TESTER
from tests.support.doctor import Checks, doctor, messages
from tests.support.driving import command
from tests.support.processes import descendants, read_file
from tests.support.programs import or_skip
from tests.support.running import run
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

PLAIN_ENVIRONMENT = {"PYTHONIOENCODING": "utf-8", "PATH": "/usr/bin:/bin"}


def failures(checks: Checks) -> list[str]:
    return [
        f"{each['name']}: {each['message']}; {each['advice']}"
        for each in checks
        if each["status"] == "failure"
    ]


def test_a_right_set_up(upstream: Upstream, crane: str) -> None:
    with lab_cache(upstream.address) as cache:
        words = [
            "--pullthrough-url",
            cache.address,
            "--registry-url",
            upstream.address,
            "--patterns=-0001,-0002",
            "--prune",
        ]
        status, checks, recommendation = doctor(*words, f"--client={crane}")
    assert (status, failures(checks)) == (0, [])
    told = messages(checks)
    assert {
        "client",
        "upstream",
        "server under test",
        "images",
        "pattern",
        "layout",
        "pull",
        "prune",
        "clock",
        "room",
    } <= set(told)
    assert "was pruned by Ociregistry's admin API (/cmd/prune) and is gone" in told["prune"]
    assert recommendation[1:] == [*words, f"--client={crane}"]


def test_a_cache_that_lets_clients_delete(upstream: Upstream, crane: str) -> None:
    with lab_cache(upstream.address, "--allow-delete") as cache:
        status, checks, _ = doctor(
            f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--patterns=-0001",
            "--layout=distribution", "--prune", "--prune-via=client", f"--client={crane}",
        )  # fmt: skip
    assert (status, failures(checks)) == (0, [])
    assert any("was pruned by crane delete and is gone" in check["message"] for check in checks)


def test_a_proxy_that_cannot_be_pruned(upstream: Upstream, proxy: Server, crane: str) -> None:
    words = [
        "--pullthrough-url",
        proxy.address,
        "--registry-url",
        upstream.address,
        "--patterns=-0001",
        "--layout=distribution",
    ]
    status, checks, recommendation = doctor(*words, "--prune", f"--client={crane}")
    (failure,) = failures(checks)
    assert status == 1
    assert failure.startswith(f"prune: --prune: {proxy.address} cannot be pruned: it refuses deletes")
    assert recommendation[1:] == [*words, f"--client={crane}"]
    # without --prune it is no fault, and no cold load is proposed
    done = run(*command("doctor", *words, f"--client={crane}", "--json"))
    assert done.returncode == 0
    assert list(json.loads(done.stdout)["next"]) == ["a first look", "cached", "capacity"]


def test_a_wrong_port(upstream: Upstream, crane: str) -> None:
    status, checks, _ = doctor(
        "--pullthrough-url=127.0.0.1:1",
        f"--registry-url={upstream.address}",
        "--patterns=-0001",
        f"--client={crane}",
    )
    assert status == 1
    assert failures(checks) == [
        "server under test: 127.0.0.1:1 refuses connections: is the server running, and is this its port?; "
    ]


def test_https_on_an_http_port(upstream: Upstream, proxy: Server, crane: str) -> None:
    status, checks, recommendation = doctor(
        f"--pullthrough-url=https://{proxy.address}", f"--registry-url={upstream.address}", "--patterns=-0001",
        "--layout=distribution", f"--client={crane}",
    )  # fmt: skip
    assert status == 1
    assert f"does not speak TLS: write http://{proxy.address}" in failures(checks)[0]
    assert recommendation[-2:] == ["--pullthrough-url", f"http://{proxy.address}"]


def test_an_upstream_without_a_catalog(upstream: Upstream, crane: str) -> None:
    with lab_cache(upstream.address) as cache:
        status, checks, _ = doctor(
            f"--pullthrough-url={cache.address}",
            f"--registry-url={cache.address}",
            "--patterns=-0001",
            f"--client={crane}",
        )
    assert status == 1
    assert "has no catalog" in failures(checks)[0]
    assert "--image-list" in failures(checks)[0]


def test_a_pattern_that_matches_nothing_and_two_that_overlap(
    upstream: Upstream, proxy: Server, crane: str
) -> None:
    base = [
        f"--pullthrough-url={proxy.address}",
        f"--registry-url={upstream.address}",
        "--layout=distribution",
        f"--client={crane}",
    ]
    status, checks, _ = doctor(*base, "--patterns=-0001,nowhere")
    assert status == 1
    assert "the pattern 'nowhere' selects none of 12 images" in failures(checks)[0]
    status, checks, _ = doctor(*base, "--patterns=-0001,-000")
    assert status == 0
    (warning,) = [check for check in checks if check["status"] == "warning" and check["name"] == "pattern"]
    assert warning["message"] == "more than one pattern selects 4 images"


def test_a_layout_that_does_not_fit(upstream: Upstream, crane: str) -> None:
    with lab_cache(upstream.address, "--no-plain") as cache:
        status, checks, recommendation = doctor(
            f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--patterns=-0001",
            "--layout=distribution", f"--client={crane}",
        )  # fmt: skip
    assert status == 1
    assert failures(checks) == ["layout: distribution does not fit: HTTP 400; use --layout ociregistry"]
    assert recommendation[-2:] == ["--layout", "ociregistry"]
    assert "--layout=distribution" not in recommendation
    assert any(check["name"] == "pull" and check["status"] == "ok" for check in checks)


def test_missing_credentials(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    with or_skip(docker_registry(htpasswd=TESTER.htpasswd)) as server:
        status, checks, _ = doctor(
            f"--pullthrough-url={server.address}", f"--registry-url={upstream.address}", "--patterns=-0001",
            "--layout=distribution", f"--client={crane}",
        )  # fmt: skip
    assert status == 1
    assert "credentials are missing or not accepted; log in: docker login" in failures(checks)[0]


def test_the_lines_that_people_see(upstream: Upstream, proxy: Server, crane: str) -> None:
    done = subprocess.run(
        command(
            "doctor", f"--pullthrough-url={proxy.address}", f"--registry-url={upstream.address}", "--patterns=-0001",
            "--layout=distribution", f"--client={crane}",
        ),
        capture_output=True, encoding="utf-8", timeout=100, check=False, env=PLAIN_ENVIRONMENT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    checks, recommendation, *after = done.stdout.rstrip().split("\n\n")
    assert all(line[0] in "✓!" for line in checks.splitlines())
    assert (recommendation, len(after)) == ("Run:", 7)  # this proxy cannot be pruned: no cold load
    assert all(words.startswith("  ") for words in after[::2])
    assert [words[-1] for words in after[1::2]] == [":"] * 3


@pytest.mark.parametrize(
    ("words", "changes", "expected"),
    [
        (["--prune", "--patterns", "-0001"], {"--prune": None}, ["--patterns", "-0001"]),
        (
            ["--prune=true", "--layout", "zot", "--x"],
            {"--prune": None, "--layout": "direct"},
            ["--x", "--layout", "direct"],
        ),
        (["--layout=zot", "--json"], {"--layout": "direct"}, ["--layout", "direct"]),
        (["--json", "--all-tags"], {}, ["--all-tags"]),
    ],
)
def test_the_recommended_command_line(
    words: list[str], changes: dict[str, str | None], expected: list[str]
) -> None:
    assert recommended(words, changes) == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_a_trial_pull_that_hangs(
    number: signal.Signals, upstream: Upstream, crane: str, temporary: dict[str, str]
) -> None:
    """The pull itself would be given up after 300 s."""
    with lab_cache(upstream.address, "--fault=blob-hang") as cache:
        words = (
            f"--pullthrough-url={cache.address}",
            f"--registry-url={upstream.address}",
            "--patterns=-0001",
        )
        running = subprocess.Popen(
            command("doctor", *words, f"--client={crane}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **temporary},
            start_new_session=True,
        )
        wait_until(lambda: any(b"pull" in read_file(pid, "cmdline") for pid in descendants(running.pid)))
        running.send_signal(number)
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, err) == (128 + number, b"")
    assert b"pull:" not in out

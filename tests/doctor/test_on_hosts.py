"""`ocidriver doctor --hosts`: a real Dask cluster on this machine, the real client, and the lab's cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from lib.lab.servers import lab_cache
from tests.support.doctor import doctor
from tests.support.driving import command
from tests.support.hosts import cluster
from tests.support.processes import descendants, read_file
from tests.support.running import run
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

pytest.importorskip("distributed")

LOCAL = "--hosts=local:2"


def test_every_host_examines_its_own_share(upstream: Upstream, crane: str, temporary: dict[str, str]) -> None:
    with lab_cache(upstream.address) as cache:
        words = [
            LOCAL,
            f"--pullthrough-url={cache.address}",
            f"--registry-url={upstream.address}",
            "--workers=3",
            "--prune",
            f"--client={crane}",
        ]
        done = run(*command("doctor", "--json", *words), environment=temporary)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["hosts"] == ["local-1", "local-2"]
    assert told["command"][1:] == words
    assert all(LOCAL in each for each in told["next"].values())
    checks = told["checks"]
    assert [each for each in checks if each["status"] == "failure"] == []
    hosts = {each["name"]: each.get("hosts") for each in checks}
    assert [hosts[name] for name in ("upstream", "images", "hosts", "clocks")] == [None] * 4
    assert hosts["client"] == hosts["server under test"] == told["hosts"]
    pruned = {each["hosts"][0]: each["message"] for each in checks if each["name"] == "prune"}
    assert list(pruned) == told["hosts"]
    assert len({message.split(" was pruned")[0] for message in pruned.values()} & set(upstream.images)) == 2


def test_the_lines_that_people_see(upstream: Upstream, temporary: dict[str, str]) -> None:
    """Each failure is one line for both hosts, and all of them are told."""
    done = run(
        *command(
            "doctor", LOCAL, "--pullthrough-url=127.0.0.1:1", f"--registry-url={upstream.address}",
            "--workers=2", "--client=/nowhere/crane",
        ),
        environment={**temporary, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    failed = [line.removeprefix("✗ ") for line in done.stdout.splitlines() if line.startswith("✗")]
    client, server = failed
    assert client.startswith("client: 2 hosts: the client '/nowhere/crane' was not found")
    assert server.startswith("server under test: 2 hosts: 127.0.0.1:1 refuses connections")
    assert "✓ hosts: 2 hosts can take part: local-1, local-2" in done.stdout
    assert done.stdout.rstrip().endswith("Change the options as advised above, then run doctor again.")


def test_the_hosts_are_examined_even_if_the_upstream_is_not_there(
    upstream: Upstream, crane: str, temporary: dict[str, str]
) -> None:
    with lab_cache(upstream.address) as cache:
        status, checks, _ = doctor(
            LOCAL, f"--pullthrough-url={cache.address}", "--registry-url=127.0.0.1:1",
            "--workers=2", f"--client={crane}", environment=temporary,
        )  # fmt: skip
    assert status == 1
    assert {each["name"] for each in checks if each["status"] == "failure"} == {"upstream", "images"}
    assert {"server under test", "client", "limits"} <= {each["name"] for each in checks if each.get("hosts")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_all_trial_pulls(
    number: signal.Signals, upstream: Upstream, crane: str, temporary: dict[str, str]
) -> None:
    """The pulls themselves would be given up after 300 s."""
    with lab_cache(upstream.address, "--fault=blob-hang") as cache:
        words = (f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--workers=2")
        running = subprocess.Popen(
            command("doctor", LOCAL, *words, f"--client={crane}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **temporary},
            start_new_session=True,
        )

        def pulls() -> int:
            return sum(b"\0pull\0" in read_file(pid, "cmdline") for pid in descendants(running.pid))

        wait_until(lambda: pulls() == 2)
        running.send_signal(number)
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, err) == (128 + number, b"")
    assert b"pull:" not in out


def test_a_cluster_with_two_workers_on_one_machine(
    upstream: Upstream, crane: str, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """Nothing is left there, so that the next one can begin."""
    with cluster(tmp_path, ("a", "b")) as dask, lab_cache(upstream.address) as cache:
        words = [
            f"--hosts={dask.address}",
            "--min-hosts=1",
            f"--pullthrough-url={cache.address}",
            f"--registry-url={upstream.address}",
            "--workers=2",
            f"--client={crane}",
        ]
        for least in (2, 1):
            words[1] = f"--min-hosts={least}"
            status, checks, _ = doctor(*words, environment=temporary)
            assert status == least - 1
            (left_out,) = [
                each["message"] for each in checks if each["name"] == "hosts" and each["status"] == "warning"
            ]
            assert "1 Dask worker left out, because another one on the same machine takes part" in left_out
            assert [len(each["hosts"]) for each in checks if each["name"] == "pull"] == [1]
            failed = [each["message"] for each in checks if each["status"] == "failure"]
            assert failed == [] or failed[0].startswith(
                "--min-hosts 2: the Dask workers are on 1 machine only"
            )


def test_no_scheduler(upstream: Upstream) -> None:
    """What this machine can check is checked."""
    status, checks, _ = doctor(
        "--hosts=tcp://127.0.0.1:1", "--pullthrough-url=127.0.0.1:1",
        f"--registry-url={upstream.address}", "--workers=2",
    )  # fmt: skip
    assert status == 1
    failed = [each for each in checks if each["status"] == "failure"]
    assert [each["name"] for each in failed] == ["hosts"]
    assert "connection refused" in failed[0]["message"]
    assert "images" in {each["name"] for each in checks}

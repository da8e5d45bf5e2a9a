"""The commonest failures with the real clients, against the misbehaving registry.

Each client is launched for all cases at once when the first of them is asked for: crane's own retries take four seconds
a failure, one after the other they would take minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.clients.classify import classify
from lib.clients.table import client_kind
from lib.outcomes import Failure
from lib.processes.launch import Launcher
from tests.doubles.faulty import FaultyRegistry
from tests.doubles.good_image import IMAGE
from tests.record_failures import CLIENTS, Launch, argv, on_a_full_disk, program, run
from tests.support import running
from tests.support.driving import command
from tests.support.mounts import can_mount
from tests.support.paths import ROOT
from tests.support.ports import refused_port

# What never ends is killed after the first of these, and what takes a while, as crane's retries do, has time enough.
ENDLESS_SECONDS, LIMIT_SECONDS = 5.0, 100.0

# The class for crane and for skopeo, and crane's own retries.
CASES = {
    "manifest-404-json": ("not-found", "not-found", 0),
    "manifest-401-json": ("unauthorized", "unauthorized", 0),
    "manifest-403": ("forbidden", "forbidden", 0),
    "manifest-429-json-after": ("rate-limited", "rate-limited", 2),
    "manifest-503-json": ("server-error", "server-error", 2),
    "manifest-500-hostile": ("server-error", "server-error", 2),
    "blob-502-html": ("server-error", "server-error", 2),
    "token-503-hostile": ("server-error", "server-error", 2),
    "blob-truncated": ("reset", "reset", 0),
    "blob-corrupted": ("bad-digest", "bad-digest", 0),
    "manifest-noplatform": ("no-platform", "no-platform", 0),
    "manifest-html": ("bad-content", "bad-content", 0),
    "manifest-silent": ("timeout", "timeout", 0),
    "blob-drip": ("timeout", "timeout", 0),
    "manifest-redirect": ("timeout", "bad-content", 0),
    "blob-nolocation": ("bad-content", "bad-content", 0),
    "blob-ftplocation": ("bad-content", "bad-content", 0),
    "manifest-badheader": ("bad-content", "bad-content", 0),
    "manifest-notgzip": ("bad-content", "bad-content", 0),
    "tls": ("tls", "tls", 2),
    "refused": ("refused", "refused", 0),
    "disk-full": ("disk", "disk", 0),
}
DELETES = {
    "delete-405": ("unsupported", "unsupported", 0),
    "delete-404-json": ("not-found", "not-found", 0),
    "delete-500-json": ("server-error", "server-error", 2),
}
RECOVERIES = {"manifest-503-x2": 2, "blob-429-x1": 1}

Outcome = tuple[int, bool, str]


class Live:
    """A registry, and for each client what its launches end with."""

    def __init__(
        self, registry: FaultyRegistry, refused: str, folder: Path, pool: ThreadPoolExecutor
    ) -> None:
        self.registry = registry
        self._refused = refused
        self._folder = folder
        self._pool = pool
        self._running: dict[str, dict[str, Future[Outcome]]] = {}

    def outcome(self, client: str, case: str) -> Outcome:
        if program(client) is None:
            pytest.skip(f"{client} is not installed")
        if client not in self._running:
            self._running[client] = {launch.case: self._start(launch) for launch in self._launches(client)}
        return self._running[client][case].result(2 * LIMIT_SECONDS)

    def _start(self, launch: Launch) -> Future[Outcome]:
        crane, skopeo, _ = {**CASES, **DELETES}.get(launch.case, ("", "", 0))
        endless = (crane if launch.client == "crane" else skopeo) == "timeout"
        limit = ENDLESS_SECONDS if endless else LIMIT_SECONDS
        return self._pool.submit(run, launch, str(self._folder), limit)

    def _launches(self, client: str) -> Iterator[Launch]:
        folder, good = str(self._folder), f"{self.registry.address}/good/app:v1"
        yield Launch(client, "good", "pull", argv(client, "pull", good, folder))
        for case in (*CASES, *RECOVERIES):
            if case == "refused":
                yield Launch(
                    client, case, "pull", argv(client, "pull", f"{self._refused}/good/app:v1", folder)
                )
            elif case == "disk-full":
                yield Launch(client, case, "pull", on_a_full_disk(client, good, folder))
            else:
                reference = self.registry.reference(case, f"{client}:v1")
                yield Launch(client, case, "pull", argv(client, "pull", reference, folder, tls=case == "tls"))
        for case in DELETES:
            yield Launch(
                client, case, "delete", argv(client, "delete", self.registry.reference(case), folder)
            )


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with FaultyRegistry() as registry, refused_port() as refused, ThreadPoolExecutor(16) as pool:
        yield Live(registry, refused, tmp_path_factory.mktemp("live"), pool)


@pytest.mark.parametrize("case", [*CASES, *DELETES])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_failure_has_its_class(live: Live, client: str, case: str) -> None:
    if (client, case) == ("skopeo", "disk-full") and not can_mount():
        pytest.skip("this user may not mount a small file system")
    returncode, timed_out, stderr = live.outcome(client, case)
    crane, skopeo, hidden = (CASES | DELETES)[case]
    failure: Failure = classify(client_kind(client), returncode, stderr, timed_out=timed_out)
    assert failure.error_class == (crane if client == "crane" else skopeo), stderr
    assert timed_out == (failure.error_class == "timeout")
    assert client_kind(client).retries(stderr, succeeded=False) == (hidden if client == "crane" else None)


def without_ports(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs a program where no local port is free, and `{address}` is that of a good registry."""
    alone = ["unshare", "--net"]
    tools = shutil.which("unshare") and shutil.which("ip")
    if not tools or running.run(*alone, "ip", "link", "set", "lo", "up").returncode != 0:
        pytest.skip("this user may not have a network of its own")
    return running.run(*alone, sys.executable, "-m", "tests.doubles.portless", *words, cwd=ROOT)


def test_so_it_is_if_the_driver_itself_finds_none() -> None:
    addresses = ("--pullthrough-url={address}", "--registry-url={address}")
    done = without_ports(*command(*addresses, "--layout=distribution", "--workers=1", "--passes=1"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "there is no free local port for a connection to 127.0.0.1:" in line
    assert line.endswith("; is a limit too low (net.ipv4.ip_local_port_range)?")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_machine_without_free_ports_is_named(client: str, tmp_path: Path) -> None:
    """A minute's connections keep their ports, so a client may find none. That is not the server's fault."""
    path = program(client)
    if path is None:
        pytest.skip(f"{client} is not installed")
    _, *words = argv(client, "pull", "{address}/good/app:v1", str(tmp_path))
    done = without_ports(path, *words)
    failure = classify(client_kind(client), done.returncode, done.stderr)
    assert failure.error_class == "client", done.stderr
    assert failure.message.endswith("; is a limit too low (net.ipv4.ip_local_port_range)?")


@pytest.mark.parametrize(
    ("client", "verb", "case", "word"),
    [
        ("crane", "pull", "manifest-404-bigjson", "not-found"),
        ("crane", "pull", "manifest-503-bigjson", "server-error"),
        ("crane", "delete", "delete-405-big", "unsupported"),
        ("skopeo", "pull", "manifest-404-longjson", "not-found"),
        ("skopeo", "delete", "delete-405-long", "unsupported"),
        ("skopeo", "delete", "delete-500-long", "server-error"),
    ],
)
def test_a_server_cannot_drown_the_clients_own_words(
    live: Live, client: str, verb: str, case: str, word: str, tmp_path: Path
) -> None:
    """With more text than the driver keeps, full of the words of other failures."""
    path = program(client)
    if path is None:
        pytest.skip(f"{client} is not installed")
    _, *arguments = argv(client, verb, live.registry.reference(case), str(tmp_path))
    launcher = Launcher(os.environ)
    try:
        outcome = launcher.run([path, *arguments], LIMIT_SECONDS)
    finally:
        launcher.close()
    assert len(outcome.stderr) > 50_000
    assert classify(client_kind(client), outcome.returncode, outcome.stderr).error_class == word


@pytest.mark.parametrize("case", RECOVERIES)
def test_crane_recovers_by_itself_and_says_how_often_it_tried(live: Live, case: str) -> None:
    returncode, _, stderr = live.outcome("crane", case)
    assert returncode == 0, stderr
    assert client_kind("crane").retries(stderr, succeeded=True) == RECOVERIES[case]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_double_serves_a_good_image(live: Live, client: str) -> None:
    """Else every failure above might be the double's own."""
    returncode, _, stderr = live.outcome(client, "good")
    assert (returncode, stderr) == (0, "")
    asked = {path.rpartition("/")[2] for (_, path) in live.registry.requests if path.startswith("/v2/good/")}
    assert {"v1", *IMAGE.blobs} <= asked

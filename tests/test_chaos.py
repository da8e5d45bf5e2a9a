"""A server under test that is killed, stopped, slowed and made to fail, and a driver whose accounts have to agree.

What holds, however the server behaves:

* attempts = pulled + failed + interrupted, the same in summary, samples, steps, workers, metrics lines and events;
* seen from the clients: each attempt is a launch, each pull one that ended with 0;
* seen from the server: the manifests that its log says it gave are the pulls, and the failures of crane that came after
  the manifest. Only what was cut short may stand there besides: a client that was killed, an answer on its way when the
  server was killed. In a batch the other images of a launch that failed come to that, and skopeo asks again by itself,
  so there only the pulls are told apart.

Each run lasts until every trouble has come, in a random order, and as many times more as fit into
OCIDRIVER_CHAOS_SECONDS; OCIDRIVER_CHAOS_SEED sets the order.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from signal import SIGTERM
from typing import Any

import pytest

from tests.doubles.unsteady import Unsteady
from tests.support.driving import Ended, finish, left_running, start
from tests.support.upstream import Upstream

SECONDS = float(os.environ.get("OCIDRIVER_CHAOS_SECONDS", "7"))
SEED = int(os.environ.get("OCIDRIVER_CHAOS_SEED", "1"))
WORKERS = 8
TROUBLE_SECONDS = 0.7
# A cache that was killed has lost its blobs: who had a manifest of it is told that they are not found.
CLASSES = {"refused", "reset", "timeout", "server-error", "not-found"}
AFTER_THE_MANIFEST = "saving tarball"

# Writes down each launch, and each exit status. A pause after a failure leaves the machine to the server, which starts.
WITNESS = """#!/bin/sh
case " $* " in *" pull "*|*" copy "*|*" sync "*) ;; *) exec "@CLIENT@" "$@" ;; esac
echo "$@" >> "@FOLDER@/launched"
"@CLIENT@" "$@"
status=$?
echo $status >> "@FOLDER@/exited"
[ $status = 0 ] || sleep 0.2
exit $status
"""


def witness(client: str, folder: Path) -> Path:
    path = folder / Path(client).name
    path.write_text(WITNESS.replace("@CLIENT@", client).replace("@FOLDER@", str(folder)))
    path.chmod(0o755)
    return path


@pytest.fixture
def unsteady(upstream: Upstream, tmp_path: Path) -> Iterator[Unsteady]:
    with Unsteady(upstream.address, tmp_path, Random(SEED)) as server:
        yield server


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize(("client", "batch"), [("crane", 1), ("crane", 5), ("skopeo", 1), ("skopeo", 5)])
def test_the_accounts_agree_whatever_the_server_does(
    client: str,
    batch: int,
    unsteady: Unsteady,
    upstream: Upstream,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    program = witness(request.getfixturevalue(client), tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    running = start(
        tmp_path, f"--pullthrough-url={unsteady.address}", f"--registry-url={upstream.address}", f"--client={program}",
        f"--workers={WORKERS}", "--passes=1000000", "--iteration-seconds=0.3", "--tally-seconds=1", "--prune",
        f"--batch={batch}", "--pull-timeout=5", "--grace=100", environment={"TMPDIR": str(temporary)},
    )  # fmt: skip
    wait_for_a_pull_and_a_client_to_be_seen(running, temporary)
    unsteady.shake(TROUBLE_SECONDS, SECONDS)
    running.send_signal(SIGTERM)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.stdout, ended.stderr) == (143, "", "")
    assert "Traceback" not in ended.log
    assert left_running(temporary) == []
    assert list(temporary.iterdir()) == []
    ended.check_accounts()
    check_the_clients_side(ended, tmp_path)
    check_the_servers_side(ended, unsteady, exact=client == "crane" and batch == 1)
    assert "refused" in ended.summary["errors"]
    assert set(ended.summary["errors"]) <= CLASSES
    assert ended.summary["pruned"] > 0


def wait_for_a_pull_and_a_client_to_be_seen(running: subprocess.Popen[str], temporary: Path) -> None:
    """Where no client is ever seen, none being left would say nothing."""
    while not (temporary.parent / "exited").exists() or not left_running(temporary):
        assert running.poll() is None


def check_the_clients_side(ended: Ended, folder: Path) -> None:
    """Launches and good ends as the witness wrote them down; a client that was killed may have no end there."""
    pulls = pulls_of(ended)
    launched = (folder / "launched").read_text().splitlines()
    exited = (folder / "exited").read_text().split()
    alone = [event for event in pulls if event.get("repulled")]
    launches = {event.get("launch", number) for number, event in enumerate(pulls)}
    good = {event.get("launch", number) for number, event in enumerate(pulls) if is_whole(event)}
    assert len(alone) == ended.summary["repulled"]
    assert len(launched) == len(launches) + len(alone)
    assert exited.count("0") == len(good) + sum(event["outcome"] == "ok" for event in alone)
    assert len(launched) - len(exited) <= cut_short(pulls) + len(launches_without_a_result(pulls))


def launches_without_a_result(pulls: list[dict[str, Any]]) -> set[int]:
    """The batches whose images were all pulled again alone: no event says whether the launch failed or was killed."""
    results = {event["launch"] for event in pulls if "launch" in event and not event["repulled"]}
    return {event["launch"] for event in pulls if "launch" in event} - results


def is_whole(event: dict[str, Any]) -> bool:
    """Whether its launch pulled all that it was to pull."""
    return event["outcome"] == "ok" and not event.get("repulled")


def check_the_servers_side(ended: Ended, server: Unsteady, *, exact: bool) -> None:
    pulls, given = pulls_of(ended), server.given()
    pulled = Counter(event["image"] for event in pulls if event["outcome"] == "ok")
    assert not pulled - given
    if exact:
        later = Counter(
            event["image"] for event in pulls if (event["message"] or "").startswith(AFTER_THE_MANIFEST)
        )
        assert not pulled + later - given
        assert (given - pulled - later).total() <= cut_short(pulls) + server.kills * WORKERS


def pulls_of(ended: Ended) -> list[dict[str, Any]]:
    return [event for event in ended.events if event["op"] == "pull"]


def cut_short(pulls: list[dict[str, Any]]) -> int:
    return sum(event["class"] == "timeout" or event["outcome"] == "interrupted" for event in pulls)

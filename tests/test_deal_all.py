"""`--deal all` and `--herd`, with the fake crane, and with the real clients through real servers."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lib.lab.servers import docker_registry_proxy, lab_cache
from tests.doubles.fake_crane import install, launches, open_gate, wait_for_launches
from tests.doubles.noting import NotingRegistry, noting_registry
from tests.support.asking import get
from tests.support.driving import Ended, between_nobody, drive, finish, start, wait_for_outcomes
from tests.support.kinds import kinds
from tests.support.programs import or_skip
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.test_pull_through import served

IMAGES = [f"ok/app-{k}:v1" for k in range(6)]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def options(client: Path, images: list[str], *more: str) -> list[str]:
    """A run whose shape is among `more`."""
    return [*between_nobody(client, images, None), *more]


def pulls(ended: Ended) -> list[dict[str, Any]]:
    return [event for event in ended.events if event["op"] == "pull"]


def prunes(ended: Ended) -> list[dict[str, Any]]:
    return [event for event in ended.events if event["op"] == "prune"]


def order(ended: Ended, worker: int) -> list[str]:
    """The images in the order in which this worker pulled them."""
    return [event["image"] for event in pulls(ended) if event["worker"] == worker]


def herds(ended: Ended) -> dict[int, list[dict[str, Any]]]:
    """The pulls of each herd."""
    found = defaultdict(list)
    for event in pulls(ended):
        found[event["herd"]].append(event)
    return dict(found)


def check_herds(ended: Ended) -> None:
    """All pulls of a herd are of one image, and herds follow one another.

    The summary counts the herds, and says how far their starts lie apart.
    """
    ended.check_accounts()
    counted, found, spreads = ended.summary["herds"], herds(ended), []
    assert sorted(found) == list(range(1, len(found) + 1))
    for events in found.values():
        assert len({event["image"] for event in events}) == 1
        assert len({event["worker"] for event in events}) == len(events)
        started = [datetime.fromisoformat(event["started"]) for event in events]
        spreads.append((max(started) - min(started)).total_seconds() * 1000)
    if counted["count"] == len(found):  # no stop cut one short
        spread = counted["spread_ms"]
        assert spread["count"] == len(found)
        assert (spread["min"], spread["max"]) == pytest.approx((min(spreads), max(spreads)), abs=0.01)
    assert counted["upstream_fetches_per_herd"] is None


# --- --deal all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3, 6, 20])
def test_every_worker_pulls_all_images_and_begins_at_a_different_place(
    client: Path, tmp_path: Path, workers: int
) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, f"--workers={workers}", "--deal=all", "--passes=2"))
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    summary = ended.summary
    assert (summary["pulled"], summary["images"]) == (2 * workers * len(IMAGES), len(IMAGES))
    for worker in range(workers):
        first = worker * len(IMAGES) // workers
        assert order(ended, worker) == 2 * [*IMAGES[first:], *IMAGES[:first]]
    sets = [(each["pattern"], each["images"], each["pulled"]) for each in summary["image_sets"]]
    assert sets == [(f"{k + 1}/{workers}", 6, 12) for k in range(workers)]
    assert [each["passes"] for each in summary["workers"]] == [2] * workers
    assert summary["settings"]["deal"] == "all"
    assert "share images" not in ended.log
    assert "workers start together, each pulls all images\n" in ended.log
    assert not {"herds", "herd"} & {*summary, *summary["settings"], *ended.events[0]}


def test_a_run_that_splits_its_images_does_not_name_the_option(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, "--workers=2", "--deal=split", "--passes=1"))
    assert ended.summary["pulled"] == len(IMAGES)
    assert not {"deal", "herd"} & set(ended.summary["settings"])
    assert "workers start together\n" in ended.log


def test_batches_and_shuffled_passes(client: Path, tmp_path: Path) -> None:
    words = ("--workers=3", "--deal=all", "--passes=3", "--batch=4", "--shuffle", "--seed=5")
    ended = drive(tmp_path, *options(client, IMAGES, *words))
    assert ended.status == 0
    ended.check_accounts()
    orders = [order(ended, worker) for worker in range(3)]
    for worker, images in enumerate(orders):
        assert images[:6] == [*IMAGES[2 * worker :], *IMAGES[: 2 * worker]]
        assert sorted(images[6:12]) == sorted(images[12:]) == IMAGES
    assert len({tuple(images[6:]) for images in orders}) == 3


@pytest.mark.parametrize(
    "shape",
    [["--iteration-seconds=0.3"], ["--duration=1"], ["--stage=0.6:3", "--stage=0.4:0"], ["--duration=1", "--rate=30"]],
)  # fmt: skip
def test_all_shapes(client: Path, tmp_path: Path, shape: list[str]) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, "--workers=3", "--deal=all", *shape))
    assert ended.status == 0
    ended.check_accounts()
    assert {event["image"] for event in pulls(ended)} <= set(IMAGES)


def test_a_dry_run(client: Path, tmp_path: Path) -> None:
    words = ("--workers=9", "--deal=all", "--passes=2", "--dry-run", "--prune", "--shuffle")
    ended = drive(tmp_path, *options(client, IMAGES, *words))
    assert ended.status == 0
    ended.check_accounts()
    assert ended.summary["pulled"] == 2 * 9 * len(IMAGES)
    assert launches(client) == []


def test_workers_that_prune_what_others_pruned_have_not_failed(
    upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    """The first worker has pruned everything before the second one prunes the same. Deletes say so, with 404."""
    with lab_cache(upstream.address, "--allow-delete") as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={crane}",
            "--workers=6", "--deal=all", "--passes=2", "--prune", "--prune-via=client", "--filter=-0001",
        )  # fmt: skip
    assert ended.status == 0
    ended.check_accounts()
    summary = ended.summary
    assert summary["pulled"] + summary["failed"] == 2 * 6 * 4
    assert set(summary["errors"]) <= {"not-found"}  # pruned by another in the middle of the pull
    assert (summary["prune_failed"], summary["prune_errors"]) == (0, {})
    assert summary["pruned"] == summary["pulled"]  # each worker prunes what it pulled


# --- --herd ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--shuffle", "--seed=3"]])
def test_all_workers_pull_the_same_image_then_the_next_one(
    client: Path, tmp_path: Path, more: list[str]
) -> None:
    words = ("--workers=8", "--herd", "--passes=2", f"--report-file={tmp_path}/report.html", *more)
    ended = drive(tmp_path, *options(client, IMAGES, *words), "--progress=always")
    assert ended.status == 0
    check_herds(ended)
    summary = ended.summary
    assert summary["pulled"] == 2 * 8 * len(IMAGES)
    assert summary["herds"]["count"] == 2 * len(IMAGES)
    assert {len(events) for events in herds(ended).values()} == {8}
    assert len({tuple(order(ended, worker)) for worker in range(8)}) == 1
    assert summary["herds"]["latency_ms"]["count"] == 12
    assert (summary["settings"]["herd"], summary["settings"]["deal"]) == (True, "all")
    assert {event["first"] for event in pulls(ended) if event["pass"] == 1} == {True}
    assert {event["first"] for event in pulls(ended) if event["pass"] == 2} == {False}
    # of a launch, only the order of names says when it was: no launch of a herd comes before the one before is over
    pulled = [line.removeprefix("pull 127.0.0.1:1/") for line in launches(client) if line.startswith("pull")]
    assert pulled == [image for image in order(ended, 0) for _ in range(8)]
    assert "herds: 12, starts within" in ended.log
    assert "workers start together, all pull the same image at once\n" in ended.log
    assert ("started more than 50 ms after the first pull of the herd" in ended.log) == (
        summary["herds"]["late"] > 0
    )
    report = (tmp_path / "report.html").read_text()
    assert "Spread of the starts of each herd" in report


def test_a_herd_with_failed_pulls(client: Path, tmp_path: Path) -> None:
    images = ["ok/a:1", "refused/b:1", "ok/c:1"]
    ended = drive(tmp_path, *options(client, images, "--workers=4", "--herd", "--passes=2"))
    assert ended.status == 0
    check_herds(ended)
    assert (ended.summary["pulled"], ended.summary["failed"]) == (16, 8)
    counted = ended.summary["herds"]
    assert (counted["count"], counted["spread_ms"]["count"], counted["latency_ms"]["count"]) == (6, 6, 4)


@pytest.mark.parametrize(
    "shape",
    [
        ["--iteration-seconds=0.4"],
        ["--iteration-seconds=0.3", "--hold=0.5"],
        ["--duration=1"],
        ["--stage=0.6:3", "--stage=0.4:3", "--stage=0.4:0"],
        ["--passes=2", "--iteration-seconds=0.2"],
    ],
)
def test_herds_while_workers_start_and_stop(client: Path, tmp_path: Path, shape: list[str]) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, "--workers=3", "--herd", *shape))
    assert ended.status == 0
    check_herds(ended)
    assert {event["worker"] for event in pulls(ended)} <= {0, 1, 2}
    if "--passes=2" in shape:
        assert ended.summary["pulled"] == 2 * 3 * len(IMAGES)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_in_the_middle_of_a_herd(
    client: Path, tmp_path: Path, temporary: dict[str, str], signals: int
) -> None:
    """After the second signal, the clients are killed; after one, they finish."""
    words = options(
        client, ["gate/app:1", "ok/app:2"], "--workers=5", "--herd", "--passes=1000", "--grace=600"
    )
    running = start(tmp_path, *words, environment=temporary)
    wait_for_launches(client, count=5)
    for _ in range(signals):
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping: " in (tmp_path / "log").read_text())
    if signals == 1:
        open_gate(client)
    ended = finish(running, tmp_path)
    assert ended.status == 143
    check_herds(ended)
    done = ("ok" if signals == 1 else "interrupted",) * 5
    assert tuple(ended.outcomes()) == done
    assert ended.summary["herds"]["count"] == (1 if signals == 1 else 0)


def test_a_herd_begins_when_the_slowest_has_ended(client: Path, tmp_path: Path) -> None:
    """One of four clients stops at a gate. The others are done, and wait."""
    wrapper = tmp_path / "wrapped" / "crane"
    wrapper.parent.mkdir()
    wrapper.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = pull ] && mkdir {tmp_path}/one 2>/dev/null; then\n'
        f"    until [ -e {tmp_path}/go ]; do sleep 0.05; done\n"
        "fi\n"
        f'exec {client} "$@"\n'
    )
    wrapper.chmod(0o755)
    words = options(client, IMAGES, "--workers=4", "--herd", "--passes=1", f"--client={wrapper}")
    running = start(tmp_path, *words)
    wait_for_outcomes(tmp_path, "ok", 3)
    time.sleep(0.2)  # a herd that did not wait would begin now
    assert len([line for line in launches(client) if line.startswith("pull")]) == 3
    (tmp_path / "go").touch()
    ended = finish(running, tmp_path)
    assert ended.status == 0
    check_herds(ended)
    assert ended.summary["pulled"] == 4 * len(IMAGES)


def test_the_reported_starts_are_those_of_the_processes(
    upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    """Each client notes the start time in its /proc/PID/stat, which the kernel counts in hundredths of a second."""
    notes, wrapper = tmp_path / "notes", tmp_path / "bin" / "crane"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = pull ] && cat /proc/$$/stat >> {notes}\nexec {crane} "$@"\n')
    wrapper.chmod(0o755)
    with lab_cache(upstream.address) as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}",
            f"--client={wrapper}", f"--filter=^{upstream.images[0]}$", "--workers=30", "--herd", "--passes=1",
        )  # fmt: skip
        requests = metrics(cache.address)
    assert ended.status == 0
    check_herds(ended)
    assert requests['lab_upstream_requests_total{kind="manifest"}'] == 1
    assert requests['lab_upstream_requests_total{kind="blob"}'] == 3
    assert requests["lab_pulls_total"] == ended.summary["pulled"] == 30
    tick = 1 / os.sysconf("SC_CLK_TCK")
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    begun = sorted(
        boot + int(line.rpartition(")")[2].split()[19]) * tick for line in notes.read_text().splitlines()
    )
    (events,) = herds(ended).values()
    started = sorted(datetime.fromisoformat(event["started"]).timestamp() for event in events)
    ends = sorted(datetime.fromisoformat(event["time"]).timestamp() for event in events)
    assert len(begun) == len(started) == 30
    margin = (
        tick + 0.02
    )  # of the clocks' conversion; how much later a process may start is the machine's affair
    for launched, process, end in zip(started, begun, ends, strict=True):
        assert launched - margin <= process <= end + margin


@pytest.mark.parametrize("prune_first", [[], ["--prune-first"]])
def test_with_prune_each_herd_is_cold(
    upstream: Upstream, crane: str, tmp_path: Path, prune_first: list[str]
) -> None:
    """The cache's own counts: each herd fetches its image again, and only once."""
    with lab_cache(upstream.address) as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={crane}",
            "--workers=5", "--herd", "--passes=2", "--prune", "--filter=-0001", *prune_first,
        )  # fmt: skip
        counts = metrics(cache.address)
    assert (ended.status, ended.stderr) == (0, "")
    check_herds(ended)
    summary = ended.summary
    assert (summary["pulled"], summary["herds"]["count"]) == (2 * 5 * 4, 8)
    assert [event["herd"] for event in prunes(ended)] == [*([0] * 4 if prune_first else []), *range(1, 9)]
    assert summary["pruned"] == 8 + (4 if prune_first else 0)
    assert counts['lab_upstream_requests_total{kind="manifest"}'] == 8
    assert counts['lab_upstream_requests_total{kind="blob"}'] == 8 * 3
    assert counts["lab_pulls_total"] == 40
    assert counts["lab_pruned_images_total"] == 4  # in the first pass, the cache has no image
    assert all(event["first"] for event in pulls(ended))
    assert summary["first_pulls"] == "cold"
    assert summary["pulling_rate"] > summary["rate"]
    # nobody pulls an image between its prune and its herd
    lines = [(event["op"], event["herd"]) for event in ended.events if event["herd"]]
    assert lines == sorted(lines, key=lambda line: (line[1], line[0] == "pull"))


# --- through real servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_name", ["crane", "ctr"])
@pytest.mark.parametrize("how", ["--deal=all", "--herd"])
@pytest.mark.parametrize("server", ["lab", "docker-registry"])
def test_what_the_driver_counts_is_what_the_server_counts(
    client_name: str,
    how: str,
    server: str,
    request: pytest.FixtureRequest,
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    path = request.getfixturevalue(client_name)
    lab = server == "lab"
    running = lab_cache(upstream.address) if lab else docker_registry_proxy(upstream.url)
    with or_skip(running) as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={path}",
            f"--layout={'ociregistry' if lab else 'distribution'}", "--workers=6", how, "--passes=2",
            "--filter=-0001",
        )  # fmt: skip
        if lab:
            counts = metrics(cache.address)
        else:  # a client may end before the server has written down what it sent
            wait_until(lambda: served(cache.log_path).total() >= ended.summary["pulled"])
            logged = served(cache.log_path)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["pulled"] == 6 * 2 * 4
    if lab:
        assert counts["lab_pulls_total"] == ended.summary["pulled"]
        assert counts['lab_upstream_requests_total{kind="blob"}'] == 4 * 3
    else:
        assert logged.total() == ended.summary["pulled"]
        assert set(logged.values()) == {12}
    pulled = Counter(event["image"] for event in pulls(ended))
    assert list(pulled.values()) == [12] * 4
    if how == "--herd":
        check_herds(ended)
        assert ended.summary["herds"]["count"] == 8


# --- the lab's cache, with and without coalescing --------------------------------------------------------------

CLIENTS = 20


@pytest.fixture
def upstream_that_waits() -> Iterator[NotingRegistry]:
    """An upstream with one image. Its `answer` is replaced by the test."""
    image = kinds("http://127.0.0.1:1")["oci-gzip"]
    with noting_registry({"app": image}) as registry:
        yield registry


def metrics(address: str) -> dict[str, int]:
    """The counters of the lab's cache."""
    lines = get(address, "/metrics").decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: int(value) for name, _, value in pairs}


@pytest.mark.parametrize("coalescing", [True, False])
def test_twenty_clients_of_a_cold_image(
    upstream_that_waits: NotingRegistry, crane: str, tmp_path: Path, coalescing: bool
) -> None:
    """The upstream answers once all clients wait for the image, so no client comes too late to share a fetch."""
    registry = upstream_that_waits
    given = registry.answer
    with lab_cache(registry.address, *([] if coalescing else ["--no-coalescing"])) as cache:

        def answer(path: str) -> tuple[int, bytes, str]:
            if "/manifests/" in path:
                missed = 'lab_requests_total{kind="manifest",result="miss"}'
                wait_until(lambda: metrics(cache.address)[missed] == CLIENTS)
            elif "/blobs/" in path and not coalescing:
                wait_until(lambda: registry.requests.count(f"GET {path}") == CLIENTS)
            return given(path)

        registry.answer = answer  # type: ignore[method-assign]
        (tmp_path / "images").write_text("app:v1\n")
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={registry.address}", f"--client={crane}",
            f"--image-list={tmp_path}/images", f"--workers={CLIENTS}", "--herd", "--passes=1",
            "--platform=linux/amd64",
        )  # fmt: skip
        counts = metrics(cache.address)
    assert ended.status == 0
    check_herds(ended)
    assert ended.summary["pulled"] == CLIENTS
    fetched = Counter(line for line in registry.requests if "/app/" in line)
    assert set(fetched.values()) == {1 if coalescing else CLIENTS}
    assert counts['lab_upstream_requests_total{kind="manifest"}'] == (1 if coalescing else CLIENTS)
    blobs = len(registry.images["app"].blobs)
    assert counts['lab_upstream_requests_total{kind="blob"}'] == (blobs if coalescing else CLIENTS * blobs)
    assert counts["lab_pulls_total"] == CLIENTS

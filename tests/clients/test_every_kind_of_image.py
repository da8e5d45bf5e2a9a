"""Which images a client can pull: that of skopeo does not depend on where it writes, nor on --batch."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.clients.memory import MEMORY, ImageFolders, memory_is_wanted
from lib.processes.scratch import PREFIX
from tests.doubles.noting import NotingRegistry, noting_registry
from tests.support.driving import Ended, drive, start, wait_for_log
from tests.support.kinds import kinds
from tests.support.waiting import SECONDS, wait_until

SCHEMA_1 = "docker-schema-1"


@pytest.fixture(scope="module")
def registry() -> Iterator[NotingRegistry]:
    """A repository for each kind of image."""
    with noting_registry({}) as found:
        found.images.update(kinds(found.url))
        found.pages["/elsewhere"] = next(
            blob
            for blob in found.images["docker-foreign-elsewhere"].blobs.values()
            if blob.startswith(b"\x1f\x8b")
        )
        yield found


def run(registry: NotingRegistry, folder: Path, *options: object) -> Ended:
    listed = folder / "images"
    listed.write_text("".join(f"{name}:v1\n" for name in registry.images))
    return drive(
        folder,
        f"--pullthrough-url={registry.url}",
        f"--registry-url={registry.url}",
        f"--image-list={listed}",
        "--layout=direct",
        "--platform=linux/amd64",
        "--patterns=:v1",
        "--passes=1",
        *options,
    )


def classes(ended: Ended) -> dict[str, str | None]:
    """By repository; None for an image that was pulled."""
    pulls = [event for event in ended.events if event["op"] == "pull"]
    return {event["image"].partition(":")[0]: event["class"] for event in pulls}


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_skopeo_pulls_every_kind_of_image_however_many_there_are_in_a_launch(
    registry: NotingRegistry, skopeo: str, batch: int, tmp_path: Path
) -> None:
    ended = run(registry, tmp_path, f"--client={skopeo}", f"--batch={batch}")
    assert classes(ended) == dict.fromkeys(registry.images)
    assert (ended.status, ended.summary["pulled"]) == (0, len(registry.images))


@pytest.mark.parametrize(
    ("client", "schema_1"),
    # ctr asks for an unsigned manifest of schema 1 as if it were a layer
    [("crane", "unsupported"), ("ctr", "not-found")],
)
def test_crane_and_ctr_pull_every_kind_but_dockers_first(
    registry: NotingRegistry, client: str, schema_1: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ended = run(registry, tmp_path, f"--client={request.getfixturevalue(client)}")
    assert classes(ended) == {**dict.fromkeys(registry.images), SCHEMA_1: schema_1}


def test_each_layer_is_requested_once(registry: NotingRegistry, skopeo: str, tmp_path: Path) -> None:
    """An image of three layers: a ping, the manifest, the config, the layers."""
    registry.clear()
    run(registry, tmp_path, f"--client={skopeo}", "--filter=^docker-gzip:")
    image = registry.images["docker-gzip"]
    pulls = [line for line in registry.requests if "/blobs/" in line]
    assert sorted(pulls) == sorted(f"GET /v2/docker-gzip/blobs/{digest}" for digest in image.blobs)


# --- where skopeo writes -------------------------------------------------------------------------------------------


def in_memory(log: str) -> Path:
    """The folder of the run in memory, as the log's first command names it."""
    found = re.search(rf" dir:({MEMORY}/{PREFIX}\w+)/worker-0 ", log)
    assert found, log
    return Path(found[1])


@pytest.fixture
def _room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which images are written to memory."""
    monkeypatch.delenv("TMPDIR", raising=False)
    if not memory_is_wanted():
        pytest.skip("there is no room in /dev/shm")


@pytest.mark.usefixtures("_room")
def test_images_are_written_to_memory_and_nothing_is_left_there(
    registry: NotingRegistry, skopeo: str, tmp_path: Path
) -> None:
    ended = run(registry, tmp_path, f"--client={skopeo}", "--batch=2")
    assert (ended.status, in_memory(ended.log).exists()) == (0, False)


def of_one_image(registry: NotingRegistry, skopeo: str, tmp_path: Path) -> list[str]:
    """Options of a run of one image without end."""
    listed = tmp_path / "images"
    listed.write_text("oci-gzip:v1\n")
    return [
        f"--pullthrough-url={registry.url}",
        f"--registry-url={registry.url}",
        f"--image-list={listed}",
        "--layout=direct",
        "--patterns=:v1",
        f"--client={skopeo}",
    ]


@pytest.mark.usefixtures("_room")
def test_nothing_is_left_in_memory_by_a_driver_that_was_killed(
    registry: NotingRegistry, skopeo: str, tmp_path: Path
) -> None:
    running = start(tmp_path, *of_one_image(registry, skopeo, tmp_path))
    folder = in_memory(wait_for_log(tmp_path, "the first image: "))
    wait_until(lambda: any(folder.iterdir()))
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=SECONDS)
    wait_until(lambda: not folder.exists())


def test_the_users_temporary_folder_is_used_if_there_is_one(
    registry: NotingRegistry, skopeo: str, temporary: dict[str, str], tmp_path: Path
) -> None:
    options = of_one_image(registry, skopeo, tmp_path)
    ended = drive(tmp_path, *options, "--passes=1", environment=temporary)
    assert f" dir:{temporary['TMPDIR']}/" in ended.log
    assert (ended.status, str(MEMORY) in ended.log) == (0, False)


class Free:
    """How much can be written to memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        self.bytes = free
        monkeypatch.setattr("lib.clients.memory._free", lambda: self.bytes)


def test_launches_that_together_need_more_than_half_of_the_memory_write_to_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free = Free(monkeypatch, 1 << 30)
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    folders = ImageFolders(memory)
    workers = [disk / f"worker-{number}" for number in range(3)]
    first, second = (folders.take(worker, 1) for worker in workers[:2])
    assert (first, second) == (memory / "worker-0", memory / "worker-1")
    assert folders.take(workers[2], 1) == workers[2] / "images"
    # a launch that takes two images of unknown size needs the room of two
    folders.empty(workers[0], 1)
    assert folders.take(workers[2], 2) == workers[2] / "images"
    # what an image has needed is what the next is taken to need
    second.mkdir()
    (second / "blob").write_bytes(b"x" * 1000)
    folders.empty(workers[1], 1)
    assert not second.exists()
    free.bytes = 4000
    assert [folders.take(worker, 1).parent.name for worker in workers] == ["memory", "memory", "worker-2"]


def test_the_size_of_an_image_is_known_from_the_disk_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else launches whose size is unknown would never come to memory, if the first has no room there."""
    Free(monkeypatch, 1 << 20)
    worker = tmp_path / "worker-0"
    folders = ImageFolders(tmp_path / "memory")
    on_disk = folders.take(worker, 2)
    assert on_disk == worker / "images"
    (on_disk / "host").mkdir(parents=True)
    (on_disk / "host" / "blob").write_bytes(b"x" * 1000)
    folders.empty(worker, 2)
    assert on_disk.exists()
    assert folders.take(worker, 2) == tmp_path / "memory" / "worker-0"


def test_a_worker_gives_back_what_it_reserved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Free(monkeypatch, 1 << 29)
    folders = ImageFolders(tmp_path)
    for _ in range(3):
        assert folders.take(Path("/scratch/worker-0"), 1) == tmp_path / "worker-0"
    folders.empty(Path("/scratch/worker-0"), 1)
    folders.empty(Path("/scratch/worker-0"), 1)
    assert folders.take(Path("/scratch/worker-1"), 1) == tmp_path / "worker-1"


def test_without_memory_all_is_written_to_the_scratch_folder() -> None:
    assert ImageFolders().take(Path("/scratch"), 1) == Path("/scratch/images")


def test_the_image_that_skopeo_writes_is_the_one_that_it_pulled(
    registry: NotingRegistry, skopeo: str, tmp_path: Path
) -> None:
    """Its manifest has the digest of the server's, so nothing was converted."""
    kept = tmp_path / "kept"
    script = tmp_path / "skopeo"
    script.write_text(
        f'#!/bin/sh\nfor last; do :; done\n"{skopeo}" "$@" || exit\n'
        f'case "$last" in dir:*) cp "${{last#dir:}}/manifest.json" "{kept}";; esac\n'
    )
    script.chmod(0o755)
    ended = run(registry, tmp_path, f"--client={script}", "--filter=^oci-zstd:")
    assert ended.status == 0
    assert json.loads(kept.read_bytes()) == json.loads(registry.images["oci-zstd"].manifest)
    assert os.path.getsize(kept) == len(registry.images["oci-zstd"].manifest)

"""Images that come through the lab's cache, each fetched once, and that a delete removes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path

import aiohttp
import pytest

from lib.lab.cache.faults import REPERTOIRE
from lib.lab.fault_names import Fault
from tests.support.asking import get
from tests.support.images import Pushed, get_manifest, image_manifest, push, put_blob, put_manifest, tag_again
from tests.support.lab_cache import Lab, image_of, in_lab, lab, started, stored
from tests.support.programs import needs
from tests.support.running import run


def test_100_clients_of_one_cold_image_make_one_fetch_a_blob(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "cold/hundred", "v1", *(os.urandom(2048) for _ in range(5)))

    async def main() -> None:
        # the slow cache in between holds each fetch open long enough for all hundred to meet it, and counts
        async with lab(upstream, tmp_path, latency=0.1) as slow, lab(slow.address, tmp_path) as running:
            results = await asyncio.gather(*(running.pull(image) for _ in range(100)))
            assert {status for statuses in results for status in statuses} == {200}
            assert await running.upstream_requests() == (1, 6)
            seen = await slow.numbers()
            assert seen['lab_requests_total{kind="manifest",result="miss"}'] == 1
            assert seen['lab_requests_total{kind="manifest",result="hit"}'] == 0
            assert seen['lab_requests_total{kind="blob",result="hit"}'] == 6
            numbers = await running.numbers()
            assert numbers['lab_requests_total{kind="manifest",result="miss"}'] == 100
            assert numbers['lab_requests_total{kind="blob",result="hit"}'] == 600
            assert numbers["lab_pulls_total"] == 100

    asyncio.run(main())


def test_without_coalescing_each_waiting_client_causes_a_fetch_and_nothing_is_left_behind(
    upstream: str, tmp_path: Path
) -> None:
    """Every second answer of the cache in between is slow, so it is fetched while others are served."""
    image = push(upstream, "cold/apart", "v1", *(os.urandom(2048) for _ in range(3)))
    path = f"/v2/{image.repository}/manifests"

    async def main() -> None:
        async with (
            lab(upstream, tmp_path / "up", latency=0.1) as slow,
            lab(slow.address, tmp_path / "own", coalescing=False, allow_delete=True) as running,
        ):
            asked = [running.ask("GET", f"{path}/{reference}") for reference in ("v1", image.digest) * 5]
            assert {status for status, _ in await asyncio.gather(*asked)} == {200}
            numbers = await running.numbers()
            missed = numbers['lab_requests_total{kind="manifest",result="miss"}']
            assert (await running.upstream_requests())[0] == missed
            assert await running.pull(image) == [200] * 5
            assert len(stored(tmp_path / "own")) == 4
            assert (await running.ask("DELETE", f"{path}/{image.digest}"))[0] == 202
            assert stored(tmp_path / "own") == []
            assert await running.pull(image) == [200] * 5

    asyncio.run(main())


def test_cold_images_that_share_a_blob_fetch_it_once(upstream: str, tmp_path: Path) -> None:
    shared = os.urandom(2048)
    images = [push(upstream, f"shared/{n}", "v1", shared, os.urandom(100)) for n in range(3)]
    digests = {digest for image in images for digest in image.blobs}
    assert len(digests) == 7

    async def main() -> None:
        async with lab(upstream, tmp_path, latency=0.1) as slow, lab(slow.address, tmp_path) as running:
            await asyncio.gather(*(running.pull(image) for image in images))
            assert await running.upstream_requests() == (3, 7)

    asyncio.run(main())


def test_a_cached_tag_is_served_without_asking_the_upstream_again(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "cached/tag", "v1", b"first")

    async def work(running: Lab) -> None:
        assert await running.pull(image) == [200] * 3
        push(upstream, "cached/tag", "v1", b"second")
        assert await running.pull(image) == [200] * 3
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (1, 2)

    in_lab(upstream, tmp_path, work)


@pytest.mark.parametrize(
    "fault",
    [
        "blob-corrupt:1x",
        "blob-truncate:1x",
        "blob-reset:5x",
        "blob-503:1x",
        "blob-404:1x",
        "manifest-corrupt:1x",
    ],
)
def test_a_failing_upstream_leaves_nothing_behind(upstream: str, tmp_path: Path, fault: str) -> None:
    image = push(upstream, "failing/up", "v1", b"one", b"two", b"three")

    async def main() -> None:
        faults = (
            REPERTOIRE.parse(fault),
        )  # five resets: the HTTP client asks a second time for each of the four blobs
        async with lab(upstream, tmp_path / "up", faults=faults) as up, lab(up.address, tmp_path) as running:
            results = await asyncio.gather(
                *(running.ask("GET", f"/v2/{image.repository}/manifests/v1") for _ in range(10))
            )
            assert results == [(500, b"")] * 10
            assert stored(tmp_path) == []
            assert (await running.ask("GET", f"/v2/x/blobs/{image.blobs[0]}"))[0] == 404
            assert await running.pull(image) == [200] * 5
            assert len(stored(tmp_path)) == 4

    asyncio.run(main())


def test_further_names_of_the_upstream(upstream: str, tmp_path: Path) -> None:
    push(upstream, "names/one", "v1", b"one")

    async def work(running: Lab) -> None:
        for name, status in (("up.example", 200), (upstream, 200), ("other.example", 500)):
            assert (await running.ask("GET", f"/v2/{name}/names/one/manifests/v1"))[0] == status

    in_lab(f"http://{upstream}/", tmp_path, work, names=("up.example",))


@needs("crane")
def test_crane_pulls_in_path_and_plain(upstream: str, tmp_path: Path) -> None:
    push(upstream, "crane/one", "v1", b"one", b"two")
    with started(upstream, tmp_path, "--name", "up.example") as (address, _):
        for name in ("up.example/crane/one", "crane/one"):
            done = run("crane", "pull", f"{address}/{name}:v1", os.devnull)
            assert (done.returncode, done.stderr) == (0, "")
        assert b"\nlab_pulls_total 2\n" in get(address, "/metrics")


def test_without_a_prune_only_the_first_pass_fetches(upstream: str, tmp_path: Path) -> None:
    images = [push(upstream, f"keep/img-{n}", "v1", os.urandom(100)) for n in range(3)]

    async def work(running: Lab) -> None:
        for _ in range(3):
            for image in images:
                assert await running.pull(image) == [200] * 3
            assert await running.upstream_requests() == (3, 6)

    in_lab(upstream, tmp_path, work)


def test_deletes_by_tag_and_by_digest(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "delete/one", "a", b"one")
    tag_again(upstream, image, "b")
    path = f"/v2/{image.repository}/manifests"

    async def work(running: Lab) -> None:
        status, body = await running.ask("DELETE", f"{path}/sha256:{'0' * 64}")
        assert (status, json.loads(body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
        for tag in ("a", "b"):
            await running.manifest(image, tag)
        assert (await running.ask("DELETE", f"{path}/a"))[0] == 202
        status, body = await running.ask("DELETE", f"{path}/a")
        assert (status, json.loads(body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
        assert await running.manifest(image, "a") == 200
        assert (await running.ask("DELETE", f"{path}/{image.digest}"))[0] == 202
        assert stored(tmp_path) == []
        assert (await running.numbers())["lab_pruned_images_total"] == 3
        status, body = await running.ask("GET", f"{path}/none")
        assert (status, json.loads(body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
        assert (await running.ask("DELETE", f"/v2/{image.repository}/blobs/{image.blobs[0]}"))[0] == 405

    in_lab(upstream, tmp_path, work, allow_delete=True)


@needs("crane", "skopeo")
def test_the_real_clients_delete(upstream: str, tmp_path: Path) -> None:
    push(upstream, "real/delete", "v1", b"one")
    deletes = [
        ("crane", "delete", "{}/real/delete:v1"),
        ("skopeo", "delete", "--tls-verify=false", "docker://{}/real/delete:v1"),
    ]
    with started(upstream, tmp_path, "--allow-delete") as (address, _):
        for command in deletes:
            assert run("crane", "pull", f"{address}/real/delete:v1", os.devnull).returncode == 0
            assert b"real/delete:v1 " in get(address, "/cmd/image/list")
            done = run(*(str(part).format(address) for part in command))
            assert done.returncode == 0, done.stderr
            assert get(address, "/cmd/image/list") == b"no manifests found\n"


@needs("crane")
def test_crane_shows_the_probe_delete_as_unknown(upstream: str, tmp_path: Path) -> None:
    for options, message in (
        ("--allow-delete", "MANIFEST_UNKNOWN"),
        ("--no-plain", "405 Method Not Allowed"),
    ):
        with started(upstream, tmp_path, options) as (address, _):
            done = run("crane", "delete", f"{address}/any/thing@sha256:{'0' * 64}")
            assert done.returncode == 1
            assert message in done.stderr


def test_its_end_removes_what_it_stored(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "stored")

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 200
        assert len(stored(tmp_path)) == 2

    in_lab(upstream, tmp_path, work)
    assert stored(tmp_path) == []


def test_an_end_in_mid_fetch_leaves_nothing(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "midfetch")

    async def main() -> None:
        faults = (Fault("hang", "blob"),)
        async with lab(upstream, tmp_path / "up", faults=faults) as up, lab(up.address, tmp_path) as running:
            pull = asyncio.create_task(running.manifest(image))
            while (await running.upstream_requests())[1] == 0:
                pass
            assert not pull.done()
            started_at = time.monotonic()
            await running.cache.close()
            assert time.monotonic() - started_at < 100
            assert stored(tmp_path) == []
            with contextlib.suppress(aiohttp.ClientError):
                await pull

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["oci.image.manifest.v1", "docker.distribution.manifest.v2"])
def test_manifests_of_oci_and_of_docker_are_served_as_they_are(
    upstream: str, tmp_path: Path, kind: str
) -> None:
    media_type, repository = f"application/vnd.{kind}+json", f"types/{kind[:3]}"
    config, layer = b"{}", kind.encode()
    blobs = tuple(put_blob(upstream, repository, blob) for blob in (layer, config))
    manifest = image_manifest(config, [layer], media_type)
    put_manifest(upstream, repository, "v1", manifest, media_type)

    async def work(running: Lab) -> None:
        assert await running.pull(Pushed(repository, "v1", "", blobs)) == [200] * 3
        served = await asyncio.to_thread(get_manifest, running.address, repository, "v1")
        assert (served.body, served.headers["content-type"]) == (manifest, media_type)

    in_lab(upstream, tmp_path, work)

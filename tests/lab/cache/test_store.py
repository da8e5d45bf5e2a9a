"""What the lab's cache keeps, in memory and in files, and for how long."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from lib.lab.cache import store
from lib.lab.cache.store import Blobs, PullTally
from lib.lab.cache.wire import Address
from lib.lab.images import digest_of
from tests.support.asking import get
from tests.support.images import image_manifest, push, put_blob, put_manifest
from tests.support.lab_cache import Lab, in_lab, started, stored
from tests.support.processes import peak_kib


def test_a_big_blob_takes_no_memory(upstream: str, tmp_path: Path) -> None:
    repository, big = "big/blob", random.Random(1).randbytes(48 << 20)
    for blob in (big, b"{}"):
        put_blob(upstream, repository, blob)
    put_manifest(upstream, repository, "v1", image_manifest(b"{}", [big]))
    with started(upstream, tmp_path) as (address, process):
        get(address, "/v2/")
        before = peak_kib(process.pid)
        get(address, f"/v2/{repository}/manifests/v1")
        for _ in range(2):
            assert get(address, f"/v2/{repository}/blobs/{digest_of(big)}") == big
        assert (peak_kib(process.pid) - before) << 10 < len(big) // 2


def write_100_bytes(target: Path, text: str) -> int:
    return target.write_bytes(text.encode().ljust(100))


def test_small_blobs_stay_in_memory_up_to_a_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "IN_MEMORY_TOTAL", 250)

    async def fetch(_address: Address, digest: str, target: Path) -> int:
        return write_100_bytes(target, digest)

    async def main() -> None:
        blobs = Blobs(tmp_path, fetch)
        names = [f"sha256:{n}" for n in range(3)]
        for _ in range(4):
            for name in names:
                await blobs.hold(Address("up", "any", "v1"), name)
            payloads = [payload for name in names if (payload := blobs.get(name))]
            assert [payload.size for payload in payloads] == [100] * 3
            assert [payload.data is not None for payload in payloads] == [True, True, False]
            for name in names:
                blobs.release(name)
            assert [blobs.get(name) for name in names] == [None] * 3

    asyncio.run(main())


@pytest.mark.parametrize("order", [("digest", "tag"), ("tag", "digest"), ("digest", "tag", "digest")])
def test_no_blob_outlives_its_image_in_whatever_order_it_came(
    upstream: str, tmp_path: Path, order: tuple[str, ...]
) -> None:
    image = push(upstream, "order/one", "v1", b"one")
    references = {"digest": image.digest, "tag": "v1"}

    async def work(running: Lab) -> None:
        for name in order:
            assert await running.manifest(image, references[name]) == 200
        await running.prune("order/one")
        assert stored(tmp_path) == []
        assert (await running.ask("GET", "/cmd/image/list"))[1] == b"no manifests found\n"

    in_lab(upstream, tmp_path, work)


def test_the_tally_of_one_image() -> None:
    tally = PullTally({"a": 0, "b": 0})
    steps = [None, "a", "b", "b", None, "a", "a", "b", None]
    assert [tally.served(step) for step in steps] == [0, 0, 1, 0, 0, 1, 0, 0, 1]

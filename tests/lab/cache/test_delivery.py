"""How the lab's cache sends its answers: slowly, broken off, or not at all."""

from __future__ import annotations

import asyncio
import http.client
import os
import time
from pathlib import Path

import pytest

from lib.lab.fault_names import Fault
from lib.lab.images import digest_of
from tests.support.asking import get
from tests.support.images import push
from tests.support.lab_cache import Lab, image_of, in_lab, started


def test_a_reset_is_a_reset(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "reset")

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 200
        reader, writer = await asyncio.open_connection(*running.address.split(":"))
        writer.write(f"GET /v2/x/blobs/{image.blobs[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    in_lab(upstream, tmp_path, work, faults=(Fault("reset", "blob"),))


def test_a_hang_lasts_until_the_cache_is_closed(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(running.ask("GET", "/v2/any/manifests/v1"), 0.3)
        reader, writer = await asyncio.open_connection(*running.address.split(":"))
        writer.write(b"GET /v2/any/manifests/v1 HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        started_at = time.monotonic()
        await running.cache.close()
        assert time.monotonic() - started_at < 100
        writer.close()

    in_lab(upstream, tmp_path, work, faults=(Fault("hang"),))


@pytest.mark.parametrize("size", [3000, 300_000], ids=["in memory", "in a file"])
def test_truncated_and_corrupted_blobs(upstream: str, tmp_path: Path, size: int) -> None:
    image = push(upstream, f"fault/content-{size}", "v1", os.urandom(size))
    path = f"/v2/{image.repository}/blobs/{image.blobs[0]}"
    with started(upstream, tmp_path, "--fault=blob-truncate:1x", "--fault=blob-corrupt:1x") as (address, _):
        get(address, f"/v2/{image.repository}/manifests/v1")
        with pytest.raises(http.client.IncompleteRead) as cut:
            get(address, path)
        broken = get(address, path)
        whole = get(address, path)
    assert digest_of(whole) == image.blobs[0]
    assert cut.value.partial == whole[: len(whole) // 2]
    assert len(broken) == len(whole)
    assert broken[1:] == whole[1:]
    assert broken[0] != whole[0]


def test_all_clients_share_the_bandwidth(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "slow/one", "v1", os.urandom(200_000))
    size = len(get(upstream, f"/v2/slow/one/blobs/{image.blobs[0]}"))

    async def work(running: Lab) -> None:
        await running.manifest(image)
        started_at = time.monotonic()
        await asyncio.gather(*(running.ask("GET", f"/v2/x/blobs/{image.blobs[0]}") for _ in range(3)))
        assert time.monotonic() - started_at >= 0.9 * 3 * size / 1e6

    in_lab(upstream, tmp_path, work, bandwidth=1e6)

"""The lab's cache as a server: its latency, its limit on concurrent requests, and its access log."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.support.asking import ask, get
from tests.support.images import push
from tests.support.lab_cache import Lab, image_of, in_lab, started


def test_latency_is_added_to_each_answer(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "latency")

    async def work(running: Lab) -> None:
        await running.manifest(image)
        for path in ("/v2/", f"/v2/{image.repository}/manifests/v1", f"/v2/x/blobs/{image.blobs[0]}"):
            started_at = time.monotonic()
            assert (await running.ask("GET", path))[0] == 200
            assert time.monotonic() - started_at >= 0.1

    in_lab(upstream, tmp_path, work, latency=0.1)


def test_at_most_so_many_requests_are_worked_on_at_a_time(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        started_at = time.monotonic()
        await asyncio.gather(*(running.ask("GET", "/v2/") for _ in range(6)))
        assert time.monotonic() - started_at >= 0.3

    in_lab(upstream, tmp_path, work, latency=0.1, max_concurrent=2)


def test_the_access_log_has_a_line_a_request(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "logged/one", "v1", os.urandom(300_000))
    log = tmp_path / "access.log"
    path = f"/v2/logged/one/blobs/{image.blobs[0]}"
    with started(upstream, tmp_path, "--access-log", str(log)) as (address, _):
        manifest = get(address, f"/v2/logged/one/manifests/v1?ns={upstream}")
        blob = get(address, path)
        ask(address, "HEAD", "/v2/logged/one/manifests/v1")
        ask(address, "DELETE", "/v2/logged/one/manifests/v1")
    assert log.read_text().splitlines() == [
        f"GET /v2/logged/one/manifests/v1?ns={upstream} 200 {len(manifest)}",
        f"GET {path} 200 {len(blob)}",
        "HEAD /v2/logged/one/manifests/v1 200 0",
        "DELETE /v2/logged/one/manifests/v1 405 0",
    ]

"""What the lab's cache takes from its upstream, and what it refuses."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aiohttp import web

from lib.lab.cache.wire import INDEX_TYPES
from tests.support.asking import get
from tests.support.images import Pushed, get_manifest, push
from tests.support.lab_cache import Lab, in_lab, lab
from tests.support.ports import refused_port


def test_the_bytes_from_the_upstream_are_counted(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "bytes/one", "v1", os.urandom(5000))
    body = get_manifest(upstream, "bytes/one", "v1").body
    sizes = [len(get(upstream, f"/v2/bytes/one/blobs/{digest}")) for digest in image.blobs]

    async def work(running: Lab) -> None:
        await running.pull(image)
        assert (await running.numbers())["lab_upstream_bytes_total"] == len(body) + sum(sizes)

    in_lab(upstream, tmp_path, work)


async def lying_upstream(request: web.BaseRequest) -> web.StreamResponse:
    """A manifest that can be read, under a digest that is not its own."""
    headers = {"Docker-Content-Digest": f"sha256:{'0' * 64}", "Content-Type": INDEX_TYPES[0]}
    return web.Response(body=b'{"manifests":[]}', headers=headers)


def test_a_manifest_that_belies_its_digest_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        runner = web.ServerRunner(web.Server(lying_upstream))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with lab(f"127.0.0.1:{runner.addresses[0][1]}", tmp_path) as running:
            for reference in ("v1", f"sha256:{'0' * 64}"):
                assert (await running.ask("GET", f"/v2/any/manifests/{reference}"))[0] == 500
            assert (await running.ask("GET", "/cmd/image/list"))[1] == b"no manifests found\n"
        await runner.cleanup()

    asyncio.run(main())


def test_an_upstream_that_is_not_there(tmp_path: Path) -> None:
    image = Pushed("any", "v1", "", ())

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 500

    with refused_port() as address:
        in_lab(address, tmp_path, work)

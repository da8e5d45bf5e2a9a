"""The lab's cache, running in this process or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from lib.lab.cache.server import Behaviour, LabCache
from lib.lab.images import digest_of
from tests.support.images import Pushed, push
from tests.support.paths import ROOT
from tests.support.waiting import SECONDS


class Lab:
    """A running cache and a client for it."""

    def __init__(self, cache: LabCache, port: int, session: aiohttp.ClientSession) -> None:
        self.cache = cache
        self.address = f"127.0.0.1:{port}"
        self._session = session

    async def ask(self, method: str, path: str) -> tuple[int, bytes]:
        async with self._session.request(method, f"http://{self.address}{path}") as response:
            return response.status, await response.read()

    async def manifest(self, image: Pushed, reference: str | None = None) -> int:
        """The status of an answer."""
        return (await self.ask("GET", f"/v2/{image.repository}/manifests/{reference or image.tag}"))[0]

    async def pull(self, image: Pushed) -> list[int]:
        """The statuses of what a client does: the manifest, then the blobs, each checked."""
        statuses = [await self.manifest(image)]
        for digest in image.blobs:
            status, body = await self.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
            assert status != 200 or digest_of(body) == digest
            statuses.append(status)
        return statuses

    async def prune(self, expression: str) -> int:
        path = f"/cmd/prune?type=pattern&dryRun=false&count=-1&expr={expression}"
        return (await self.ask("DELETE", path))[0]

    async def numbers(self) -> dict[str, int]:
        """The counters of `/metrics`, by name with labels."""
        status, body = await self.ask("GET", "/metrics")
        assert status == 200
        lines = [line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: int(value) for name, value in lines}

    async def upstream_requests(self) -> tuple[int, int]:
        """For manifests, for blobs."""
        numbers = await self.numbers()
        name = "lab_upstream_requests_total"
        return numbers[f'{name}{{kind="manifest"}}'], numbers[f'{name}{{kind="blob"}}']


@contextlib.asynccontextmanager
async def lab(
    upstream: str, folder: Path, *, names: tuple[str, ...] = (), **behaviour: Any
) -> AsyncIterator[Lab]:
    """A cache in the running event loop. `stored(folder)` shows what it holds."""
    data = folder / f"data-{random.getrandbits(40):x}"
    cache = LabCache(upstream, data_dir=data, names=names, behaviour=Behaviour(**behaviour))
    port = await cache.start()
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Lab(cache, port, session)
    finally:
        await cache.close()


def in_lab(upstream: str, folder: Path, work: Callable[[Lab], Awaitable[None]], **behaviour: Any) -> None:
    """Does the work while a cache with this behaviour runs."""

    async def main() -> None:
        async with lab(upstream, folder, **behaviour) as running:
            await work(running)

    asyncio.run(main())


def stored(folder: Path) -> list[str]:
    """The names of the blobs' files."""
    return sorted(path.name for path in folder.glob("data-*/blobs/*"))


def image_of(upstream: str, name: str) -> Pushed:
    """A new image of one small layer."""
    return push(upstream, f"fault/{name}", "v1", os.urandom(3000))


def cache_command(*options: str) -> list[str]:
    return [sys.executable, "-m", "lib.lab.cache", *options]


@contextlib.contextmanager
def started(upstream: str, folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The cache as a process, and its address; fails the test if it does not end well."""
    command = cache_command("--upstream", upstream, "--data-dir", str(folder), *options)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert re.fullmatch(r"listening on 127\.0\.0\.1:\d+\n", line)
            yield line.split()[-1], process
        finally:
            process.terminate()
            output, errors = process.communicate(timeout=SECONDS)
        assert (output, errors, process.returncode) == ("", "", 0)
        assert list(folder.glob("lab-cache-*")) == []

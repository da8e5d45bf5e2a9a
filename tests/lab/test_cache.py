"""The lab's cache: one fetch a blob, prunes and deletes that really remove, faults, slowing, counters, its end."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lib.lab import cache as cache_module
from lib.lab.cache import (
    INDEX_TYPES,
    Address,
    Behaviour,
    Blobs,
    Fault,
    LabCache,
    PullTally,
    parse_duration,
    parse_fault,
    parse_query,
    resolve,
    split_listen,
)
from lib.lab.servers import ServerMissing, crane_registry

ROOT = Path(__file__).resolve().parents[2]
SEARCH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
CRANE, SKOPEO = shutil.which("crane", path=SEARCH), shutil.which("skopeo", path=SEARCH)
ACCEPT = {"Accept": "*/*"}

needs_crane = pytest.mark.skipif(CRANE is None, reason="needs crane")
needs_skopeo = pytest.mark.skipif(SKOPEO is None, reason="needs skopeo")


# --- an upstream and images in it


@dataclass(frozen=True)
class Pushed:
    repository: str
    tag: str
    digest: str
    blobs: tuple[str, ...]


def run(*command: str | None, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def ask(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def push(upstream: str, folder: Path, repository: str, tag: str, *layers: bytes) -> Pushed:
    options: list[str] = []
    for content in layers:
        path = folder / f"{hashlib.sha256(content).hexdigest()}.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("file")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        options += ["-f", str(path)]
    done = run(CRANE, "append", "--insecure", *options, "-t", f"{upstream}/{repository}:{tag}")
    assert done.returncode == 0, done.stderr
    status, body = ask(upstream, "GET", f"/v2/{repository}/manifests/{tag}", headers=ACCEPT)
    assert status == 200
    manifest = json.loads(body)
    blobs = tuple(part["digest"] for part in (*manifest["layers"], manifest["config"]))
    return Pushed(repository, tag, f"sha256:{hashlib.sha256(body).hexdigest()}", blobs)


def tag_again(upstream: str, image: Pushed, tag: str) -> None:
    done = run(CRANE, "tag", "--insecure", f"{upstream}/{image.repository}:{image.tag}", tag)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    try:
        with crane_registry() as server:
            yield server.address
    except ServerMissing as missing:
        pytest.skip(str(missing))


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
        return (await self.ask("GET", f"/v2/{image.repository}/manifests/{reference or image.tag}"))[0]

    async def pull(self, image: Pushed) -> list[int]:
        """What a client does: the manifest, then the blobs, each checked."""
        statuses = [await self.manifest(image)]
        for digest in image.blobs:
            status, body = await self.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
            assert status != 200 or f"sha256:{hashlib.sha256(body).hexdigest()}" == digest
            statuses.append(status)
        return statuses

    async def prune(self, expression: str) -> int:
        return (await self.ask("DELETE", f"/cmd/prune?type=pattern&dryRun=false&count=-1&expr={expression}"))[
            0
        ]

    async def numbers(self) -> dict[str, int]:
        status, body = await self.ask("GET", "/metrics")
        assert status == 200
        lines = [line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: int(value) for name, value in lines}

    async def upstream_requests(self) -> tuple[int, int]:
        numbers = await self.numbers()
        name = "lab_upstream_requests_total"
        return numbers[f'{name}{{kind="manifest"}}'], numbers[f'{name}{{kind="blob"}}']


@contextlib.asynccontextmanager
async def lab(upstream: str, folder: Path, **behaviour: Any) -> AsyncIterator[Lab]:
    data = folder / f"data-{random.getrandbits(40):x}"
    cache = LabCache(upstream, data_dir=data, behaviour=Behaviour(**behaviour))
    port = await cache.start()
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Lab(cache, port, session)
    finally:
        await cache.close()


def in_lab(upstream: str, folder: Path, work: Callable[[Lab], Awaitable[None]], **behaviour: Any) -> None:
    async def main() -> None:
        async with lab(upstream, folder, **behaviour) as running:
            await work(running)

    asyncio.run(main())


def stored(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("data-*/blobs/*"))


# --- fetching


def test_100_clients_of_one_cold_image_make_one_fetch_a_blob(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "cold/hundred", "v1", *(os.urandom(2048) for _ in range(5)))

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


def test_cold_images_that_share_a_blob_fetch_it_once(upstream: str, tmp_path: Path) -> None:
    shared = os.urandom(2048)
    images = [push(upstream, tmp_path, f"shared/{n}", "v1", shared, os.urandom(100)) for n in range(3)]
    digests = {digest for image in images for digest in image.blobs}
    assert len(digests) == 7

    async def main() -> None:
        async with lab(upstream, tmp_path, latency=0.1) as slow, lab(slow.address, tmp_path) as running:
            await asyncio.gather(*(running.pull(image) for image in images))
            assert await running.upstream_requests() == (3, 7)

    asyncio.run(main())


def test_a_cached_tag_is_served_without_asking_the_upstream_again(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "cached/tag", "v1", b"first")

    async def work(running: Lab) -> None:
        assert await running.pull(image) == [200] * 3
        push(upstream, tmp_path, "cached/tag", "v1", b"second")
        assert await running.pull(image) == [200] * 3
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (1, 2)

    in_lab(upstream, tmp_path, work)


def test_the_bytes_from_the_upstream_are_counted(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "bytes/one", "v1", os.urandom(5000))
    _, body = ask(upstream, "GET", "/v2/bytes/one/manifests/v1", headers=ACCEPT)
    sizes = [len(ask(upstream, "GET", f"/v2/bytes/one/blobs/{digest}")[1]) for digest in image.blobs]

    async def work(running: Lab) -> None:
        await running.pull(image)
        assert (await running.numbers())["lab_upstream_bytes_total"] == len(body) + sum(sizes)

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
    image = push(upstream, tmp_path, "failing/up", "v1", b"one", b"two", b"three")

    async def main() -> None:
        faults = (
            parse_fault(fault),
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
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        async def work(running: Lab) -> None:
            assert await running.manifest(image) == 500

        in_lab(f"127.0.0.1:{closed.getsockname()[1]}", tmp_path, work)


def test_further_names_of_the_upstream(upstream: str, tmp_path: Path) -> None:
    push(upstream, tmp_path, "names/one", "v1", b"one")

    async def main() -> None:
        cache = LabCache(f"http://{upstream}/", data_dir=tmp_path / "data", names=["up.example"])
        port = await cache.start()
        try:
            async with aiohttp.ClientSession() as session:
                running = Lab(cache, port, session)
                for name, status in (("up.example", 200), (upstream, 200), ("other.example", 500)):
                    assert (await running.ask("GET", f"/v2/{name}/names/one/manifests/v1"))[0] == status
        finally:
            await cache.close()

    asyncio.run(main())


@needs_crane
def test_crane_pulls_in_path_and_plain(upstream: str, tmp_path: Path) -> None:
    push(upstream, tmp_path, "crane/one", "v1", b"one", b"two")
    with started(upstream, tmp_path, "--name", "up.example") as (address, _):
        for name in ("up.example/crane/one", "crane/one"):
            done = run(CRANE, "pull", f"{address}/{name}:v1", os.devnull)
            assert (done.returncode, done.stderr) == (0, "")
        _, body = ask(address, "GET", "/metrics")
        assert b"\nlab_pulls_total 2\n" in body


# --- big blobs


def put_blob(upstream: str, repository: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    status, _ = ask(upstream, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
    assert status == 201
    return {"digest": digest, "size": len(content), "mediaType": "application/octet-stream"}


def test_a_big_blob_takes_no_memory(upstream: str, tmp_path: Path) -> None:
    size = 96 << 20
    repository, media_type = "big/blob", "application/vnd.oci.image.manifest.v1+json"
    layer = put_blob(upstream, repository, random.Random(1).randbytes(size))
    config = put_blob(upstream, repository, b"{}")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": media_type, "layers": [layer], "config": config})
    path = f"/v2/{repository}/manifests/v1"
    assert ask(upstream, "PUT", path, manifest.encode(), {"Content-Type": media_type})[0] == 201
    with started(upstream, tmp_path) as (address, process):
        assert ask(address, "GET", path)[0] == 200
        for _ in range(2):
            status, body = ask(address, "GET", f"/v2/{repository}/blobs/{layer['digest']}")
            assert (status, len(body)) == (200, size)
            assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer["digest"]
        usage = Path(f"/proc/{process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", usage)
        assert peak
        assert int(peak[1]) < 80_000


def write_100_bytes(target: Path, text: str) -> int:
    return target.write_bytes(text.encode().ljust(100))


def test_small_blobs_stay_in_memory_up_to_a_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "IN_MEMORY_TOTAL", 250)

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


# --- removing


def test_a_prune_makes_the_next_pull_fetch_again(upstream: str, tmp_path: Path) -> None:
    images = [
        push(upstream, tmp_path, f"prune/img-{n}", "v1", os.urandom(100), os.urandom(100)) for n in range(4)
    ]

    async def work(running: Lab) -> None:
        for number in range(1, 4):
            for image in images:
                assert await running.pull(image) == [200] * 4
            assert await running.upstream_requests() == (4 * number, 12 * number)
            assert await running.prune("prune/img-") == 200
            assert (await running.numbers())["lab_pruned_images_total"] == 4 * number
            assert stored(tmp_path) == []
        assert (await running.numbers())["lab_pulls_total"] == 12

    in_lab(upstream, tmp_path, work)


def test_without_a_prune_only_the_first_pass_fetches(upstream: str, tmp_path: Path) -> None:
    images = [push(upstream, tmp_path, f"keep/img-{n}", "v1", os.urandom(100)) for n in range(3)]

    async def work(running: Lab) -> None:
        for _ in range(3):
            for image in images:
                assert await running.pull(image) == [200] * 3
            assert await running.upstream_requests() == (3, 6)

    in_lab(upstream, tmp_path, work)


def test_a_prune_while_an_image_is_on_its_way_leaves_it_whole(upstream: str, tmp_path: Path) -> None:
    shared = os.urandom(500)
    here = push(upstream, tmp_path, "race/here", "v1", shared)
    coming = push(upstream, tmp_path, "race/coming", "v1", shared, os.urandom(500))

    async def main() -> None:
        async with (
            lab(upstream, tmp_path / "up", latency=0.2) as slow,
            lab(slow.address, tmp_path) as running,
        ):
            await running.pull(here)
            pull = asyncio.create_task(running.pull(coming))
            await asyncio.sleep(0.3)  # its manifest has come, its own layer has not
            assert await running.prune("race/") == 200
            assert await pull == [200] * 4
            _, body = await running.ask("GET", "/cmd/image/list?pattern=race/")
            assert re.findall(rb"race/\w+:", body) == [b"race/coming:"]
            await running.prune("race/")
            assert stored(tmp_path) == []

    asyncio.run(main())


def test_pruning_one_tag_takes_the_name_by_digest_away(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "two/tags", "a", b"same")
    tag_again(upstream, image, "b")

    async def work(running: Lab) -> None:
        for tag in ("a", "b"):
            assert await running.manifest(image, tag) == 200
        await running.prune("two/tags:a$")
        assert await running.upstream_requests() == (2, 2)
        assert await running.manifest(image, "b") == 200
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (3, 2)
        await running.prune("two/tags:b$")
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (3, 2)  # asked for by digest, it is an entry of its own
        await running.prune("two/tags")
        assert stored(tmp_path) == []

    in_lab(upstream, tmp_path, work)


@pytest.mark.parametrize("order", [("digest", "tag"), ("tag", "digest"), ("digest", "tag", "digest")])
def test_no_blob_outlives_its_image_in_whatever_order_it_came(
    upstream: str, tmp_path: Path, order: tuple[str, ...]
) -> None:
    image = push(upstream, tmp_path, "order/one", "v1", b"one")
    references = {"digest": image.digest, "tag": "v1"}

    async def work(running: Lab) -> None:
        for name in order:
            assert await running.manifest(image, references[name]) == 200
        await running.prune("order/one")
        assert stored(tmp_path) == []
        assert (await running.ask("GET", "/cmd/image/list"))[1] == b"no manifests found\n"

    in_lab(upstream, tmp_path, work)


def test_a_pruning_by_age_sees_when_an_image_came(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "aged/one", "v1", b"one")

    async def work(running: Lab) -> None:
        await running.manifest(image)
        for kind in ("created", "accessed"):
            assert (await running.ask("DELETE", f"/cmd/prune?type={kind}&dur=1h&dryRun=false"))[0] == 200
            assert len(stored(tmp_path)) == 2
        await asyncio.sleep(1.1)
        assert await running.manifest(image) == 200
        assert (await running.ask("DELETE", "/cmd/prune?type=accessed&dur=1s&dryRun=false"))[0] == 200
        assert len(stored(tmp_path)) == 2
        assert (await running.ask("DELETE", "/cmd/prune?type=created&dur=1s&dryRun=false"))[0] == 200
        assert stored(tmp_path) == []

    in_lab(upstream, tmp_path, work)


def test_deletes_by_tag_and_by_digest(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "delete/one", "a", b"one")
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


@needs_crane
@needs_skopeo
def test_the_real_clients_delete(upstream: str, tmp_path: Path) -> None:
    push(upstream, tmp_path, "real/delete", "v1", b"one")
    deletes = [
        (CRANE, "delete", "{}/real/delete:v1"),
        (SKOPEO, "delete", "--tls-verify=false", "docker://{}/real/delete:v1"),
    ]
    with started(upstream, tmp_path, "--allow-delete") as (address, _):
        for command in deletes:
            assert run(CRANE, "pull", f"{address}/real/delete:v1", os.devnull).returncode == 0
            assert b"real/delete:v1 " in ask(address, "GET", "/cmd/image/list")[1]
            done = run(*(str(part).format(address) for part in command))
            assert done.returncode == 0, done.stderr
            assert ask(address, "GET", "/cmd/image/list")[1] == b"no manifests found\n"


@needs_crane
def test_crane_shows_the_probe_delete_as_unknown(upstream: str, tmp_path: Path) -> None:
    for options, message in (
        ("--allow-delete", "MANIFEST_UNKNOWN"),
        ("--no-plain", "405 Method Not Allowed"),
    ):
        with started(upstream, tmp_path, options) as (address, _):
            done = run(CRANE, "delete", f"{address}/any/thing@sha256:{'0' * 64}")
            assert done.returncode == 1
            assert message in done.stderr


# --- faults and slowing


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("500", Fault("500")),
        ("blob-429:0.25", Fault("429", "blob", 0.25)),
        ("manifest-hang:5%", Fault("hang", "manifest", 0.05)),
        ("reset:.5", Fault("reset", None, 0.5)),
        ("blob-truncate:1", Fault("truncate", "blob", 1.0)),
        ("corrupt:2x", Fault("corrupt", None, 1.0, 2)),
    ],
)
def test_faults_are_read(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text", ["", "200", "600", "drop", "500:", "500:2", "500:101%", "500:-1", "tag-500", "500:x"]
)
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|NAME"):
        parse_fault(text)


def cached(upstream: str, folder: Path, name: str) -> Pushed:
    return push(upstream, folder, f"fault/{name}", "v1", os.urandom(3000))


@pytest.mark.parametrize(
    ("fault", "manifest", "blob", "code"),
    [
        ("500", 500, 500, None),
        ("503", 503, 503, None),
        ("manifest-404", 404, 200, "MANIFEST_UNKNOWN"),
        ("blob-404", 200, 404, "BLOB_UNKNOWN"),
        ("429", 429, 429, "TOOMANYREQUESTS"),
        ("blob-403", 200, 403, "DENIED"),
        ("manifest-401", 401, 200, "UNAUTHORIZED"),
    ],
)
def test_status_faults(
    upstream: str, tmp_path: Path, fault: str, manifest: int, blob: int, code: str | None
) -> None:
    image = cached(upstream, tmp_path, "status")

    async def work(running: Lab) -> None:
        answers = [
            await running.ask("GET", f"/v2/{image.repository}/manifests/v1"),
            await running.ask("GET", f"/v2/{image.repository}/blobs/{image.blobs[0]}"),
        ]
        wanted = [manifest, blob if manifest == 200 or blob != 200 else 404]  # no manifest, no blob
        assert [status for status, _ in answers] == wanted
        broken = answers[0 if manifest != 200 else 1][1]
        assert (json.loads(broken)["errors"][0]["code"] if broken else None) == code

    in_lab(upstream, tmp_path, work, faults=(parse_fault(fault),))


def test_too_many_requests_says_when_to_come_back(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{running.address}/v2/any/manifests/v1") as response,
        ):
            assert (response.status, response.headers["Retry-After"]) == (429, "1")

    in_lab(upstream, tmp_path, work, faults=(Fault("429"),))


def test_a_reset_is_a_reset(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "reset")

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
        assert time.monotonic() - started_at < 20
        writer.close()

    in_lab(upstream, tmp_path, work, faults=(Fault("hang"),))


@pytest.mark.parametrize("size", [3000, 300_000], ids=["in memory", "in a file"])
def test_truncated_and_corrupted_blobs(upstream: str, tmp_path: Path, size: int) -> None:
    image = push(upstream, tmp_path, f"fault/content-{size}", "v1", os.urandom(size))
    path = f"/v2/{image.repository}/blobs/{image.blobs[0]}"
    with started(upstream, tmp_path, *fault_options("blob-truncate:1x", "blob-corrupt:1x")) as (address, _):
        assert ask(address, "GET", f"/v2/{image.repository}/manifests/v1")[0] == 200
        with pytest.raises(http.client.IncompleteRead) as cut:
            ask(address, "GET", path)
        broken = ask(address, "GET", path)[1]
        whole = ask(address, "GET", path)[1]
    assert f"sha256:{hashlib.sha256(whole).hexdigest()}" == image.blobs[0]
    assert cut.value.partial == whole[: len(whole) // 2]
    assert len(broken) == len(whole)
    assert broken[1:] == whole[1:]
    assert broken[0] != whole[0]


def fault_options(*faults: str) -> list[str]:
    return [option for fault in faults for option in ("--fault", fault)]


@needs_crane
def test_crane_sees_the_faults_as_what_they_are(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "crane")
    cases = {"blob-truncate": "unexpected EOF", "blob-corrupt": "error verifying sha256 checksum"}
    for fault, message in cases.items():
        with started(upstream, tmp_path, "--fault", fault) as (address, _):
            done = run(CRANE, "pull", f"{address}/{image.repository}:v1", os.devnull)
            assert done.returncode == 1
            assert message in done.stderr


def test_a_rate_is_kept_and_the_seed_repeats_it(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "rate")
    runs: list[list[int]] = []

    async def work(running: Lab) -> None:
        runs.append([await running.manifest(image) for _ in range(400)])

    for seed in (1, 1, 2):
        in_lab(upstream, tmp_path, work, faults=(Fault("503", None, 0.2),), seed=seed)
    assert runs[0] == runs[1] != runs[2]
    assert all(40 < statuses.count(503) < 130 for statuses in runs)
    assert all(statuses.count(503) + statuses.count(200) == 400 for statuses in runs)


def test_a_fault_for_the_first_answers_only(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "first")

    async def work(running: Lab) -> None:
        assert [await running.manifest(image) for _ in range(4)] == [503, 503, 200, 200]

    in_lab(upstream, tmp_path, work, faults=(Fault("503", None, 1.0, 2),))


def test_latency_is_added_to_each_answer(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "latency")

    async def work(running: Lab) -> None:
        await running.manifest(image)
        for path in ("/v2/", f"/v2/{image.repository}/manifests/v1", f"/v2/x/blobs/{image.blobs[0]}"):
            started_at = time.monotonic()
            assert (await running.ask("GET", path))[0] == 200
            assert time.monotonic() - started_at >= 0.1

    in_lab(upstream, tmp_path, work, latency=0.1)


def test_all_clients_share_the_bandwidth(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "slow/one", "v1", os.urandom(200_000))
    size = len(ask(upstream, "GET", f"/v2/slow/one/blobs/{image.blobs[0]}")[1])

    async def work(running: Lab) -> None:
        await running.manifest(image)
        started_at = time.monotonic()
        await asyncio.gather(*(running.ask("GET", f"/v2/x/blobs/{image.blobs[0]}") for _ in range(3)))
        assert time.monotonic() - started_at >= 0.9 * 3 * size / 1e6

    in_lab(upstream, tmp_path, work, bandwidth=1e6)


def test_at_most_so_many_requests_are_worked_on_at_a_time(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        started_at = time.monotonic()
        await asyncio.gather(*(running.ask("GET", "/v2/") for _ in range(6)))
        assert time.monotonic() - started_at >= 0.3

    in_lab(upstream, tmp_path, work, latency=0.1, max_concurrent=2)


# --- counting


def test_metrics_stand_at_zero_first_and_name_their_types(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        assert await running.numbers() == {
            'lab_requests_total{kind="manifest",result="hit"}': 0,
            'lab_requests_total{kind="manifest",result="miss"}': 0,
            'lab_requests_total{kind="blob",result="hit"}': 0,
            'lab_requests_total{kind="blob",result="miss"}': 0,
            'lab_upstream_requests_total{kind="manifest"}': 0,
            'lab_upstream_requests_total{kind="blob"}': 0,
            "lab_upstream_bytes_total": 0,
            "lab_pruned_images_total": 0,
            "lab_pulls_total": 0,
        }
        body = (await running.ask("GET", "/metrics"))[1].decode()
        assert len(re.findall(r"^# TYPE lab_\w+_total counter$", body, re.M)) == 5

    in_lab(upstream, tmp_path, work)


def test_a_pull_counts_once_it_is_whole(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "whole/one", "v1", b"one", b"two")

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 200
        assert (await running.ask("HEAD", f"/v2/{image.repository}/manifests/v1"))[0] == 200
        for number, digest in enumerate(image.blobs, 1):
            assert (await running.numbers())["lab_pulls_total"] == 0
            await running.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
            assert (await running.numbers())["lab_pulls_total"] == (number == len(image.blobs))
        for digest in image.blobs:
            await running.ask("GET", f"/v2/{image.repository}/blobs/{digest}")
        assert (await running.numbers())["lab_pulls_total"] == 1

    in_lab(upstream, tmp_path, work)


def test_the_tally_of_one_image() -> None:
    tally = PullTally({"a": 0, "b": 0})
    steps = [None, "a", "b", "b", None, "a", "a", "b", None]
    assert [tally.served(step) for step in steps] == [0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_the_access_log_has_a_line_a_request(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, tmp_path, "logged/one", "v1", os.urandom(300_000))
    log = tmp_path / "access.log"
    path = f"/v2/logged/one/blobs/{image.blobs[0]}"
    with started(upstream, tmp_path, "--access-log", str(log)) as (address, _):
        manifest = ask(address, "GET", "/v2/logged/one/manifests/v1?ns=" + upstream)[1]
        blob = ask(address, "GET", path)[1]
        ask(address, "HEAD", "/v2/logged/one/manifests/v1")
        ask(address, "DELETE", "/v2/logged/one/manifests/v1")
    assert log.read_text().splitlines() == [
        f"GET /v2/logged/one/manifests/v1?ns={upstream} 200 {len(manifest)}",
        f"GET {path} 200 {len(blob)}",
        "HEAD /v2/logged/one/manifests/v1 200 0",
        "DELETE /v2/logged/one/manifests/v1 405 0",
    ]


# --- reading requests


@pytest.mark.parametrize(
    ("path", "header", "ns", "default", "url"),
    [
        ("a/b", "up:5000", None, None, "up:5000/a/b:v1"),
        ("a/b", "up:5000", "other", "third", "up:5000/a/b:v1"),
        ("a/b", "", "up:5000", "third", "up:5000/a/b:v1"),
        ("a/b", "", "", "third", "/a/b:v1"),
        ("up.example/a", "", None, "third", "up.example/a:v1"),
        ("a", "", None, "third", "third/a:v1"),
        ("a", "", None, None, None),
        ("up.example", "", None, None, None),
        ("up.example/a", "up:5000", None, None, None),
        ("up.example/a.b/c", "", None, None, None),
        ("a/b.c", "up:5000", None, None, "up:5000/a/b.c:v1"),
    ],
)
def test_addressing(path: str, header: str, ns: str | None, default: str | None, url: str | None) -> None:
    address = resolve(path.split("/"), "V1", header, ns, default)
    assert (address.url if address else None) == url


def test_names_by_digest() -> None:
    address = Address("up.example", "a/b", "sha256:" + "1" * 64)
    assert address.by_digest
    assert address.url == address.with_digest("sha256:" + "1" * 64) == f"up.example/a/b@sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("a=1+2%2B3%2C&b", {"a": ["1 2+3,"], "b": [""]}),
        ("a=1;2&b=%zz&c=%4", {}),
        ("a=b=c&&=d", {"a": ["b=c"], "": ["d"]}),
    ],
)
def test_queries_are_read_as_go_reads_them(raw: str, values: dict[str, list[str]]) -> None:
    assert parse_query(raw) == values


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("-1d", timedelta(days=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5s", timedelta(seconds=1.5)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "d", "1x", "h1", "1d2h", "1 h", "--1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration"):
        parse_duration(text)


# --- starting and ending


def test_its_end_removes_what_it_stored(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "stored")

    async def work(running: Lab) -> None:
        assert await running.manifest(image) == 200
        assert len(stored(tmp_path)) == 2

    in_lab(upstream, tmp_path, work)
    assert stored(tmp_path) == []


@contextlib.contextmanager
def started(upstream: str, folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The cache as a process; fails the test if it does not end well."""
    command = [
        sys.executable,
        "-m",
        "lib.lab.cache",
        "--upstream",
        upstream,
        "--data-dir",
        str(folder),
        *options,
    ]
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
            output, errors = process.communicate(timeout=10)
        assert (output, errors, process.returncode) == ("", "", 0)
        assert list(folder.glob("lab-cache-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_mid_answer_and_nothing_is_left(
    upstream: str, tmp_path: Path, number: signal.Signals
) -> None:
    image = cached(upstream, tmp_path, "ended")
    with started(upstream, tmp_path, "--fault", "blob-hang") as (address, process):
        assert ask(address, "GET", f"/v2/{image.repository}/manifests/v1")[0] == 200
        assert len(list(tmp_path.glob("lab-cache-*/blobs/*"))) == 2
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET /v2/x/blobs/{image.blobs[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.1)
            sent = time.monotonic()
            process.send_signal(number)
            assert process.wait(5) == 0
            assert time.monotonic() - sent < 20


def test_an_end_in_mid_fetch_leaves_nothing(upstream: str, tmp_path: Path) -> None:
    image = cached(upstream, tmp_path, "midfetch")

    async def main() -> None:
        faults = (Fault("hang", "blob"),)
        async with lab(upstream, tmp_path / "up", faults=faults) as up, lab(up.address, tmp_path) as running:
            pull = asyncio.create_task(running.manifest(image))
            await asyncio.sleep(0.3)
            assert not pull.done()
            started_at = time.monotonic()
            await running.cache.close()
            assert time.monotonic() - started_at < 20
            assert stored(tmp_path) == []
            with contextlib.suppress(aiohttp.ClientError):
                await pull

    asyncio.run(main())


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "example.org:80", "[::]:0"])
def test_it_listens_on_loopback_only(listen: str) -> None:
    done = run(sys.executable, "-m", "lib.lab.cache", "--listen", listen, "--upstream", "127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a loopback address" in done.stderr
    host = listen.rpartition(":")[0].strip("[]")
    with pytest.raises(ValueError, match="not a loopback address"):
        asyncio.run(LabCache("127.0.0.1:1", data_dir="/nonexistent").start(host))


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("localhost:80", ("localhost", 80)), ("[::1]:5000", ("::1", 5000))],
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    assert split_listen(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_where_not_to_listen(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        split_listen(text)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "lib.lab.cache", "--listen", listen, "--upstream", "127.0.0.1:1"]
        done = run(*command, "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"lab cache: .*address already in use.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [["--fault", "drop"], ["--latency", "-1"], ["--bandwidth", "0"], ["--max-concurrent", "0"], []]
)
def test_wrong_options_are_exit_2(options: list[str]) -> None:
    upstream = ["--upstream", "127.0.0.1:1"] if options else []
    done = run(sys.executable, "-m", "lib.lab.cache", *upstream, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr

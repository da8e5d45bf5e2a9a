"""Bytes: what the driver counts is what the server sent, and null where it does not know."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lib.http.network import Network
from lib.lab.images import INDEX_TYPE, MANIFEST_TYPE
from lib.lab.populate import Population, populate
from lib.lab.servers import Server, crane_registry, docker_registry_proxy, lab_cache
from lib.processes.signals import Stop
from tests.doubles import catalog
from tests.doubles.fake_crane import image_list, install, launches
from tests.doubles.noting import Content, NotingRegistry, noting_registry
from tests.support.driving import Ended, command, drive, finish, start, wait_for_log
from tests.support.images import describe, image_config, image_manifest, tarball
from tests.support.kinds import kinds
from tests.support.registry import serving_on
from tests.support.waiting import SECONDS, wait_until

CLIENTS = ["crane", "skopeo", "ctr"]
# Half of the layers are the same in all images. Each image is an index of two platforms.
POPULATION = Population(
    groups=2,
    images=3,
    layers=4,
    layer_size=20_000,
    shared_layers=0.5,
    platforms=("linux/arm64", "linux/amd64"),
)
FIXED = ("--passes=2", "--tally-seconds=0.2", "--platform=linux/amd64")


@pytest.fixture(scope="module")
def indexes() -> Iterator[Server]:
    with crane_registry() as server:
        asyncio.run(populate(server.address, POPULATION))
        yield server


def requests(log: Path) -> list[tuple[str, str, int]]:
    """Of the access log of the lab's cache: method, path and bytes of each good answer."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return [(method, path, int(size)) for method, path, status, size in lines if status == "200"]


def check_bytes(ended: Ended) -> None:
    """Summary, steps, samples and events have the same bytes."""
    ended.check_accounts()
    summary = ended.summary
    drained = summary["drain"]["bytes"] if summary["drain"] else 0
    for part in ("steps", "samples"):
        assert sum(each["bytes"] for each in summary[part]) + drained == summary["bytes"]
    assert sum(event.get("bytes", 0) for event in ended.events) == summary["bytes"]
    seconds = sum(each["seconds"] for each in summary["samples"])
    assert summary["bytes_per_second"] == pytest.approx((summary["bytes"] - drained) / seconds)


@pytest.mark.parametrize(
    ("client", "batch"), [("crane", 1), ("crane", 3), ("skopeo", 1), ("skopeo", 3), ("ctr", 1)]
)
def test_the_bytes_are_those_of_the_servers_log(
    client: str, batch: int, request: pytest.FixtureRequest, indexes: Server, tmp_path: Path
) -> None:
    log = tmp_path / "access"
    with lab_cache(indexes.address, "--access-log", str(log)) as lab:
        ended = drive(
            tmp_path,
            f"--pullthrough-url={lab.address}",
            f"--registry-url={indexes.address}",
            "--workers=2",
            f"--client={request.getfixturevalue(client)}",
            f"--batch={batch}",
            *FIXED,
        )
        wait_until(lambda: sum("/manifests/" in path for _, path, _ in requests(log)) >= 12)
    assert (ended.status, ended.summary["pulled"], ended.summary["sized_images"]) == (0, 12, 6)
    assert ended.summary["bytes"] == sum(size for _, path, size in requests(log) if "/blobs/" in path)
    check_bytes(ended)


def test_the_server_under_test_is_not_asked_for_sizes(indexes: Server, crane: str, tmp_path: Path) -> None:
    """crane asks for the index and the manifest of the platform, once for each pull. Nobody else asks for any."""
    log = tmp_path / "access"
    with lab_cache(indexes.address, "--access-log", str(log)) as lab:
        options = (
            f"--pullthrough-url={lab.address}",
            f"--registry-url={indexes.address}",
            f"--client={crane}",
        )
        ended = drive(tmp_path, *options, "--workers=2", *FIXED)
    assert ended.summary["sized_images"] == 6
    assert sum("/manifests/" in path for _, path, _ in requests(log)) == 2 * ended.summary["pulled"]


def test_through_a_proxy_of_another_kind(indexes: Server, crane: str, tmp_path: Path) -> None:
    with docker_registry_proxy(indexes.url) as proxy:
        ended = drive(
            tmp_path,
            f"--pullthrough-url={proxy.address}",
            f"--registry-url={indexes.address}",
            "--workers=2",
            "--layout=distribution",
            f"--client={crane}",
            *FIXED,
        )
        words = ended.summary["pulled"] * 6  # a config, four layers, and a manifest at least
        wait_until(
            lambda: proxy.log_path.read_text(errors="replace").count("http.response.written=") >= words
        )
        lines = proxy.log_path.read_text(errors="replace").splitlines()
    written = [
        int(line.partition("http.response.written=")[2].split()[0])
        for line in lines
        if 'msg="response completed"' in line and "/blobs/" in line and "http.response.status=200" in line
    ]
    assert sum(written) == ended.summary["bytes"] > 0
    check_bytes(ended)


def sent_and_counted(
    registry: NotingRegistry, folder: Path, client: str, platform: str = "linux/amd64"
) -> tuple[dict[str, int], dict[str, int | None]]:
    """By repository, for one pull of each image: the bytes of the blobs that the registry sent, and those counted."""
    listed = folder / "images"
    listed.write_text("".join(f"{name}:v1\n" for name in registry.images))
    ended = drive(
        folder,
        f"--pullthrough-url={registry.url}",
        f"--registry-url={registry.url}",
        f"--image-list={listed}",
        "--sizes=always",
        "--layout=direct",
        "--workers=1",
        f"--client={client}",
        "--passes=1",
        f"--platform={platform}",
    )
    sent = dict.fromkeys(registry.images, 0)
    for line in registry.requests:
        method, path = line.split()
        name = path.removeprefix("/v2/").partition("/")[0]
        if method == "GET" and "/blobs/" in path:
            sent[name] += len(registry.images[name].blobs.get(path.rpartition("/")[2], b""))
    pulled = [event for event in ended.events if event["outcome"] == "ok"]
    return sent, {event["image"].partition(":")[0]: event.get("bytes") for event in pulled}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_kind_of_image(client: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Layers that occur twice, foreign ones, indexes: the bytes of a pull are those that the server sent."""
    with noting_registry({}) as registry:
        registry.images.update(kinds(registry.url))
        foreign = registry.images["docker-foreign-elsewhere"]
        registry.pages["/elsewhere"] = next(
            each for each in foreign.blobs.values() if each[:2] == b"\x1f\x8b"
        )
        sent, counted = sent_and_counted(registry, tmp_path, request.getfixturevalue(client))
    assert len(counted) >= len(registry.images) - 1
    # its only layer is elsewhere; crane and ctr differ in whom they ask first
    for name in {*counted} - {"docker-schema-1", "docker-foreign-elsewhere"}:
        assert counted[name] == sent[name], name
    # skopeo pulls it, but nothing says how large it is
    assert counted.get("docker-schema-1") is None


def an_index(*platforms: str | None) -> Content:
    """An index of OCI images of different sizes, one for each platform; None stands for an entry without one."""
    blobs: dict[str, bytes] = {}
    manifests, entries = [], []
    for number, platform in enumerate(platforms):
        layer = tarball(bytes([65 + number]) * 20_000 * 3**number)
        config = image_config([layer])
        blobs.update({str(describe(blob, "")["digest"]): blob for blob in (layer, config)})
        manifests.append((image_manifest(config, [layer]), MANIFEST_TYPE))
        words = dict(zip(("os", "architecture", "variant"), (platform or "").split("/"), strict=False))
        named = {"platform": words} if platform else {}
        entries.append({**describe(manifests[-1][0], MANIFEST_TYPE), **named})
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    return Content(body, INDEX_TYPE, blobs, tuple(manifests))


@pytest.mark.parametrize(
    "platform", ["linux/amd64", "linux/arm/v7", "linux/arm", "linux/arm64", "linux/arm64/v8"]
)
@pytest.mark.parametrize("client", CLIENTS)
def test_of_an_index_what_the_client_picks(
    client: str, platform: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each client has its own rule. What it pulls well has the size of what it has fetched."""
    images = {
        "plain": an_index("linux/arm64", "linux/amd64", "linux/arm/v7", "unknown/unknown"),
        "variants": an_index("linux/amd64/v3", "linux/amd64", "linux/arm64/v8", "linux/arm64"),
        "arm": an_index("linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm"),
        "old-arm": an_index("linux/arm/v5", "linux/arm/v6"),
        "unnamed": an_index(None, "linux/amd64", "linux/arm64"),
        "twice": an_index("linux/amd64", "linux/amd64", "linux/arm64", "linux/arm64"),
    }
    with noting_registry(images) as registry:
        sent, counted = sent_and_counted(registry, tmp_path, request.getfixturevalue(client), platform)
    assert counted
    assert counted == {name: sent[name] for name in counted}


# --- with an upstream that answers as one likes, and a client that pulls nothing ------------------------------------


@contextmanager
def upstream(manifests: Mapping[str, Any]) -> Iterator[catalog.Server]:
    """Its catalog has one repository for each manifest: the size of its only blob, or a status, or None to hang."""
    content = {f"ok/{name}": ["v1"] for name in manifests}

    async def handle(request: web.Request) -> web.StreamResponse:
        name, manifest, _ = request.path.removeprefix("/v2/ok/").partition("/manifests/")
        if not manifest:
            return await catalog.Catalog(content)(request)
        found = manifests[name]
        if found is None:
            await asyncio.Event().wait()
        if found >= 400 and found < 600:
            return web.Response(status=found)
        config = {"digest": f"sha256:{'a' * 64}", "size": found}
        return web.json_response({"schemaVersion": 2, "config": config, "layers": []})

    with Network(Stop()) as network, serving_on(network, handle) as server:
        yield server


def options(server: catalog.Server, client: Path, *more: str) -> list[str]:
    return [
        "--pullthrough-url=127.0.0.1:1", f"--registry-url={server.url}", "--layout=distribution", "--keep-going",
        f"--client={client}", "--workers=2", *more,
    ]  # fmt: skip


def asked(server: catalog.Server) -> list[str]:
    return [each.target for each in server.seen if "/manifests/" in each.target]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def test_a_size_that_is_unknown_is_null_and_the_run_goes_on(client: Path, tmp_path: Path) -> None:
    with upstream({"a": 1000, "b": 2000, "c": 403}) as server:
        ended = drive(
            tmp_path,
            *options(server, client, "--passes=3"),
            "--threshold=bytes>1MB",
            "--threshold=bytes_per_second>1",
        )
    assert (ended.status, ended.summary["pulled"], ended.summary["sized_images"]) == (3, 9, 2)
    ended.check_accounts()
    assert (ended.summary["bytes"], ended.summary["bytes_per_second"]) == (None, None)
    told = "the sizes of 1 of 3 images are unknown"
    assert [each["why"] for each in ended.summary["thresholds"]] == [told] * 2
    example = "warning: the sizes of 1 of 3 images are unknown (for example ok/c:v1: HTTP 403)"
    assert ended.log.count(example) == 1
    by_image = {event["image"]: event.get("bytes") for event in ended.events}
    assert by_image == {"ok/a:v1": 1000, "ok/b:v1": 2000, "ok/c:v1": None}
    peak, average = (
        next(line for line in ended.end if line.startswith(name)) for name in ("peak", "average")
    )
    assert "B/s" not in peak + average


def test_an_unknown_size_of_an_image_that_is_not_pulled_harms_nobody(client: Path, tmp_path: Path) -> None:
    """As after a tag was deleted: neither its manifest nor the image is there."""
    with upstream({"a": 1000, "b": 2000, "gone": 404}) as server:
        ended = drive(tmp_path, *options(server, client, "--passes=1", "--filter=^ok/[ab]:"))
        assert ended.summary["bytes"] == 3000
        listed = image_list(client, ["ok/a:v1", "refused/app:v1"])
        ended = drive(
            tmp_path, *options(server, client, "--passes=1", f"--image-list={listed}", "--sizes=always")
        )
    assert (ended.summary["pulled"], ended.summary["failed"], ended.summary["sized_images"]) == (1, 1, 1)
    assert ended.summary["bytes"] == 1000
    ended.check_accounts()


@pytest.mark.parametrize(
    ("more", "sizes"),
    [
        ([], True),
        (["--sizes=never"], False),
        (["--dry-run"], False),
        (["--dry-run", "--sizes=always"], False),
        (["--image-list=LIST"], False),
        (["--image-list=LIST", "--sizes=always"], True),
        (["--pullthrough-url=UPSTREAM"], False),
        (["--pullthrough-url=UPSTREAM", "--sizes=always"], False),
        (["--pullthrough-url=UPSTREAM", "--layout=direct"], False),
        (["--pullthrough-url=UPSTREAM", "--layout=direct", "--sizes=always"], True),
    ],
)
def test_when_sizes_are_read(more: list[str], sizes: bool, client: Path, tmp_path: Path) -> None:
    with upstream({"a": 1000, "b": 2000}) as server:
        given = {"LIST": str(image_list(client, ["ok/a:v1", "ok/b:v1"])), "UPSTREAM": server.host}
        words = [word.replace(name, value) for word in more for name, value in given.items() if name in word]
        words += [word for word in more if not any(name in word for name in given)]
        ended = drive(tmp_path, *options(server, client, "--passes=2", *words))
        assert sorted(asked(server)) == (["/v2/ok/a/manifests/v1", "/v2/ok/b/manifests/v1"] if sizes else [])
    if not sizes and "--dry-run" not in more:
        assert "reading the sizes" not in ended.log
    assert ended.summary.get("sized_images") == (2 if sizes else None)
    # the client stands for a server of any address, but for one that is the upstream itself
    if ended.summary["pulled"] == 4:
        assert ended.summary["bytes"] == (6000 if sizes else None)
    ended.check_accounts()


def test_a_stop_while_sizes_are_read(client: Path, tmp_path: Path) -> None:
    with upstream({"a": None, "b": 2000}) as server:
        running = start(tmp_path, *options(server, client, "--passes=1"))
        wait_for_log(tmp_path, "reading the sizes of 2 images from their upstream")
        wait_until(lambda: len(asked(server)) == 2)
        running.send_signal(signal.SIGTERM)
        ended = finish(running, tmp_path)
    assert (ended.status, ended.summary["interrupted"], ended.summary["pulled"]) == (
        128 + signal.SIGTERM,
        True,
        0,
    )
    assert (ended.summary["bytes"], "sized_images" in ended.summary) == (None, False)
    assert not any(line.startswith("pull") for line in launches(client))


def test_a_capacity_search_reads_the_sizes_once(client: Path, tmp_path: Path) -> None:
    with upstream({"a": 1000, "b": 2000}) as server:
        events = tmp_path / "events"
        words = [
            *options(server, client), "--deal=all", "--slo=error_rate<50%", "--from=2", "--max-rate=4", "--trial=2s",
            f"--events-file={events}",
        ]  # fmt: skip
        done = subprocess.run(
            command("capacity", *words), capture_output=True, text=True, timeout=2 * SECONDS, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(asked(server)) == ["/v2/ok/a/manifests/v1", "/v2/ok/b/manifests/v1"]
    pulled = [json.loads(line) for line in events.read_text().splitlines()]
    assert {event["bytes"] for event in pulled} == {1000, 2000}


def test_doctor_reports_sizes(indexes: Server, crane: str) -> None:
    with lab_cache(indexes.address) as lab:
        done = subprocess.run(
            command(
                "doctor", f"--pullthrough-url={lab.address}", f"--registry-url={indexes.address}", "--workers=2",
                f"--client={crane}", "--platform=linux/amd64", "--json",
            ),
            capture_output=True, text=True, timeout=2 * SECONDS, check=False,
        )  # fmt: skip
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert checks["sizes"]["status"] == "ok"
    assert checks["sizes"]["message"].startswith("known for all images: ")

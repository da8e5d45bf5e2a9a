"""Randomised images: their names, their bytes, and pushing them to real registries."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.lab import populate as populating
from lib.lab.image_words import ADJECTIVES, NOUNS
from lib.lab.images import Layer, digest_of, layers_of
from lib.lab.populate import ACCEPTED_TYPES, Population, PushRefused, image_names, populate
from lib.lab.servers import Server, crane_registry, docker_registry
from tests.doubles.secured import TESTER
from tests.support.asking import ask
from tests.support.paths import ROOT
from tests.support.programs import or_skip
from tests.support.running import run
from tests.support.waiting import SECONDS

SMALL = Population(groups=2, images=3, layers=2, layer_size=700)
KINDS = {"crane": crane_registry, "docker-registry": docker_registry}


@pytest.fixture(params=list(KINDS))
def registry(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An empty registry, of each kind in turn."""
    with or_skip(KINDS[request.param]()) as server:
        yield server


def push(url: str, population: Population, **options: Any) -> list[str]:
    return asyncio.run(populate(url, population, **options))


def fetched(server: Server, path: str) -> bytes:
    answer = ask(server.address, "GET", path, headers={"Accept": ACCEPTED_TYPES})
    assert answer.status == 200, answer
    return answer.body


def manifest(server: Server, name: str) -> dict[str, Any]:
    repository, _, reference = name.partition("@" if "@" in name else ":")
    found: dict[str, Any] = json.loads(fetched(server, f"/v2/{repository}/manifests/{reference}"))
    return found


def layer_digests(server: Server, name: str) -> list[str]:
    return [layer["digest"] for layer in manifest(server, name)["layers"]]


def pushes(server: Server) -> int:
    """Manifests that were put, by the server's log; crane's and docker-registry's have the words in common."""
    return len(re.findall(r"PUT /v2/\S+/manifests/", server.log_path.read_text()))


def test_names_are_words_group_and_version() -> None:
    names = image_names(Population(groups=12, images=7, tags=2))
    assert len(names) == len(set(names)) == 12 * 7 * 2
    assert all(re.fullmatch(r"[a-z]+-[a-z]+-\d{4}:v\d+\.\d+", name) for name in names)
    for group in range(1, 13):
        assert sum(f"-{group:04d}:" in name for name in names) == 14
    assert len({name.split(":")[0] for name in names}) == 12 * 7


def test_names_come_from_the_seed_alone() -> None:
    assert image_names(Population(seed=7)) == image_names(Population(seed=7, layers=1, layer_size=99))
    assert image_names(Population(seed=7)) != image_names(Population(seed=8))


def test_names_are_the_same_in_every_process() -> None:
    program = "from lib.lab.populate import *; print(*image_names(Population(groups=1, images=3, seed=5)))"
    ran = run(sys.executable, "-c", program, cwd=ROOT, environment={"PYTHONHASHSEED": "123"})
    assert ran.stdout.split() == image_names(Population(groups=1, images=3, seed=5))


def test_a_larger_population_holds_the_smaller() -> None:
    small = image_names(Population(groups=2, images=5))
    assert set(small) < set(image_names(Population(groups=3, images=9)))


def test_a_group_can_be_as_large_as_the_words_allow() -> None:
    most = len(ADJECTIVES) * len(NOUNS)
    assert len(set(image_names(Population(groups=1, images=most)))) == most


def test_words_are_distinct_and_plain() -> None:
    for words in (ADJECTIVES, NOUNS):
        assert len(set(words)) == len(words)
        assert all(re.fullmatch("[a-z]+", word) for word in words)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("groups", 0),
        ("groups", 10_000),
        ("images", 0),
        ("images", len(ADJECTIVES) * len(NOUNS) + 1),
        ("layers", 0),
        ("layer_size", 0),
        ("layer_size", 8 * 1024**3),
        ("tags", 0),
        ("shared_layers", -0.1),
        ("shared_layers", 1.1),
        ("platforms", ("linux",)),
        ("platforms", ("linux/",)),
        ("platforms", ("linux/arm/v7/x",)),
    ],
)
def test_what_cannot_be_made_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field.rstrip("s")):
        Population(**{field: value})


@pytest.mark.parametrize("size", [1, 511, 512, 1024, 300_000, 2_000_000])
def test_a_layer_is_a_gzipped_tar_with_one_file(size: int) -> None:
    layer = Layer("seed", size, shared=False)
    blob = b"".join(layer.chunks())
    content = gzip.decompress(blob)
    assert layer.blob_size == len(blob) <= size + 2048 + size // 32768 * 5
    assert layer.digest == digest_of(blob)
    assert layer.diff_id == digest_of(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert [member.size for member in archive] == [size]
    assert len(content) % 512 == 0


def test_a_layer_is_the_same_each_time_and_no_two_are_the_same() -> None:
    assert list(Layer("a", 5000, shared=False).chunks()) == list(Layer("a", 5000, shared=False).chunks())
    layers = [
        layer
        for name in image_names(SMALL)
        for platform in ("linux/amd64", "linux/arm64")
        for layer in layers_of(SMALL, name, platform)
    ]
    assert len({b"".join(layer.chunks()) for layer in layers}) == len(layers) == 2 * 3 * 2 * 2


def test_making_a_large_layer_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        size = sum(len(chunk) for chunk in Layer("seed", 64 * 1024**2, shared=False).chunks())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 64 * 1024**2
    assert peak < 4 * 1024**2


def test_images_are_pushed_whole(registry: Server, crane: str) -> None:
    names = push(registry.address, SMALL)
    assert names == image_names(SMALL)
    for name in names:
        found = manifest(registry, name)
        assert [layer["size"] > 700 for layer in found["layers"]] == [True, True]
        subprocess.run([crane, "validate", "--remote", f"{registry.address}/{name}"], check=True)


def test_skopeo_unpacks_what_was_pushed(registry: Server, skopeo: str) -> None:
    """Its docker-archive holds the layers unpacked, and checks their digests on the way."""
    name = push(registry.url, SMALL)[0]
    source, target = f"docker://{registry.address}/{name}", "docker-archive:/dev/null:x:y"
    subprocess.run([skopeo, "copy", "--quiet", "--src-tls-verify=false", source, target], check=True)


def test_what_is_there_is_not_pushed_again(registry: Server) -> None:
    push(registry.url, SMALL)
    assert pushes(registry) == 6
    assert push(registry.url, SMALL) == image_names(SMALL)
    assert pushes(registry) == 6
    push(registry.url, Population(groups=2, images=4, layers=2, layer_size=700))
    assert pushes(registry) == 8


def test_the_same_seed_gives_the_same_images() -> None:
    found = []
    for _ in range(2):
        with crane_registry() as server:
            found.append([layer_digests(server, name) for name in push(server.url, SMALL)])
    assert found[0] == found[1]


def test_shared_layers_come_first_and_are_the_same_everywhere(registry: Server, crane: str) -> None:
    names = push(registry.url, Population(groups=1, images=4, layers=4, layer_size=600, shared_layers=0.5))
    layers = [layer_digests(registry, name) for name in names]
    assert len({tuple(digests[:2]) for digests in layers}) == 1
    assert len({digest for digests in layers for digest in digests[2:]}) == 8
    for name in names:
        subprocess.run([crane, "validate", "--remote", f"{registry.address}/{name}"], check=True)


def test_platforms_give_an_index(registry: Server) -> None:
    platforms = ("linux/amd64", "linux/arm/v7")
    name = push(registry.url, Population(groups=1, images=1, layers=1, platforms=platforms))[0]
    entries = manifest(registry, name)["manifests"]
    assert [entry["platform"] for entry in entries] == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]
    repository = name.split(":")[0]
    for entry in entries:
        child = manifest(registry, f"{repository}@{entry['digest']}")
        config = json.loads(fetched(registry, f"/v2/{repository}/blobs/{child['config']['digest']}"))
        assert config["architecture"] == entry["platform"]["architecture"]


def test_large_layers_are_streamed(registry: Server, crane: str) -> None:
    name = push(registry.url, Population(groups=1, images=1, layers=2, layer_size=3 * 1024**2))[0]
    assert all(layer["size"] > 3 * 1024**2 for layer in manifest(registry, name)["layers"])
    subprocess.run([crane, "validate", "--remote", f"{registry.address}/{name}"], check=True)


def test_pushing_large_layers_takes_constant_memory(tmp_path: Path) -> None:
    """Of the pushing process, measured as a process: a layer of 128 MiB, well under that in memory."""
    program = (
        "import asyncio, sys\nfrom lib.lab.populate import *\nfrom tests.support.processes import peak_kib\n"
        "size = int(sys.argv[2])\n"
        "asyncio.run(populate(sys.argv[1], Population(groups=1, images=1, layers=1, layer_size=size)))\n"
        "print(peak_kib())\n"
    )
    with or_skip(docker_registry()) as server:
        ran = run(sys.executable, "-c", program, server.url, 128 * 1024**2, cwd=ROOT)
    assert int(ran.stdout) < 100 * 1024, ran.stderr


def test_progress_counts_every_image() -> None:
    seen: list[tuple[int, int]] = []
    with crane_registry() as server:
        push(server.url, SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_five_hundred_images() -> None:
    with crane_registry() as server:
        names = push(server.url, Population(groups=10, images=50, layers=5, layer_size=2048))
        assert len(names) == 500
        assert pushes(server) == 500


def test_credentials_in_the_url_are_used() -> None:
    with or_skip(docker_registry(htpasswd=TESTER.htpasswd)) as server:
        with pytest.raises(PushRefused, match="HTTP 401"):
            push(server.url, SMALL)
        assert push(f"http://{TESTER.name}:{TESTER.password}@{server.address}", SMALL) == image_names(SMALL)
        assert pushes(server) == 6


def test_a_push_without_a_login_names_docker_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with or_skip(docker_registry(htpasswd=TESTER.htpasswd)) as server:
        assert main(["populate", "--registry-url", server.address, "--groups=1", "--images=1"]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("ocidriver: the registry refused the push: ")
    assert last.endswith(f"HTTP 401: log in (docker login {server.address})")


def test_a_server_that_comes_back_in_time_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populating, "ATTEMPTS", 100)
    with crane_registry() as gone:
        port = int(gone.address.rpartition(":")[2])
    with ThreadPoolExecutor(1) as thread:
        pushing = thread.submit(push, gone.address, SMALL)
        time.sleep(0.1)
        with crane_registry(port=port) as server:
            assert pushing.result(timeout=SECONDS) == image_names(SMALL)
            assert pushes(server) == len(image_names(SMALL))


def test_a_server_that_is_not_there_is_an_error() -> None:
    with crane_registry() as gone:
        address = gone.address
    with pytest.raises(OSError, match="Cannot connect"):
        push(address, SMALL)

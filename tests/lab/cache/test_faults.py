"""The faults of the lab's cache: their names, when they strike, and what clients see of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import aiohttp
import pytest

from lib.lab.cache.faults import REPERTOIRE
from lib.lab.fault_names import Fault
from tests.support.lab_cache import Lab, image_of, in_lab, started
from tests.support.programs import needs
from tests.support.running import run


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
    assert REPERTOIRE.parse(text) == fault


@pytest.mark.parametrize(
    "text", ["", "200", "600", "drop", "500:", "500:2", "500:101%", "500:-1", "tag-500", "500:x"]
)
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|NAME"):
        REPERTOIRE.parse(text)


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
    image = image_of(upstream, "status")

    async def work(running: Lab) -> None:
        answers = [
            await running.ask("GET", f"/v2/{image.repository}/manifests/v1"),
            await running.ask("GET", f"/v2/{image.repository}/blobs/{image.blobs[0]}"),
        ]
        wanted = [manifest, blob if manifest == 200 or blob != 200 else 404]  # no manifest, no blob
        assert [status for status, _ in answers] == wanted
        broken = answers[0 if manifest != 200 else 1][1]
        assert (json.loads(broken)["errors"][0]["code"] if broken else None) == code

    in_lab(upstream, tmp_path, work, faults=(REPERTOIRE.parse(fault),))


def test_too_many_requests_says_when_to_come_back(upstream: str, tmp_path: Path) -> None:
    async def work(running: Lab) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{running.address}/v2/any/manifests/v1") as response,
        ):
            assert (response.status, response.headers["Retry-After"]) == (429, "1")

    in_lab(upstream, tmp_path, work, faults=(Fault("429"),))


@needs("crane")
def test_crane_sees_the_faults_as_what_they_are(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "crane")
    cases = {"blob-truncate": "unexpected EOF", "blob-corrupt": "error verifying sha256 checksum"}
    for fault, message in cases.items():
        with started(upstream, tmp_path, "--fault", fault) as (address, _):
            done = run("crane", "pull", f"{address}/{image.repository}:v1", os.devnull)
            assert done.returncode == 1
            assert message in done.stderr


def test_a_rate_is_kept_and_the_seed_repeats_it(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "rate")
    runs: list[list[int]] = []

    async def work(running: Lab) -> None:
        runs.append([await running.manifest(image) for _ in range(400)])

    for seed in (1, 1, 2):
        in_lab(upstream, tmp_path, work, faults=(Fault("503", None, 0.2),), seed=seed)
    assert runs[0] == runs[1] != runs[2]
    assert all(40 < statuses.count(503) < 130 for statuses in runs)
    assert all(statuses.count(503) + statuses.count(200) == 400 for statuses in runs)


def test_a_fault_for_the_first_answers_only(upstream: str, tmp_path: Path) -> None:
    image = image_of(upstream, "first")

    async def work(running: Lab) -> None:
        assert [await running.manifest(image) for _ in range(4)] == [503, 503, 200, 200]

    in_lab(upstream, tmp_path, work, faults=(Fault("503", None, 1.0, 2),))

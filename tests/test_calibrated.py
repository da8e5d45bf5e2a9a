"""What calibrate found is kept for later runs: `--batch auto`, and how far below this machine's limit a run stayed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lib.calibrated import BatchRate, Calibrated, place, recall
from lib.clients.find import find_client
from lib.lab.calibrate import remember
from lib.processes.cpu import cores
from tests.support.driving import command, drive
from tests.support.running import run
from tests.support.upstream import Upstream


def rates(*pairs: tuple[int, float]) -> tuple[BatchRate, ...]:
    return tuple(BatchRate(batch=batch, rate=rate, workers=2) for batch, rate in pairs)


def a_result(client: str = "crane", version: str = "1", **changes: object) -> Calibrated:
    found = Calibrated(
        client=client,
        version=version,
        cores=cores(),
        layers=5,
        layer_bytes=2048,
        measured="2026-01-31",
        batches=rates((1, 100.0), (3, 250.0), (20, 240.0)),
    )
    return msgspec.structs.replace(found, **changes)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_result_is_kept_for_the_same_client_version_and_cores(cache: Path) -> None:
    assert recall("crane", "1") is None
    remember(a_result())
    assert recall("crane", "1") == a_result()
    assert [recall("crane", "2"), recall("skopeo", "1")] == [None, None]
    assert [path.parent for path in cache.rglob("*.json")] == [cache / "ocidriver"]
    remember(a_result(cores=cores() + 1))
    assert recall("crane", "1") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"client": 3}', "\0", '{"batches": []}'])
def test_a_broken_file_is_no_result(text: str) -> None:
    remember(a_result())
    place("crane").write_text(text)
    assert recall("crane", "1") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": rates((0, 500.0))}, {"batches": rates((1001, 500.0))}, {"batches": rates((1, -5.0))},
        {"batches": rates((1, 1e300))}, {"batches": (BatchRate(batch=1, rate=5.0, workers=-1),)}, {"layers": -1},
        {"layer_bytes": 10**30}, {"measured": "\x1b[31mtoday"},
    ],
)  # fmt: skip
def test_values_that_no_run_could_use_are_no_result(changes: dict[str, Any]) -> None:
    remember(a_result(**changes))
    assert recall("crane", "1") is None


def test_the_best_batch_and_the_best_of_at_most_a_size() -> None:
    found = a_result()
    assert found.best.batch == 3
    known = {batch: found.with_batch(batch) for batch in (1, 2, 3, 50)}
    assert {batch: each and each.batch for batch, each in known.items()} == {1: 1, 2: 1, 3: 3, 50: 3}
    assert a_result(batches=rates((5, 1.0))).with_batch(4) is None


def test_batch_auto_takes_the_batch_that_calibrate_found_best(
    upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    words = (
        *(f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}", "--layout=direct"),
        *("--workers=1", "--passes=1", f"--client={crane}", "--batch=auto"),
    )
    refused = run(*command(*words))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"calibrate --client {crane}' first" in refused.stderr
    remember(a_result(version=find_client(crane, os.environ).executable.version))
    ended = drive(tmp_path, *words)
    assert (ended.status, ended.summary["settings"]["batch"]) == (0, 3)
    assert {each["launch"] for each in ended.events} == set(range(1, -(-ended.summary["pulled"] // 3) + 1))
    limit = ended.summary["machine_limit"]
    assert (limit["rate"], limit["batch"], limit["layers"]) == (250.0, 3, 5)
    assert limit["share"] == pytest.approx(ended.summary["rate"] / 250, abs=0.0001)


def test_batch_auto_of_a_dry_run_needs_no_client(upstream: Upstream, tmp_path: Path) -> None:
    ended = drive(
        tmp_path,
        *(f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}", "--layout=direct"),
        *("--workers=1", "--passes=1", "--client=/nowhere/crane", "--batch=auto", "--dry-run"),
    )
    assert (ended.status, ended.summary["settings"]["batch"]) == (0, 1)
    assert "machine_limit" not in ended.summary


def test_a_cache_folder_that_cannot_be_written_is_no_reason_to_fail(crane: str, cache: Path) -> None:
    cache.write_text("a file, not a folder")
    done = run(*command("calibrate", "--batch=1", "--seconds=1", "--workers=1", f"--client={crane}"))
    assert done.returncode == 0
    assert "later runs cannot use this result" in done.stderr

"""What this machine can drive: the registry that answers from memory, and the figures made of the runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.calibrated import place
from lib.lab.calibrate import Calibration, Measured
from lib.lab.servers import Server, memory_registry
from lib.processes.cpu import cores, seconds_of
from tests.support.driving import command, drive
from tests.support.running import run


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def registry() -> Iterator[Server]:
    with memory_registry(10, 3, 2048) as server:
        yield server


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("kind", ["crane", "skopeo"])
def test_the_registry_serves_the_real_clients(
    registry: Server, kind: str, batch: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue(kind)
    ended = drive(
        tmp_path,
        *(f"--pullthrough-url={registry.address}", f"--registry-url={registry.address}", "--layout=direct"),
        *("--workers=2", "--passes=2", f"--client={client}", f"--batch={batch}"),
    )
    assert (ended.status, ended.stderr, ended.summary["failed"]) == (0, "", 0)
    ended.check_accounts()
    assert (ended.summary["images"], ended.summary["pulled"]) == (10, 20)


def test_it_refuses_what_it_has_not(registry: Server, crane: str) -> None:
    absent = run(crane, "pull", f"{registry.address}/absent:v1", "/dev/null")
    assert absent.returncode == 1
    assert "MANIFEST_UNKNOWN" in absent.stderr
    listed = run(crane, "catalog", registry.address)
    refused = run(crane, "delete", f"{registry.address}/{listed.stdout.split()[0]}:v1")
    assert "UNSUPPORTED" in refused.stderr


def test_calibrate_measures_each_batch_and_recommends_one(crane: str) -> None:
    words = ("--batch=8,1", "--seconds=1", "--workers=2", f"--client={crane}")
    done = run(*command("calibrate", *words, "--json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["batch"] for each in found["batches"]] == [1, 8]
    assert all(set(each["rates"]) == {"1", "2"} for each in found["batches"])
    single, batched = found["batches"]
    assert batched["client_ms"] < single["client_ms"]
    assert found["recommended"]["batch"] in (1, 8)
    assert found["best"]["rate"] == max(each["best"] for each in found["batches"])
    assert found["cores"] == cores()
    kept = json.loads(place("crane").read_text())
    assert [(each["batch"], each["rate"]) for each in kept["batches"]] == [
        (each["batch"], pytest.approx(each["best"], abs=0.001)) for each in found["batches"]
    ]
    words = ("--batch=1", "--seconds=1", "--workers=1", f"--client={crane}")
    shown = run(*command("calibrate", *words))
    assert "Recommended: --batch 1 (" in shown.stdout


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--batch", "a"], "'a' is not"),
        (["--batch", "0"], "'0' is not"),
        (["--batch", ""], "--batch"),
        (["--layer-size", "1GiB"], "smaller layers"),
    ],
)
def test_wrong_usage(options: list[str], word: str) -> None:
    done = run(*command("calibrate", *options))
    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_smallest_batch_that_is_nearly_the_best_is_recommended() -> None:
    measured = tuple(
        Measured(batch, {1: rate / 2, 2: rate}, 1000 / rate, 0.5, 1.0)
        for batch, rate in ((1, 100.0), (5, 191.0), (20, 200.0), (50, 195.0))
    )
    calibration = Calibration("crane 1", 2.0, measured)
    assert (calibration.best.batch, calibration.recommended.batch) == (20, 5)
    assert calibration.best.best_workers == 2
    assert calibration.bound == pytest.approx(2000 / 5.5)


def test_cpu_seconds_of_a_process_and_of_none() -> None:
    assert seconds_of(os.getpid()) > 0
    assert seconds_of(2**22 + 1) == 0.0

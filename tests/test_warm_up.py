"""Runs with --warm-up: what is pulled before the load, what counts, and how it fails and stops."""

from __future__ import annotations

import re
import signal
import urllib.request
from pathlib import Path

import pytest

from lib.lab.servers import lab_cache
from tests.doubles.fake_crane import install, launches, open_gate, wait_for_launches
from tests.support.driving import between_nobody, drive, finish, left_running, start, wait_for_log
from tests.support.upstream import Upstream


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def options(client: Path, *images: str, patterns: str = "/app") -> list[str]:
    words = between_nobody(client, images, 1.0)
    together = [word for word in words if not word.startswith("--iteration-seconds")]
    return [*together, f"--patterns={patterns}", "--passes=2", "--warm-up"]


def pulls(client: Path) -> list[str]:
    return [line.split("/", 1)[1] for line in launches(client) if line.startswith("pull ")]


IMAGES = [f"ok/app-{k}:v1" for k in range(5)]


def test_each_image_is_pulled_once_before_the_load_and_counts_apart(client: Path, tmp_path: Path) -> None:
    words = options(client, *IMAGES, patterns="app-[0123],app-[34]")  # they share an image
    ended = drive(tmp_path, *words)
    assert (ended.status, ended.stdout) == (0, "")
    assert "warm-up" not in ended.stderr
    assert sorted(pulls(client)[:5]) == IMAGES
    assert len(pulls(client)) == 5 + 2 * 6
    ended.check_accounts()
    summary = ended.summary
    assert (summary["pulled"], summary["first_pulls"]) == (12, "warm")
    assert (summary["warm_up"]["pulled"], summary["warm_up"]["failed"]) == (5, 0)
    assert summary["warm_up"]["seconds"] > 0
    assert summary["settings"]["warm_up"] is True
    lines = [line.split("\t")[1] for line in ended.log.splitlines()]
    begun = lines.index("warm-up begins: 5 images, 2 at a time")
    assert re.fullmatch(r"warm-up: 5 of 5 images pulled in \d[\dms.]*", lines[begun + 1])
    assert lines[begun + 2].startswith("fixed work: ")


def test_without_it_the_summary_has_none(client: Path, tmp_path: Path) -> None:
    words = [word for word in options(client, *IMAGES) if word != "--warm-up"]
    summary = drive(tmp_path, *words).summary
    assert "warm_up" not in summary
    assert "warm_up" not in summary["settings"]
    assert summary["first_pulls"] == "unknown"


def test_it_pulls_in_batches(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES), "--batch=3")
    assert ended.status == 0
    assert [len(line.split()) - 1 for line in launches(client) if line.startswith("pull ")] == [3, 2] * 3
    assert ended.summary["warm_up"]["pulled"] == 5


@pytest.mark.parametrize("batch", [1, 5])
def test_a_pull_that_fails_ends_the_run(client: Path, tmp_path: Path, batch: int) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES[:2], "refused/app-9:v1"), f"--batch={batch}")
    assert ended.status == 1
    told = "--warm-up: cannot pull refused/app-9:v1: refused: "
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"ocidriver: {told}")
    assert ended.summary["reason"].startswith(told)
    assert (ended.summary["pulled"], ended.summary["failed"], ended.events) == (0, 0, ())
    assert ended.summary["warm_up"]["failed"] == 1
    assert ended.summary["first_pulls"] == "unknown"


def test_a_failure_does_not_wait_for_a_client_that_hangs(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    words = options(client, "hang/app-0:v1", "refused/app-1:v1", patterns="app-0,app-1")
    assert drive(tmp_path, *words, environment=temporary).status == 1
    assert left_running(Path(temporary["TMPDIR"])) == []


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_it_at_once_and_leaves_nothing(
    client: Path, tmp_path: Path, temporary: dict[str, str], number: signal.Signals, times: int
) -> None:
    words = options(client, *[f"stubborn/app-{k}:v1" for k in range(3)], patterns="app-0,app-1,app-2")
    driver = start(tmp_path, *words, "--grace=1000", environment=temporary)
    wait_for_launches(client, count=3)
    for _ in range(times):
        driver.send_signal(number)
    ended = finish(driver, tmp_path)
    assert ended.status == 128 + number
    assert ended.summary["interrupted"] is True
    assert (ended.summary["pulled"], ended.summary["interrupted_pulls"], ended.events) == (0, 0, ())
    assert ended.summary["warm_up"]["failed"] == 0
    assert left_running(Path(temporary["TMPDIR"])) == []
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []


def test_with_progress_it_writes_plain_lines(client: Path, tmp_path: Path) -> None:
    words = [*options(client, "gate/app-0:v1"), "--progress=always"]
    driver = start(tmp_path, *words)
    wait_for_log(tmp_path, "warm-up begins: 1 image, 1 at a time")
    assert driver.stderr is not None
    assert re.fullmatch(r"warm-up: 0 of 1 image pulled in \d[\dms.]*\n", driver.stderr.readline())
    open_gate(client)
    ended = finish(driver, tmp_path)
    assert ended.status == 0
    assert [line for line in ended.stderr.splitlines() if line.startswith("warm-up: 1 of 1 image pulled in ")]


def test_a_dry_run_pulls_nothing(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES), "--dry-run")
    assert ended.status == 0
    assert launches(client) == []
    assert ended.summary["first_pulls"] == "unknown"


def test_it_comes_before_the_wait_for_the_start(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    driver = start(tmp_path, *options(client, *IMAGES), "--start-at=2090-01-31 22:30", environment=temporary)
    log = wait_for_log(tmp_path, "waiting for 2090-")
    driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert "warm-up: 5 of 5 images pulled" in log
    assert ended.summary["warm_up"]["pulled"] == 5


@pytest.mark.parametrize("other", ["--prune", "--prune-first"])
def test_it_is_the_opposite_of_pruning(client: Path, tmp_path: Path, other: str) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES), other)
    assert ended.status == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"ocidriver: --warm-up and {other} cannot be combined")


def test_with_crane_the_load_finds_every_image_in_the_cache(
    tmp_path: Path, upstream: Upstream, crane: str
) -> None:
    """What the cache fetches, it fetches for the warm-up: the load makes hits only."""
    with lab_cache(upstream.address) as cache:

        def numbers() -> dict[str, int]:
            with urllib.request.urlopen(f"http://{cache.address}/metrics") as answer:
                lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
            return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}",
            "--workers=3", "--passes=2", "--warm-up", f"--client={crane}",
        )  # fmt: skip
        served = numbers()
    assert ended.status == 0
    images = ended.summary["images"]
    assert images == ended.summary["warm_up"]["pulled"] > 1
    assert ended.summary["pulled"] == 2 * images
    assert served["lab_pulls_total"] == 3 * images
    assert served['lab_requests_total{kind="manifest",result="miss"}'] == images

"""`--passes N`: each worker makes exactly N passes over its images, however slow machine and server are."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from lib.cli import main
from lib.lab.servers import lab_cache
from tests.doubles.fake_crane import install, launches, wait_for_launches
from tests.support.driving import between_nobody, drive, finish, start
from tests.support.upstream import Upstream

IMAGES = [f"ok/app-{k}:v1" for k in range(12)]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def options(client: Path, images: list[str], *more: str) -> list[str]:
    """Workers that start together."""
    return [*between_nobody(client, images, None), *more]


def pulls(client: Path) -> list[str]:
    return [line.removeprefix("pull 127.0.0.1:1/") for line in launches(client) if line.startswith("pull")]


@pytest.mark.parametrize("apart", [[], ["--iteration-seconds=0.5"]])
def test_each_image_is_pulled_as_often_as_was_asked(client: Path, tmp_path: Path, apart: list[str]) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, "--workers=4", "--passes=3", *apart))
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    summary = ended.summary
    assert (summary["pulled"], summary["failed"], summary["interrupted_pulls"]) == (36, 0, 0)
    assert Counter(pulls(client)) == Counter(3 * IMAGES)
    assert [(each["passes"], each["pulled"]) for each in summary["workers"]] == [(3, 9)] * 4
    steps = [(each["workers"], each["direction"]) for each in summary["steps"]]
    assert steps == ([(1, "up"), (2, "up"), (3, "up"), (4, "hold")] if apart else [(4, "hold")])
    seconds = sum(each["seconds"] for each in summary["samples"])
    assert summary["drain"] is None
    assert summary["rate"] == pytest.approx(36 / seconds)
    assert seconds <= summary["elapsed_seconds"]
    assert summary["settings"]["passes"] == 3
    assert summary["settings"]["iteration_seconds"] == (0.5 if apart else None)
    assert [event["pass"] for event in ended.events if event["image"] == IMAGES[0]] == [1, 2, 3]
    assert "fixed work: 4 workers, 3 passes each, 36 pulls in all" in ended.log
    assert "all workers have finished their passes" in ended.log


def test_a_dry_run(client: Path, tmp_path: Path) -> None:
    words = options(client, IMAGES, "--workers=4", "--passes=3", "--dry-run", "--prune", "--shuffle")
    ended = drive(tmp_path, *words, "--progress=always", f"--report-file={tmp_path}/report.html")
    assert ended.status == 0
    ended.check_accounts()
    assert ended.summary["pulled"] == 36
    assert launches(client) == []
    *_, last = ended.stderr.splitlines()
    assert last.startswith("36 of 36 pulls done, workers ")
    report = (tmp_path / "report.html").read_text()
    assert "--passes" in report
    assert "The whole run, and its intervals" in report


def test_failed_pulls_are_attempts_too(client: Path, tmp_path: Path) -> None:
    images = ["ok/app:1", "refused/app:1", "signal/app:1", "retry/app:1", "ok/other:1"]
    ended = drive(tmp_path, *options(client, images, "--workers=2", "--passes=5"))
    assert ended.status == 0
    ended.check_accounts()
    assert (ended.summary["pulled"], ended.summary["failed"]) == (15, 10)
    assert ended.summary["errors"] == {"refused": 5, "killed": 5}
    assert Counter(pulls(client)) == Counter(5 * images)


@pytest.mark.parametrize("size", [2, 5, 40])
def test_batches(client: Path, tmp_path: Path, size: int) -> None:
    images = [*IMAGES[:10], "refused/app-10:v1", "refused/app-11:v1"]
    ended = drive(tmp_path, *options(client, images, "--workers=2", "--passes=2", f"--batch={size}"))
    assert ended.status == 0
    ended.check_accounts()
    assert (ended.summary["pulled"], ended.summary["failed"]) == (20, 4)


def test_shuffled_passes_have_each_image_once(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, IMAGES, "--workers=1", "--passes=4", "--shuffle", "--seed=7"))
    assert ended.status == 0
    orders = [
        [event["image"] for event in ended.events if event["pass"] == number] for number in (1, 2, 3, 4)
    ]
    assert all(sorted(order) == sorted(IMAGES) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize(
    ("expression", "status"), [("error_rate<=0%", 0), ("pulled>=36", 0), ("pulled>36", 3), ("rate<=0", 3)]
)
def test_thresholds(client: Path, tmp_path: Path, expression: str, status: int) -> None:
    ended = drive(
        tmp_path,
        *options(client, IMAGES, "--workers=4", "--passes=3"),
        "--threshold",
        expression,
        "--dry-run",
    )
    assert ended.status == status


def test_a_signal_ends_it_in_the_middle(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    words = options(client, ["slow/app:1", "slow/app:2"], "--workers=2", "--passes=100000")
    running = start(tmp_path, *words, environment=temporary)
    wait_for_launches(client, count=4)
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.stderr) == (143, "")
    ended.check_accounts()
    assert ended.summary["interrupted"] is True
    assert ended.summary["pulled"] == len(pulls(client)) >= 4
    assert "all workers have finished their passes" not in ended.log


def test_a_hopeless_beginning_ends_it(client: Path, tmp_path: Path) -> None:
    words = [
        word
        for word in options(client, ["refused/app:1"], "--workers=1", "--passes=100000")
        if word != "--keep-going"
    ]
    with lab_cache("127.0.0.1:1") as cache:
        ended = drive(tmp_path, *words, f"--pullthrough-url={cache.address}")
    assert ended.status == 1
    assert "none of the first 10 pulls succeeded: refused" in ended.stderr
    assert 10 <= ended.summary["failed"] < 100000
    ended.check_accounts()


def test_fixed_work_of_which_nothing_succeeds_is_exit_1(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, ["refused/app:1"], "--workers=1", "--passes=3"))
    assert ended.status == 1
    assert "nothing was pulled: 3 pulls failed, 3 of them with refused" in ended.stderr


def test_two_runs_of_fixed_work_are_compared_as_like_with_like(
    client: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Their last steps are of different lengths: each lasts as long as the work took."""
    rates = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words = options(client, IMAGES, "--workers=4", "--passes=40", "--dry-run", "--tally-seconds=0.02")
        ended = drive(tmp_path / name, *words)
        assert ended.summary["pulled"] == 480
        rates.append(ended.summary["rate"])
    files = [f"{tmp_path}/{name}/summary.json" for name in ("a", "b")]
    assert main(["compare", *files, "--format=json", f"--report-file={tmp_path}/comparison.html"]) == 0
    (told,) = json.loads(capfd.readouterr().out)["comparisons"]
    assert not any("loads differ" in note for note in told["notes"])
    assert [told["quantities"]["rate"][side] for side in ("a", "b")] == rates
    assert told["verdict"] is not None
    page = (tmp_path / "comparison.html").read_text()
    assert "the mean of a constant load" in page
    assert "Rate by workers" not in page  # there is one number of workers


@pytest.mark.parametrize("prune_first", [[], ["--prune-first"]])
def test_the_real_crane_prunes_after_each_pass_also_the_last(
    prune_first: list[str], upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    with lab_cache(upstream.address) as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={crane}",
            "--workers=4", "--passes=3", "--prune", *prune_first,
        )  # fmt: skip
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["pulled"] == 36
    assert ended.summary["pruned"] == 36 + (12 if prune_first else 0)
    assert ended.summary["first_pulls"] == ("cold" if prune_first else "unknown")
    assert all(event["first"] for event in ended.events if event["op"] == "pull")
    assert [event["op"] for event in ended.events if event["image"] == upstream.images[0]] == [
        *(["prune"] if prune_first else []), *["pull", "prune"] * 3
    ]  # fmt: skip


def test_the_real_crane_with_failures(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    """A third of the manifests is refused; the server's log, not the driver, says how many were asked for."""
    with lab_cache(upstream.address, "--fault=manifest-404:0.33", "--seed=3") as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={crane}",
            "--workers=4", "--passes=3",
        )  # fmt: skip
    assert ended.status == 0
    ended.check_accounts()
    summary = ended.summary
    assert summary["pulled"] + summary["failed"] == 36
    assert summary["pulled"] > 0
    assert summary["failed"] > 0
    assert set(summary["errors"]) == {"not-found"}

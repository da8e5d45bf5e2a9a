"""Whole runs with --hosts local:N: every shape of load, the accounts, thresholds, and stops at any moment."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from lib.load.latency import Latencies
from tests.doubles.fake_crane import image_list, install
from tests.support.driving import NOBODY, Ended, drive, finish, start
from tests.support.waiting import wait_until

IMAGES = (*(f"ok/{name}:1" for name in "abcdefgh"), "refused/d:1", "retry/g:1")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    client = install(tmp_path / "bin")
    return [*NOBODY, f"--image-list={image_list(client, IMAGES)}", f"--client={client}", "--grace=5"]


def check(ended: Ended, hosts: int) -> None:
    """The accounts agree, and those of the hosts add up."""
    ended.check_accounts()
    summary = ended.summary
    assert len(summary["hosts"]) == hosts
    for name in ("pulled", "failed", "interrupted_pulls", "workers", "driver_cpu_seconds"):
        whole = len(summary["workers"]) if name == "workers" else summary[name]
        assert sum(host[name] for host in summary["hosts"]) == pytest.approx(whole, abs=0.01), name
    for host in summary["hosts"]:
        own = [event for event in ended.events if event["host"] == host["name"] and event["op"] == "pull"]
        assert sum(event["outcome"] == "ok" for event in own) == host["pulled"]


def shape(summary: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (step["workers"], step["direction"], round(step["seconds"], 2), step["offered"])
        for step in summary["steps"]
    ]


@pytest.mark.parametrize(
    "load",
    [
        ["--workers=5", "--iteration-seconds=0.3", "--hold=0.5"],
        ["--workers=4", "--passes=3", "--batch=2", "--deal=all"],
        ["--workers=4", "--rate=5:40", "--duration=2", "--arrivals=poisson", "--seed=3"],
        ["--workers=4", "--stage=0.5:4", "--stage=0.5:1"],
        ["--patterns=[a-c]:,d:,g:", "--passes=3", "--shuffle"],
        ["--workers=3", "--passes=2", "--dry-run"],
    ],
    ids=lambda load: " ".join(load[1:]),
)
def test_every_shape_of_load_is_carried_out(tmp_path: Path, words: list[str], load: list[str]) -> None:
    ended = drive(tmp_path, *words, *load, "--tally-seconds=0.5", "--hosts=local:2")
    assert ended.status == 0, ended.stderr
    check(ended, 2)
    assert ended.summary["complete"]
    assert ended.summary["pulled"] > 0


def test_fixed_work_on_three_hosts_is_that_of_one(tmp_path: Path, words: list[str]) -> None:
    load = ["--workers=5", "--passes=3"]
    one, three = (
        drive(tmp_path / name, *words, *load, *hosts)
        for name, hosts in (("one", []), ("three", ["--hosts=local:3"]))
    )
    check(three, 3)
    for name in ("pulled", "failed", "errors", "images", "retried"):
        assert one.summary[name] == three.summary[name], name
    for counts in ("workers", "image_sets"):
        wanted, found = (
            [
                {name: value for name, value in each.items() if name != "latency_ms"}
                for each in summary[counts]
            ]
            for summary in (one.summary, three.summary)
        )
        assert found == wanted
    # the percentiles of the merge are those of one histogram of all events
    histogram = Latencies()
    for event in three.events:
        if event["outcome"] == "ok":
            histogram.add(event["seconds"])
    together = histogram.result()
    assert together is not None
    found = three.summary["latency_ms"]
    for name in ("count", "min", "p50", "p95", "max"):
        assert found[name] == pytest.approx(getattr(together.rounded(), name), rel=2e-3), name


def test_a_schedule_on_three_hosts_is_that_of_one(tmp_path: Path, words: list[str]) -> None:
    load = ["--workers=6", "--rate=20:60", "--duration=3", "--tally-seconds=1"]
    one, three = (
        drive(tmp_path / name, *words, *load, *hosts)
        for name, hosts in (("one", []), ("three", ["--hosts=local:3"]))
    )
    check(three, 3)
    assert shape(three.summary) == shape(one.summary)
    attempts = [
        summary["pulled"] + summary["failed"] + summary["unstarted"]
        for summary in (one.summary, three.summary)
    ]
    assert attempts == [120, 120]


def test_a_missed_threshold_is_judged_on_all_hosts(tmp_path: Path, words: list[str]) -> None:
    ended = drive(
        tmp_path, *words, "--workers=2", "--passes=2", "--hosts=local:2", "--threshold=error_rate<1%"
    )
    assert ended.status == 3
    assert "threshold missed: error rate was 10 %" in ended.stderr


@pytest.mark.parametrize(("signals", "status"), [([signal.SIGTERM], 143), ([signal.SIGINT] * 2, 130)])
def test_a_stop_ends_all_hosts_in_order(
    tmp_path: Path, words: list[str], signals: list[signal.Signals], status: int
) -> None:
    running = start(
        tmp_path, *words, "--workers=4", "--duration=300", "--hosts=local:2", "--tally-seconds=0.5"
    )
    metrics = tmp_path / "metrics"
    wait_until(lambda: metrics.is_file() and len(metrics.read_text().splitlines()) >= 2)
    for number in signals:
        running.send_signal(number)
    ended = finish(running, tmp_path)
    assert ended.status == status, ended.stderr
    check(ended, 2)
    assert ended.summary["interrupted"]
    assert ended.summary["reason"] == f"interrupted by {signals[0].name}"


def test_a_run_in_which_nothing_is_pulled_ends_early(tmp_path: Path) -> None:
    client = install(tmp_path / "bin")
    images = [f"refused/{name}:1" for name in "abcdef"]
    words = [word for word in NOBODY if word != "--keep-going"]
    ended = drive(
        tmp_path, *words, f"--image-list={image_list(client, images)}", f"--client={client}",
        "--workers=4", "--duration=300", "--hosts=local:2",
    )  # fmt: skip
    assert ended.status == 1
    assert "host" in ended.stderr

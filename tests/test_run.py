"""Whole runs with a stand-in for crane: accounts, stops, faults of this machine. No server takes part."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lib.finish import _nothing_pulled
from lib.lab.servers import lab_cache
from lib.load.tally import Tally
from lib.options.settings import Settings
from tests.doubles.fake_crane import install, launches, open_gate, wait_for_launches
from tests.support.driving import (
    between_nobody,
    command,
    drive,
    files,
    finish,
    read,
    start,
    wait_for_log,
    wait_for_the_script,
)
from tests.support.processes import alive, is_pending
from tests.support.running import run
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

STEP = 0.3


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def options(client: Path, *images: str, patterns: str = "/app", step: float = STEP) -> list[str]:
    """A run over these images, with nobody listening at either end."""
    return [*between_nobody(client, images, step), f"--patterns={patterns}"]


def test_a_good_run_is_silent_and_its_accounts_agree(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    images = [f"ok/app-{k}:v1" for k in range(4)]
    words = [*options(client, *images, patterns="app-[01],app-[23]"), "--passes=6"]
    ended = drive(tmp_path, *words, environment=temporary)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    assert ended.summary["pulled"] == 24
    ended.check_accounts()
    pulls = [line for line in launches(client) if line.startswith("pull")]
    assert len(pulls) == ended.summary["pulled"]
    assert set(pulls) == {f"pull 127.0.0.1:1/{image}" for image in images}
    assert [each["workers"] for each in ended.summary["steps"]] == [1, 2]
    first = [event["image"] for event in ended.events if event["first"]]
    assert sorted(first) == sorted(images)
    assert ended.summary["client"] == {"name": "crane", "version": "0.0.1"}
    assert ended.summary["driver_cpu_seconds"] > 0
    assert ended.summary["client_cpu_seconds"] > 0


def test_a_ramp_has_its_steps(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, "ok/app-0:v1", "ok/app-1:v1", patterns="app-0,app-1"))
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    ended.check_accounts()
    steps = ended.summary["steps"]
    assert [(each["workers"], each["direction"]) for each in steps] == [
        (1, "up"), (2, "up"), (2, "down"), (1, "down"),
    ]  # fmt: skip
    assert [each["seconds"] for each in steps[:3]] == [pytest.approx(STEP)] * 3
    assert steps[3]["seconds"] >= STEP - 1e-6


def test_failures_are_counted_by_class_and_the_workers_go_on(client: Path, tmp_path: Path) -> None:
    ended = drive(
        tmp_path,
        *options(client, "ok/app:1", "refused/app:1", "signal/app:1", "flood/app:1", "retry/app:1"),
        "--passes=2",
    )
    assert ended.status == 0
    ended.check_accounts()
    assert ended.summary["errors"] == {"refused": 2, "killed": 2, "dns": 2}
    assert ended.summary["retried"] == 2
    assert "pull of refused/app:1 failed: refused: " in ended.log
    assert ended.stderr == ""


def test_a_client_that_hangs_is_killed_with_all_it_started(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    images = ["ok/app:1", "stubborn/app:1", "orphan/app:1", "litter/app:1"]
    words = [*options(client, *images), "--passes=1", "--pull-timeout=2"]
    ended = drive(tmp_path, *words, environment=temporary)
    assert ended.status == 0
    ended.check_accounts()
    assert "timeout" in ended.summary["errors"]
    assert all(event["seconds"] < 300 for event in ended.events)  # the client would take 600 and more


def test_a_client_that_vanishes_in_mid_run(client: Path, tmp_path: Path) -> None:
    """Its third pull removes it."""
    vanish = f'[ "$(grep -c ^pull {client.parent}/launches)" = 3 ] && rm -- "$0"\n'
    client.write_text(client.read_text().replace('case "$fault" in\n', f'{vanish}case "$fault" in\n'))
    ended = drive(tmp_path, *options(client, "ok/app:1"), "--passes=10")
    assert ended.status == 0
    ended.check_accounts()
    assert ended.outcomes() == ["ok"] * 3 + ["failed"] * 7
    assert ended.summary["errors"] == {"client": 7}
    assert ended.summary["elapsed_seconds"] > 7 * 0.1  # it pauses when nothing can be started


def test_nothing_pulled_is_exit_1(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, "refused/app:1"), "--passes=3")
    assert ended.status == 1
    assert ended.stderr.startswith("ocidriver: nothing was pulled: ")
    assert ended.stderr.count("\n") == 1
    ended.check_accounts()


def test_a_dry_run_launches_nothing(client: Path, tmp_path: Path) -> None:
    words = options(client, "refused/app:1", "hang/app:1")
    ended = drive(tmp_path, *words, "--passes=10", "--dry-run", "--prune")
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.summary["pulled"] == 20
    assert ended.summary["pruned"] == 0
    assert ended.summary["client"] is None
    assert launches(client) == []


@pytest.mark.parametrize(
    ("expression", "status"),
    [("error_rate<=0%", 0), ("pulled>1000000", 3), ("first.p50<300s", 0), ("p50>300s", 3)],
)
def test_thresholds(client: Path, tmp_path: Path, expression: str, status: int) -> None:
    ended = drive(tmp_path, *options(client, "ok/app:1"), "--passes=3", "--threshold", expression)
    assert ended.status == status
    (threshold,) = ended.summary["thresholds"]
    assert (threshold["expression"], threshold["passed"]) == (expression, status == 0)
    assert ended.stderr == "" if status == 0 else "ocidriver: threshold missed: p" in ended.stderr


def test_exit_1_wins_over_3(client: Path, tmp_path: Path) -> None:
    words = [*options(client, "refused/app:1"), "--passes=3", "--threshold", "rate>5"]
    assert drive(tmp_path, *words).status == 1


def test_shuffling_is_the_workers_own_and_repeatable(client: Path, tmp_path: Path) -> None:
    images = [f"ok/app-{k}:v1" for k in range(6)]

    def orders(folder: str, *more: str) -> list[list[str]]:
        (tmp_path / folder).mkdir()
        words = [*options(client, *images, patterns="app,ok"), "--passes=2", "--shuffle"]
        ended = drive(tmp_path / folder, *words, *more)
        passes: dict[tuple[int, int], list[str]] = {}
        for event in ended.events:
            passes.setdefault((event["worker"], event["pass"]), []).append(event["image"])
        assert "share images (6)" in ended.stderr
        return [passes[key] for key in ((0, 1), (0, 2), (1, 1), (1, 2))]

    one, other, free = orders("one", "--seed=7"), orders("other", "--seed=7"), orders("free", "--seed=8")
    assert one == other
    assert one != free
    assert one[0] == one[2] == images  # the first pass is in the listing's order
    assert sorted(one[1]) == sorted(one[3]) == images
    assert one[1] != one[3]


def test_workers_are_dealt_disjoint_sets(client: Path, tmp_path: Path) -> None:
    words = [
        word
        for word in options(client, *(f"ok/app-{k}:v1" for k in range(5)))
        if not word.startswith("--patterns")
    ]
    ended = drive(tmp_path, *words, "--workers=2", "--passes=2")
    assert ended.status == 0
    assert [(each["pattern"], each["images"]) for each in ended.summary["workers"]] == [
        ("1/2", 3),
        ("2/2", 2),
    ]
    assert all(event["first"] == (event["pass"] == 1) for event in ended.events)


def test_images_from_stdin(client: Path, tmp_path: Path) -> None:
    words = [word for word in options(client) if not word.startswith("--image-list")]
    digest = f"ok/app@sha256:{'a' * 64}"
    ended = drive(tmp_path, *words, "--passes=1", "--image-list=-", stdin=f"# mine\nok/app:v1\n\n{digest}\n")
    assert ended.status == 0
    assert {event["image"] for event in ended.events} == {"ok/app:v1", digest}


def test_a_pull_that_runs_past_the_end_is_a_drain_and_in_no_rate(client: Path, tmp_path: Path) -> None:
    driver, log = start(tmp_path, *options(client, "gate/app:v1", step=0.5)), tmp_path / "log"
    wait_until(lambda: log.exists() and "stop all workers" in log.read_text())
    open_gate(client)
    ended = finish(driver, tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    summary = ended.summary
    assert (summary["drain"]["pulled"], summary["drain"]["failed"], summary["pulled"]) == (1, 0, 1)
    assert summary["rate"] == 0.0
    assert sum(each["seconds"] for each in summary["samples"]) == pytest.approx(1.0)
    assert sum(each["seconds"] for each in summary["steps"]) == pytest.approx(1.0)
    assert sum(each["pulled"] for each in summary["steps"]) == 0
    assert len(ended.metrics) == len(summary["samples"]) + 1
    # the steps have the part of the pull that lies in them
    assert 0 <= sum(each["rate"] * each["seconds"] for each in summary["steps"]) < 1


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_drains(
    client: Path, tmp_path: Path, temporary: dict[str, str], number: signal.Signals, status: int
) -> None:
    words = [*options(client, "slow/app:1", step=60), "--grace=100"]
    driver = start(tmp_path, *words, environment=temporary)
    wait_for_launches(client, count=2)
    os.killpg(driver.pid, number)  # the whole terminal's worth, as Ctrl-C does
    ended = finish(driver, tmp_path)
    assert (ended.status, ended.stderr) == (status, "")
    assert ended.summary["interrupted"] is True
    assert ended.summary["interrupted_pulls"] == 0
    assert ended.summary["pulled"] == len([line for line in launches(client) if line.startswith("pull")])
    ended.check_accounts()


def test_after_a_signal_no_client_starts_whose_worker_waited_for_its_turn(
    client: Path, tmp_path: Path
) -> None:
    images = [f"ok/app-{k}:v1" for k in range(60)]
    words = ["--workers=60", "--rate=5000", "--grace=100"]
    driver = start(tmp_path, *between_nobody(client, images, 60), *words)
    wait_for_launches(client, count=60)
    driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert ended.status == 143
    assert ended.summary["unstarted"] > 0
    assert ended.summary["pulled"] == len([line for line in launches(client) if line.startswith("pull")])
    assert ended.summary["failed"] == ended.summary["interrupted_pulls"] == 0
    ended.check_accounts()


@pytest.mark.parametrize("twice", [True, False])
def test_after_the_grace_or_at_a_second_signal_clients_are_killed(
    client: Path, tmp_path: Path, temporary: dict[str, str], twice: bool
) -> None:
    words = [*options(client, "stubborn/app:1", step=60), f"--grace={1000 if twice else 0.3}"]
    driver = start(tmp_path, *words, environment=temporary)
    wait_for_launches(client)
    driver.send_signal(signal.SIGINT)
    if twice:
        wait_for_log(tmp_path, "stopping: ")
        driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert ended.status == 130
    assert (ended.summary["pulled"], ended.summary["failed"], ended.summary["interrupted_pulls"]) == (0, 0, 1)
    ended.check_accounts()


def test_a_signal_while_waiting_for_the_start(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    driver = start(tmp_path, *options(client, "ok/app:1"), "--start-at=23:59:59.9", environment=temporary)
    wait_for_log(tmp_path, "waiting for")
    driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert ended.status == 143
    assert ended.summary["interrupted"] is True
    assert ended.summary["pulled"] == 0


def test_ctrl_c_at_any_moment_of_the_start_is_no_traceback(client: Path, tmp_path: Path) -> None:
    """From the script's first statement on; what comes before is the interpreter's own start."""
    for step in range(12):
        folder = tmp_path / str(step)
        folder.mkdir()
        driver = start(folder, *options(client, "ok/app:1", step=60))
        wait_for_the_script(driver, folder)
        time.sleep(0.03 * step)
        driver.send_signal(signal.SIGINT)
        out, err = driver.communicate(timeout=SECONDS)
        assert driver.returncode in (130, -signal.SIGINT)
        assert (err, out == "" or out.startswith("tested ")) == ("", True)


def test_nohup_means_it(client: Path, tmp_path: Path) -> None:
    words = command(*files(tmp_path), *options(client, "ok/app:1"))
    driver = subprocess.Popen(["nohup", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_launches(client)
    driver.send_signal(signal.SIGHUP)
    assert driver.wait(SECONDS) == 0


def test_with_stdout_closed_no_line_lands_in_another_file(client: Path, tmp_path: Path) -> None:
    words = command(*files(tmp_path)[2:], *options(client, "ok/app:1"), "--passes=3")
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words],
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    ended = read(tmp_path, done.returncode, "", done.stderr)
    assert (ended.status, ended.stderr) == (0, "")
    assert len(ended.events) == ended.summary["pulled"] == 3


def test_a_reader_that_leaves_is_told_once(client: Path, tmp_path: Path) -> None:
    words = command(*files(tmp_path)[2:], *options(client, "ok/app:1"), "--passes=3")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
    )
    os.close(writer)
    ended = read(tmp_path, done.returncode, "", done.stderr)
    assert ended.status == 1
    assert (
        ended.stderr.count("Broken pipe") == 4
    )  # metrics and log: when it happened, and why the status is 1
    assert len(ended.events) == ended.summary["pulled"] == 3


def test_a_summary_without_a_place_is_exit_1_also_when_a_threshold_was_missed(
    client: Path, tmp_path: Path
) -> None:
    """Its folder, which the run has made, is removed while the run goes on."""
    folder = tmp_path / "gone"
    client.write_text(client.read_text().replace('case "$fault" in\n', f'rmdir {folder}\ncase "$fault" in\n'))
    words = [*options(client, "ok/app:1"), "--passes=1", "--threshold=rate>9999"]
    done = run(*command(*files(tmp_path)[:2], *words, f"--summary-file={folder}/s"))
    assert done.returncode == 1
    assert f"cannot write the summary to {folder}/s: No such file or directory" in done.stderr


def test_what_a_client_starts_in_a_session_of_its_own_is_ended(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, "daemon/app:1"), "--passes=5")
    assert ended.status == 0
    pids = [int(line) for line in (client.parent / "daemons").read_text().split()]
    assert len(pids) == ended.summary["pulled"] == 5
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle_of_prune_first(
    client: Path, tmp_path: Path, temporary: dict[str, str], upstream: Upstream, number: signal.Signals
) -> None:
    with lab_cache(upstream.address, "--allow-delete") as cache:
        driver = start(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}",
            "--layout=distribution", f"--client={client}", "--workers=1", "--prune-first", "--prune-via=client",
            environment=temporary,
        )  # fmt: skip
        wait_for_launches(client, "delete")
        driver.send_signal(number)
        ended = finish(driver, tmp_path)
    assert ended.status == 128 + number
    assert ended.summary["interrupted"] is True
    assert [event["outcome"] for event in ended.events] == ["interrupted"]


def test_the_upstream_by_another_name_is_not_pruned(client: Path, tmp_path: Path, upstream: Upstream) -> None:
    port = upstream.address.partition(":")[2]
    ended = drive(
        tmp_path, f"--pullthrough-url=localhost:{port}", f"--registry-url={upstream.address}", "--layout=distribution",
        f"--client={client}", "--workers=1", "--prune",
    )  # fmt: skip
    assert ended.status == 1
    assert "are the same server" in ended.stderr
    assert launches(client) == []


def test_a_batch_counts_each_image_once(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    images = [f"{'refused' if k == 4 else 'ok'}/app-{k}:v1" for k in range(7)]
    ended = drive(tmp_path, *options(client, *images), "--passes=2", "--batch=3", environment=temporary)
    assert ended.status == 0
    ended.check_accounts()
    summary = ended.summary
    assert (summary["latency_unit"], summary["settings"]["batch"]) == ("launch", 3)
    assert (summary["pulled"], summary["failed"]) == (12, 2)
    assert {event["image"] for event in ended.events if event["outcome"] == "failed"} == {"refused/app-4:v1"}
    again = [event for event in ended.events if event["repulled"]]
    assert len(again) == summary["repulled"] > 0
    timed = [event["launch"] for event in ended.events if event["timed"] and event["outcome"] == "ok"]
    assert len(timed) == len(set(timed))
    together = [line for line in launches(client) if line.count("127.0.0.1:1/") == 3]
    assert together
    assert len(launches(client)) == len({event["launch"] for event in ended.events}) + summary["repulled"]


def test_a_schedule_keeps_its_rate_and_its_accounts(client: Path, tmp_path: Path) -> None:
    ended = drive(
        tmp_path, *options(client, "ok/app-0:v1", "ok/app-1:v1", patterns="app-0,app-1"), "--rate=20"
    )
    assert ended.status == 0
    ended.check_accounts()
    summary = ended.summary
    scheduled = 20 * 4 * STEP
    attempts = summary["pulled"] + summary["failed"] + summary["interrupted_pulls"]
    assert attempts + summary["unstarted"] == scheduled
    assert [(each["workers"], each["offered"]) for each in summary["steps"]] == [(2, pytest.approx(20))] * 4


def test_latencies_by_a_schedule_count_from_when_the_pull_was_due(client: Path, tmp_path: Path) -> None:
    """One worker, pulls of 0.3 s, ten of them due per second: each has waited for all that were due before it."""
    opened = drive(tmp_path, *options(client, "slow/app:v1", step=1.0), "--rate=10")
    seconds = [event["seconds"] for event in opened.events]
    assert len(seconds) > 1
    assert all(later >= earlier + 0.3 - 0.1 - 1e-5 for earlier, later in pairwise(seconds))
    assert opened.summary["late_no_worker"] > 0
    assert opened.summary["late"] == opened.summary["late_no_worker"] + opened.summary["late_machine"]
    assert opened.summary["unstarted"] > 0
    assert opened.summary["pulled"] + opened.summary["unstarted"] == 20
    assert "started late" in opened.log


@pytest.mark.parametrize(
    ("words", "environment", "wanted"),
    [
        ([], {}, f"1 400 tlsmlkem=0 {os.SCHED_BATCH}"),
        (["--no-lean"], {}, f"unset unset unset {os.SCHED_OTHER}"),
        ([], {"GOMAXPROCS": "3"}, f"3 400 tlsmlkem=0 {os.SCHED_BATCH}"),
        ([], {"GOGC": "off"}, f"1 off tlsmlkem=0 {os.SCHED_BATCH}"),
        ([], {"GODEBUG": "netdns=go"}, f"1 400 netdns=go,tlsmlkem=0 {os.SCHED_BATCH}"),
        ([], {"GODEBUG": "tlsmlkem=1"}, f"1 400 tlsmlkem=1 {os.SCHED_BATCH}"),
        (["--pullthrough-url=https://c:1", "--keep-going"], {}, f"1 400 unset {os.SCHED_BATCH}"),
    ],
)
def test_crane_is_started_lean_unless_told_otherwise(
    client: Path, tmp_path: Path, words: list[str], environment: dict[str, str], wanted: str
) -> None:
    seen = tmp_path / "seen"
    variables = " ".join(f"${{{name}-unset}}" for name in ("GOMAXPROCS", "GOGC", "GODEBUG"))
    script = client.read_text().replace(
        "#!/bin/sh\n", f'#!/bin/sh\necho "$1 {variables} $(cut -d" " -f41 /proc/$$/stat)" >> {seen}\n'
    )
    client.write_text(script)
    ended = drive(tmp_path, *options(client, "ok/app:v1"), "--passes=3", *words, environment=environment)
    assert ended.status == 0
    assert {line for line in seen.read_text().splitlines() if line.startswith("pull")} == {f"pull {wanted}"}
    assert ended.summary["settings"]["lean"] == ("--no-lean" not in words)


def test_who_ignores_the_ends_of_children_may_start_it(client: Path, tmp_path: Path) -> None:
    words = command(*files(tmp_path), *options(client, "ok/app:1"), "--passes=6")
    done = run("bash", "-c", 'trap "" CHLD; exec "$@"', "bash", *words)
    ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.summary["pulled"] == 6
    ended.check_accounts()


def test_a_signal_after_the_run_changes_nothing_of_it(client: Path, tmp_path: Path) -> None:
    """While the summary waits for the reader of its pipe, which takes a part of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    words = [word for word in files(tmp_path) if not word.startswith("--summary-file")]
    more = ["--passes=20", "--tally-seconds=0.01", f"--summary-file={pipe}", "--threshold=rate>100000"]
    with subprocess.Popen(
        command(*words, *options(client, "ok/app:1"), *more),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        wait_until(lambda: select.select([reader], [], [], 0)[0])
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_pending(running.pid, signal.SIGTERM))
        os.set_blocking(reader, True)
        with open(reader, encoding="utf-8") as file:
            text = file.read()
        assert running.wait(timeout=SECONDS) == 3
        assert running.stderr is not None
        assert "threshold missed: rate was " in running.stderr.read()
    assert len(text) > select.PIPE_BUF
    assert json.loads(text)["interrupted"] is False


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (["--duration=2h10m"], ["ocidriver: this load takes 2h10m"]),
        (["--iteration-seconds=31m"], ["ocidriver: this load takes 2h4m"]),
        (["--stage=1h:2", "--stage=0.5s:0"], ["ocidriver: this load takes 1h"]),
        (["--duration=1h"], []),
        (["--passes=1"], []),
    ],
)
def test_a_load_of_more_than_an_hour_states_its_length_before_it_starts(
    shape: list[str], told: list[str], client: Path, tmp_path: Path
) -> None:
    words = options(client, "ok/app-0:v1", "ok/app-1:v1", patterns="app-0,app-1")
    kept = [word for word in words if not word.startswith("--iteration-seconds")]
    driver = start(tmp_path, *kept, *shape, "--start-at=2090-01-31 22:30")
    log = wait_for_log(tmp_path, "waiting for 2090-")
    driver.send_signal(signal.SIGTERM)
    assert finish(driver, tmp_path).stderr.splitlines() == told
    logged = [line.split("\t")[1] for line in log.splitlines() if "this load takes" in line]
    assert logged == [line.removeprefix("ocidriver: ") for line in told]


@pytest.mark.parametrize(
    ("duration", "stages", "longer"),
    [(0.01, (), "--duration"), (None, ("0.01s:1",), "--stage"), (None, (), "--iteration-seconds")],
)
def test_a_load_that_ends_before_its_first_pull_names_the_option_to_change(
    duration: float | None, stages: tuple[str, ...], longer: str
) -> None:
    settings = cast(Settings, SimpleNamespace(duration=duration, stages=stages))
    tally = Tally(1, retries_known=True, on_sample=lambda _: None)
    assert _nothing_pulled(tally, settings).endswith(f"; give a longer {longer}")

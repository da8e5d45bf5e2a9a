"""A driver that was itself stopped: its intervals are marked, and one line says so. A busy machine causes no mark."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.processes.pauses import Moment, Pauses, now
from tests.doubles.fake_crane import install, open_gate, wait_for_launches
from tests.support.driving import between_nobody, finish, read, start, wait_for_outcomes
from tests.support.processes import read_file
from tests.support.waiting import wait_until

FREEZER = Path("/sys/fs/cgroup/freezer")


def moment(
    at: float, cpu: float = 0.0, waited: float = 0.0, asleep: float = 0.0, doubt: float = 0.0
) -> Moment:
    return Moment(100.0 + at, cpu, waited, (asleep, asleep + doubt))


@pytest.mark.parametrize(
    ("moments", "paused"),
    [
        ([moment(0), moment(0.25), moment(0.5)], 0.0),
        ([moment(0), moment(2.2)], 0.0),  # late, but less than two seconds
        ([moment(0), moment(5)], 5.0),
        ([moment(0), moment(5, cpu=0.05)], 5.0),  # what the ticks and the way out of a freezer take
        ([moment(0), moment(5, cpu=0.5)], 0.0),  # the interpreter lock was taken
        ([moment(0), moment(5, waited=4.9)], 0.0),  # another program had the CPU
        ([moment(0), moment(0.25), moment(4.25), moment(4.5), moment(10)], 9.5),
        ([moment(0), moment(0.25, asleep=30)], 30.0),
        ([moment(0), moment(0.25, asleep=0.05)], 0.0),
        ([moment(0, doubt=2), moment(0.25, asleep=1)], 0.0),  # put off between reading one clock and the other
        ([moment(0), moment(5, asleep=20)], 25.0),
    ],
)  # fmt: skip
def test_what_a_late_tick_means(moments: list[Moment], paused: float) -> None:
    pauses = Pauses()
    pauses.begin(100.0)
    for one, other in itertools.pairwise(moments):
        pauses.tick(one, other)
    assert pauses.within(0.0, 1000.0) == pytest.approx(paused)


def test_a_pause_counts_in_the_intervals_that_it_touches() -> None:
    pauses = Pauses()
    pauses.begin(100.0)
    pauses.tick(moment(4), moment(11))
    pauses.tick(moment(9), moment(12))  # overlaps
    pauses.tick(moment(14), moment(14.25, asleep=60))
    assert [pauses.within(k, k + 5) for k in range(0, 20, 5)] == pytest.approx([1.0, 5.0, 62.0, 0.0])


def test_a_signal_to_go_on_without_a_stop_is_no_pause() -> None:
    assert threading.current_thread() is threading.main_thread()
    pauses = Pauses()
    before = signal.getsignal(signal.SIGCONT)
    with pauses.watching():
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGCONT)
        wait_until(lambda: pauses.continued == 1)
    assert signal.getsignal(signal.SIGCONT) is before
    assert pauses.within(0.0, 1e9) < 0.5  # nothing, unless this process was held up just then


def test_the_clocks_of_this_machine() -> None:
    one, other = now(), now()
    assert other.at >= one.at
    assert other.cpu >= one.cpu
    assert one.asleep[0] <= one.asleep[1]


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


def state(pid: int) -> bytes:
    return read_file(pid, "stat").rpartition(b")")[2].split()[0]


def check(folder: Path, stopped: float, status: int, stderr: str) -> None:
    """The summary marks the stop, and no interval that ended before it; the accounts hold."""
    ended = read(folder, status, "", stderr)
    ended.check_accounts()
    paused = [sample["paused_seconds"] for sample in ended.summary["samples"]]
    assert paused[0] == 0  # ended before the stop
    assert sum(paused) >= stopped - 0.001 * len(paused)
    assert all(
        each <= sample["seconds"] + 0.001
        for each, sample in zip(paused, ended.summary["samples"], strict=True)
    )
    marked = sum(1 for each in paused if each)
    told = ended.stderr.removeprefix("ocidriver: warning: ").removesuffix("\n")
    form = re.fullmatch(
        rf"the driver itself was stopped for ([\d.]+) s in {marked} of {len(paused)} intervals \(paused_seconds\), "
        "so their rates and latencies are not those of the server; repeat the run",
        told,
    )
    # the summary rounds each interval to a millisecond, and the message has three digits
    assert form is not None
    assert float(form[1]) == pytest.approx(sum(paused), abs=0.001 * len(paused), rel=0.005)
    assert f"warning: {told}" in ended.log
    assert ended.stderr == f"ocidriver: warning: {told}\n"


def test_a_driver_that_is_stopped_marks_its_intervals(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """Its client ends meanwhile. Its pull counts."""
    words = [*between_nobody(client, ["slow/app:1", "gate/app:1"], 60), "--workers=1", "--passes=1"]
    driver = start(tmp_path, *words, environment=temporary)
    wait_for_outcomes(tmp_path, "ok")
    wait_for_launches(client, count=2)
    wait_until(lambda: (tmp_path / "metrics").read_text() != "")
    os.kill(driver.pid, signal.SIGSTOP)
    wait_until(lambda: state(driver.pid) == b"T")
    began = time.monotonic()
    open_gate(client)
    time.sleep(0.6)
    stopped = time.monotonic() - began
    os.kill(driver.pid, signal.SIGCONT)
    ended = finish(driver, tmp_path)
    assert (ended.status, ended.summary["pulled"]) == (0, 2)
    check(tmp_path, stopped, 0, ended.stderr)


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A cgroup that can be frozen."""
    folder = FREEZER / f"ocidriver-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no freezer of cgroup v1 here: {error}")
    yield folder
    wait_until(lambda: (folder / "tasks").read_text() == "")
    folder.rmdir()


def test_a_driver_that_is_frozen_marks_its_intervals(
    freezer: Path, client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """As by `docker pause`, with its clients: no signal shows it."""
    words = [*between_nobody(client, ["slow/app:1", "gate/app:1"], 60), "--workers=1", "--passes=1"]
    driver = start(tmp_path, *words, environment=temporary)
    wait_for_launches(client, count=2)
    wait_until(lambda: (tmp_path / "metrics").read_text() != "")
    for task in Path(f"/proc/{driver.pid}/task").iterdir():
        (freezer / "tasks").write_text(task.name)
    (freezer / "freezer.state").write_text("FROZEN")
    wait_until(lambda: (freezer / "freezer.state").read_text() == "FROZEN\n")
    began = time.monotonic()
    open_gate(client)
    time.sleep(2.5)
    stopped = time.monotonic() - began
    (freezer / "freezer.state").write_text("THAWED")
    ended = finish(driver, tmp_path)
    assert ended.summary["pulled"] == 2
    check(tmp_path, stopped, 0, ended.stderr)


def test_a_run_without_a_stop_marks_nothing(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    words = [*between_nobody(client, ["slow/app:1"], 60), "--workers=1", "--passes=5"]
    ended = finish(start(tmp_path, *words, environment=temporary), tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    assert {sample["paused_seconds"] for sample in ended.summary["samples"]} == {0}

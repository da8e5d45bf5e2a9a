"""Lines of a run: formats, failed writes, files and streams that they share."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import threading
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import asdict

from lib import cli
from lib.clock import Clock
from lib.errors import UsageError
from lib.images import Image
from lib.latency import Latency
from lib.load.closed import Sample
from lib.load.event import PULL, Event
from lib.options.settings import make_settings
from lib.outcomes import FAILED, OK, Failure
from lib.processes.machine import MachineUse
from lib.results.event_line import event_line
from lib.results.line_file import LineFile
from lib.results.output import Log, Outputs, metrics_values
from tests.support.driving import command


class Warnings(list[str]):
    def __call__(self, message: str) -> None:
        self.append(message)


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()


def test_metrics_lines() -> None:
    latency = Latency(count=200, min=1, mean=2, p50=3.04, p90=4, p95=5.06, p99=6, max=7)
    assert metrics_values(Sample(15, 15, 3, 10, 2, latency), "T") == [
        "T",
        "0.666667",
        "3",
        "2",
        "3.0",
        "5.1",
        "6.0",
    ]
    assert metrics_values(Sample(15, 15, 3, 0, 2, None), "T") == ["T", "0.000000", "3", "2", "-", "-", "-"]


def test_a_file_is_replaced_and_its_parents_made(tmp_path: Path, warnings: Warnings) -> None:
    path = tmp_path / "a" / "b" / "metrics"
    for text in ("first run, longer", "second"):
        file = LineFile(path, "metrics", warnings)
        file.empty()
        file.write(text)
        file.close()
    assert path.read_text() == "second\n"
    assert not warnings


def test_metrics_and_log_may_share_a_file(tmp_path: Path, warnings: Warnings) -> None:
    one, other = (LineFile(tmp_path / "both", name, warnings) for name in ("metrics", "log"))
    for number in range(3):
        one.write(f"m{number}")
        other.write(f"l{number}")
    assert (tmp_path / "both").read_text().split() == ["m0", "l0", "m1", "l1", "m2", "l2"]
    one.close()
    other.close()


def test_a_full_disk_is_told_once(warnings: Warnings) -> None:
    file = LineFile("/dev/full", "metrics", warnings)
    file.write("one")
    file.write("two")
    file.close()
    assert warnings == [
        "cannot write the metrics to /dev/full: No space left on device; the test goes on without it"
    ]
    assert file.failed == "No space left on device"


def test_a_stalled_reader_holds_nothing_up(warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.results.line_file._MOST_KEPT", 200_000)
    reader, writer = os.pipe()
    file = LineFile(f"/dev/fd/{writer}", "metrics", warnings)
    os.close(writer)
    for number in range(1000):
        file.write(f"{number:0100d}")
    assert not warnings  # so much is kept for a reader who comes back
    assert int(os.read(reader, 101)) == 0
    for number in range(3000):
        file.write(f"{number:0100d}")
    assert [file.failed] == ["its reader has stalled"]
    assert len(warnings) == 1
    file.close()
    os.close(reader)


def test_a_reader_who_comes_back_misses_nothing(warnings: Warnings) -> None:
    reader, writer = os.pipe()
    file = LineFile(f"/dev/fd/{writer}", "metrics", warnings)
    os.close(writer)
    lines = [f"{number:0100d}" for number in range(2000)]
    for line in lines:
        file.write(line)
    read = bytearray()
    while len(read) < 2000 * 101:
        read += os.read(reader, 4096)
        file.finish(0.0) if len(read) > 150_000 else file.write("")
    assert read.decode().split() == lines
    file.close()
    os.close(reader)


def all_of(reader: int) -> bytes:
    return b"".join(iter(lambda: os.read(reader, 500), b""))


def test_two_threads_write_each_line_once(warnings: Warnings) -> None:
    reader, writer = os.pipe()
    file = LineFile("-", "log", warnings, descriptor=writer)
    read = bytearray()

    def write(name: str) -> None:
        for number in range(3000):
            file.write(f"{name}{number:050d}")

    reading = threading.Thread(target=lambda: read.extend(all_of(reader)))
    writing = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in (reading, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    file.finish(30.0)
    os.close(writer)
    reading.join()
    os.close(reader)
    lines = read.decode().splitlines()
    for name in "abc":
        assert [line for line in lines if line[:1] == name] == [f"{name}{k:050d}" for k in range(3000)]
    assert len(lines) == 9000
    assert not warnings


def test_two_files_on_one_stream_do_not_write_into_each_others_lines(warnings: Warnings) -> None:
    """Metrics and log on a stdout whose reader comes and goes."""
    reader, writer = os.pipe()
    log, metrics = (LineFile("-", name, warnings, descriptor=writer) for name in ("log", "metrics"))
    read = bytearray()
    for number in range(5000):
        log.write(f"log {number:070d}")
        if number % 7 == 0:
            metrics.write(f"metrics {number:030d}")
        if number > 1500:
            read += os.read(reader, 100)
    reading = threading.Thread(target=lambda: read.extend(all_of(reader)))
    reading.start()
    log.finish(30.0)
    metrics.finish(30.0)
    os.close(writer)
    reading.join()
    os.close(reader)
    lines = read.decode().splitlines()
    assert all(re.fullmatch(r"log \d{70}|metrics \d{30}", line) for line in lines)
    assert len(lines) == 5000 + 715


def test_a_file_that_cannot_be_made(tmp_path: Path, warnings: Warnings) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--log-file: cannot write "):
        LineFile(tmp_path / "file" / "log", "log", warnings)


def test_log_lines_are_one_line_without_control_characters(tmp_path: Path, warnings: Warnings) -> None:
    file = LineFile(tmp_path / "log", "log", warnings)
    Log(file, Clock())("a\x1b[31m\nb\tc")
    file.close()
    text = (tmp_path / "log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t[^\x00-\x1f]*\n", text)


def test_event_lines() -> None:
    failure = Failure("timeout", 'a "quoted" word')
    event = Event(PULL, 1, 2, Image("app", "v1"), FAILED, 0.0, 1.25, True, 2, failure, 0.1)
    line = json.loads(event_line(event, Clock()))
    assert re.match(r"\d{4}-\d\d-\d\dT.*[+-]\d\d:\d\d$", line.pop("time"))
    assert line == {
        "op": "pull",
        "worker": 1,
        "pass": 2,
        "image": "app:v1",
        "outcome": "failed",
        "class": "timeout",
        "seconds": 1.25,
        "first": True,
        "retries": 2,
        "message": 'a "quoted" word',
    }
    good = json.loads(event_line(Event(PULL, 0, 1, Image("app", "v1"), OK, 0.0, 1.0), Clock()))
    assert (good["class"], good["message"]) == (None, None)


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_a_file_as_stdout_takes_everything(tmp_path: Path, name: str) -> None:
    """Lines that were there before, metrics, log and events, and the summary at their end."""
    listed, out = tmp_path / "images", tmp_path / "out"
    listed.write_text("a/b:v1\n")
    words = [
        "--pullthrough-url=a",
        "--registry-url=b",
        "--patterns=.",
        "--passes=20",
        "--dry-run",
    ]
    words += [
        f"--image-list={listed}",
        f"--metrics-file={name}",
        f"--summary-file={name}",
        "--tally-seconds=0.02",
    ]
    with out.open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run(command(*words, f"--events-file={name}"), stdout=file, check=True, timeout=100)
        file.write("after\n")
    text = out.read_text()
    assert text.startswith("before\n")
    assert text.endswith("}\nafter\n")
    summary = json.loads(text[text.index("\n{\n") : -len("after\n")])
    lines = text[: text.index("\n{\n")].splitlines()
    assert sum("test begins" in line for line in lines) == 1
    assert sum(line.count("\t") == 6 for line in lines) == len(summary["samples"]) > 4
    assert sum(line.startswith("{") for line in lines) == summary["pulled"] == 20


@pytest.mark.parametrize(("name", "between"), [("tsv", "\t"), ("csv", ",")])
def test_metrics_as_columns(tmp_path: Path, name: str, between: str) -> None:
    """csv has a header and empty cells, so that readers need no arguments; tsv is as Ociregistry's driver writes it."""
    words = ["--pullthrough-url=a", "--registry-url=b", "--patterns=x", f"--metrics-format={name}"]
    words += [f"--metrics-file={tmp_path}/metrics", f"--log-file={os.devnull}"]
    outputs = Outputs(make_settings(cli._command().make_context("ocidriver", words).params), Clock())
    latency = Latency(count=60, min=1, mean=2, p50=3.04, p90=4, p95=5.06, p99=None, max=7)
    outputs.on_sample(Sample(15, 15, 3, 10, 2, latency))
    outputs.on_sample(Sample(30, 15, 3, 0, 0, None))
    outputs.close()
    rows = list(csv.reader((tmp_path / "metrics").read_text().splitlines(), delimiter=between))
    if name == "csv":
        assert rows.pop(0) == ["time", "rate", "workers", "failed", "p50_ms", "p95_ms", "p99_ms"]
    none = "" if name == "csv" else "-"
    assert [row[1:] for row in rows] == [
        ["0.666667", "3", "2", "3.0", "5.1", none], ["0.000000", "3", "0", none, none, none],
    ]  # fmt: skip
    assert all(datetime.fromisoformat(row[0]) for row in rows)


@pytest.mark.parametrize(
    "latency", [Latency(count=200, min=1, mean=2, p50=3.04, p90=4, p95=5.06, p99=6, max=7), None]
)
def test_metrics_as_json_lines(tmp_path: Path, latency: Latency | None) -> None:
    words = ["--pullthrough-url=a", "--registry-url=b", "--patterns=x", "--metrics-format=jsonl"]
    words += [f"--metrics-file={tmp_path}/metrics", f"--log-file={os.devnull}"]
    outputs = Outputs(make_settings(cli._command().make_context("ocidriver", words).params), Clock())
    for _ in range(2):
        outputs.on_sample(
            Sample(15, 15, 3, 10, 2, latency, 0.5, 28.0, 2.0, MachineUse(0.05, 0.0, 0.5), {"dns": 2}, 4)
        )
    outputs.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
        assert line.pop("latency_ms") == (asdict(latency) if latency else None)
        assert line == {
            "seconds": 15, "rate": pytest.approx(2 / 3), "workers": 3, "pulled": 10, "failed": 2,
            "errors": {"dns": 2}, "retried": 4,
            "driver_cpu_seconds": 0.5, "client_cpu_seconds": 28.0, "paused_seconds": 0.0, "limited_by": "client",
            "machine": {"idle": 0.05, "steal": 0.0, "pressure": 0.5, "throttled": None},
        }  # fmt: skip
    assert len(lines) == 2

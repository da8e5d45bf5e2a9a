"""What a run on several hosts shows: metrics lines, plain lines, metrics for Prometheus, the end, and the report."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from lib.results.summary_file import read_summary, summary_text
from tests.doubles.fake_crane import install, open_gate
from tests.results.test_prometheus import scraped, total
from tests.results.test_schema import validator
from tests.support.browser import charts_in, own
from tests.support.driving import between_nobody, command, drive, wait_for_log
from tests.support.waiting import SECONDS, wait_until

pytest.importorskip("distributed")
IMAGES = (*(f"ok/app-{number}:1" for number in range(6)), "refused/app:1", "retry/app:1")
LOCAL = ("--hosts=local:2", "--workers=4")


def test_all_views_say_what_the_summary_says(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    ended = drive(
        tmp_path, *between_nobody(install(tmp_path / "bin"), IMAGES, None), *LOCAL, "--duration=2",
        "--tally-seconds=0.5", "--metrics-format=jsonl", f"--report-file={report}", "--progress=always",
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    summary, text = ended.summary, (tmp_path / "summary.json").read_text()
    validator("summary.schema.json").validate(summary)
    assert summary_text(read_summary(tmp_path / "summary.json")) == text
    assert summary["complete"] is True
    events = validator("events.schema.json")
    for event in ended.events:
        events.validate(event)
    assert {event["host"] for event in ended.events} == {"local-1", "local-2"}
    samples, hosts = summary["samples"], summary["hosts"]
    assert [sample["hosts"] for sample in samples] == [2] * len(samples)
    assert [step["hosts"] for step in summary["steps"]] == [2]
    for host in hosts:
        assert host["address"].startswith("tcp://127.0.0.1:")
        assert {"clock_error_ms", "start_error_ms"} <= set(host)
    for place, sample in enumerate(samples):
        rates = [host["rates"][place] for host in hosts]
        assert sum(rates) * sample["seconds"] == pytest.approx(sample["pulled"], abs=0.01)
    lines = [json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines()]
    assert lines[: len(samples)] == samples
    plain = [line for line in ended.stderr.splitlines() if ", workers " in line]
    assert len(plain) == len(lines)
    assert ended.end[0].startswith("tested     127.0.0.1:1 with crane ")
    assert " on 2 hosts, constant load of 4 workers for 2s, " in ended.end[0]
    page = report.read_text()
    assert "host-rates" in charts_in(page)
    assert {"local-1", "local-2"} <= set(re.findall(r">(local-\d)<", own(page)))


def test_prometheus_ends_with_the_counts_of_the_summary(tmp_path: Path) -> None:
    """The summary goes into a pipe, so that the end of the run waits for the last scrape."""
    client, pipe = install(tmp_path / "bin"), tmp_path / "pipe"
    os.mkfifo(pipe)
    words = command(
        *between_nobody(client, (*IMAGES, "gate/app:1", "gate/app:2"), None), *LOCAL, "--passes=2",
        "--metrics-listen=127.0.0.1:0", f"--log-file={tmp_path}/log", f"--summary-file={pipe}",
        f"--metrics-file={tmp_path}/metrics",
    )  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        told = wait_for_log(tmp_path, "metrics for Prometheus at http://")
        (address,) = re.findall(r"metrics for Prometheus at http://(127\.0\.0\.1:\d+)/metrics", told)
        wait_until(lambda: total(scraped(address), "ocidriver_hosts", state="running") == 2)
        open_gate(client)
        wait_for_log(tmp_path, "\ttest ends: ")
        last = scraped(address)
        summary = json.loads(pipe.read_text())
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, err) == (0, ""), out
    assert total(last, "ocidriver_hosts") == total(last, "ocidriver_hosts", state="ended") == 2
    for host in summary["hosts"]:
        of_host = {"host": host["name"]}
        assert total(last, "ocidriver_host_pulls_total", outcome="ok", **of_host) == host["pulled"]
        assert total(last, "ocidriver_host_pulls_total", outcome="failed", **of_host) == host["failed"]
        assert total(last, "ocidriver_host_last_piece_seconds", **of_host) >= 0
    for index, worker in enumerate(summary["workers"]):
        labels = {"worker": str(index), "pattern": worker["pattern"]}
        assert total(last, "ocidriver_pulls_total", outcome="ok", **labels) == worker["pulled"]
    assert total(last, "ocidriver_pull_duration_seconds_count") == summary["latency_ms"]["count"]
    assert total(last, "ocidriver_build_info", client="crane") == 1

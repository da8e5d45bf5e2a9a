"""`ocidriver capacity` as a user types it, with real and fake clients.

What it finds depends on the machine. So the tests ask for what holds on every machine: accounts, files, exit statuses,
and that nothing is left behind.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from lib.capacity.page import page
from lib.capacity.result import Capacity
from lib.options.definitions import OPTIONS
from tests.doubles.fake_crane import install, wait_for_launches
from tests.support.browser import check_that_it_asks_nobody
from tests.support.driving import between_nobody, left_running
from tests.support.paths import ROOT, SCRIPT
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS

SCHEMA = ROOT / "docs" / "schema" / "capacity.schema.json"
TRIAL = "--trial=2s"


def begin(*options: object, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    words = [sys.executable, str(SCRIPT), "capacity", *map(str, options)]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def search(*options: object) -> tuple[int, list[str], str]:
    """The exit status, the lines of stdout, and stderr."""
    running = begin(*options)
    out, err = running.communicate(timeout=2 * SECONDS)
    return running.returncode, out.splitlines(), err


def between(client: Path, *images: str) -> list[str]:
    return [*between_nobody(client, images, None), TRIAL, "--workers=4", "--deal=all"]


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    return found


def check(found: dict[str, Any], status: int, lines: Sequence[str]) -> None:
    """The result agrees with itself, with the lines and with the exit status."""
    trials = found["trials"]
    assert len([line for line in lines if line.startswith("trial ")]) == len(trials)
    assert status == (0 if found["held"] else 3)
    rates = [each["rate"] for each in trials]
    if found["held"] is not None:
        assert found["held"]["rate"] in rates
    if found["failed_at"] is not None:
        assert found["failed_at"]["rate"] in rates
        assert found["held"] is None or found["held"]["rate"] < found["failed_at"]["rate"]
    for each in trials:
        assert each["failed"] == sum(each["errors"].values())
        assert each["latency_ms"] is None or each["latency_ms"]["count"] <= each["pulled"]
        assert 0 < each["seconds"] <= 2


def test_with_crane_up_to_the_highest_rate(tmp_path: Path, upstream: Upstream, crane: str) -> None:
    files = [tmp_path / name for name in ("summary.json", "page.html", "events", "metrics", "log")]
    status, lines, err = search(
        f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}", "--layout=direct",
        f"--client={crane}", "--slo=error_rate<50%", "--slo=p50<60s", "--from=2", "--max-rate=4", TRIAL, "--within=80%",
        *(f"--{option}-file={path}" for option, path in zip(
            ("summary", "report", "events", "metrics", "log"), files, strict=True)),
    )  # fmt: skip
    found = written(files[0])
    check(found, status, lines)
    assert err == ""
    assert [each["rate"] for each in found["trials"]][:1] == [2.0]
    assert found["client"]["name"] == "crane"
    assert found["slos"] == ["error_rate<50%", "p50<60s"]
    # what is judged is a part of what was pulled
    events = [json.loads(line) for line in files[2].read_text().splitlines()]
    judged = sum(each["pulled"] + each["failed"] for each in found["trials"])
    assert 0 < judged <= len([event for event in events if event["op"] == "pull"])
    assert sum(int(float(line.split("\t")[1]) > 0) for line in files[3].read_text().splitlines()) > 0
    assert "trial at 2 pulls/s on a schedule" in files[4].read_text()
    check_that_it_asks_nobody(files[1].read_text())
    assert page(msgspec.convert(found, Capacity)) == files[1].read_text()
    stopped = msgspec.convert(
        {**found, "trials": [], "held": None, "reason": "interrupted by SIGINT"}, Capacity
    )
    assert 'class="verdict"' not in page(stopped)
    assert "interrupted by SIGINT" in page(stopped)


def test_a_first_rate_at_which_half_of_the_pulls_fail(tmp_path: Path) -> None:
    client = install(tmp_path / "bin")
    summary = tmp_path / "summary.json"
    status, lines, _ = search(
        *between(client, "ok/app-0:v1", "refused/app-1:v1"),
        "--slo=error_rate<5%", "--from=30", f"--summary-file={summary}",
    )  # fmt: skip
    found = written(summary)
    check(found, status, lines)
    assert (status, found["held"]) == (3, None)
    assert re.match(r"trial 1: 30 pulls/s for [\d.]+s: ", lines[0])
    assert found["trials"][0]["errors"].keys() == {"refused"}


def test_failures_count_in_batches_too(tmp_path: Path) -> None:
    """The images of a batch that failed are pulled again one by one: their last outcome counts."""
    client = install(tmp_path / "bin")
    summary = tmp_path / "summary.json"
    status, lines, _ = search(
        *between(client, "ok/app-0:v1", "refused/app-1:v1"),
        "--slo=failed>=0", "--from=300", "--max-rate=300", "--batch=4", f"--summary-file={summary}",
        f"--events-file={tmp_path / 'events'}",
    )  # fmt: skip
    found = written(summary)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert any(event["repulled"] for event in events)
    (trial,) = found["trials"]
    judged = {outcome: sum(event["outcome"] == outcome for event in events) for outcome in ("ok", "failed")}
    # each launch pulls as many images that fail as images that do not; a part of them is not judged
    for name, outcome in (("pulled", "ok"), ("failed", "failed")):
        assert judged[outcome] / 2 < trial[name] <= judged[outcome]
    assert status in (0, 3)
    assert lines


def test_if_no_pull_ever_succeeds_it_is_exit_1(tmp_path: Path) -> None:
    client = install(tmp_path / "bin")
    words = [word for word in between(client, "refused/app-0:v1") if word != "--keep-going"]
    status, lines, err = search(*words, "--slo=p95<1s", "--from=50")
    assert (status, lines) == (1, [])
    (line,) = err.splitlines()
    assert line.startswith("ocidriver: the server under test does not answer")
    status, lines, err = search(*words, "--slo=p95<1s", "--from=50", "--dry-run", "--max-rate=50")
    assert status in (0, 3)
    assert lines[-1].startswith("This was a dry run. It pulled nothing")


def test_a_hopeless_beginning_is_exit_1_too(tmp_path: Path, upstream: Upstream, crane: str) -> None:
    listed, summary = tmp_path / "list", tmp_path / "summary.json"
    listed.write_text("no/such:image\n")
    status, lines, err = search(
        f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}", "--layout=direct",
        f"--client={crane}", f"--image-list={listed}", "--slo=p95<60s", "--from=10", "--trial=60s",
        f"--summary-file={summary}",
    )  # fmt: skip
    assert (status, lines) == (1, [])
    assert err.startswith("ocidriver: none of the first 10 pulls succeeded: not-found: ")
    assert written(summary)["reason"].startswith("none of the first 10 pulls succeeded")


def test_a_search_outlives_the_reader_of_its_lines(tmp_path: Path) -> None:
    client, summary = install(tmp_path / "bin"), tmp_path / "summary.json"
    words = (
        *between(client, "ok/app-0:v1"),
        "--slo=p50<60s",
        "--from=2",
        "--max-rate=4",
        f"--summary-file={summary}",
    )
    running = begin(*words)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    _, err = running.communicate(timeout=2 * SECONDS)
    assert running.returncode == 1
    assert err == "ocidriver: not all output was written (trials: Broken pipe)\n"
    assert written(summary)["limit"] == "max-rate"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_tells_what_is_known_and_leaves_nothing(
    tmp_path: Path, temporary: dict[str, str], number: signal.Signals
) -> None:
    client = install(tmp_path / "bin")
    summary = tmp_path / "summary.json"
    running = begin(
        *between(client, "stubborn/app-0:v1"), "--slo=p95<1s", f"--summary-file={summary}", "--grace=0.1",
        environment={**os.environ, **temporary},
    )  # fmt: skip
    wait_for_launches(client, count=1)
    running.send_signal(number)
    out, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 128 + number
    found = written(summary)
    assert (found["interrupted"], found["held"], found["limit"], found["trials"]) == (True, None, None, [])
    assert out.splitlines() == [
        "The search ended during its first trial, so it has no result for the server."
    ]
    assert left_running(Path(temporary["TMPDIR"])) == []
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--rate=5", "capacity does not take --rate: the search chooses the rate of each trial"),
        ("--stage=1s:2", "capacity does not take --stage"),
        ("--passes=3", "capacity does not take --passes"),
        ("--herd", "capacity does not take --herd"),
        (
            "--pieces-file=p",
            "capacity does not take --pieces-file: it records one load, and a search has many",
        ),
        ("--threshold=p95<1s", "capacity does not take --threshold: give --slo"),
        ("--slo=peak.rate>5", "--slo: a trial has no peak.rate"),
        ("--slo=p95<5", "--slo: 'p95<5' needs 'ms' or 's' after the number"),
        ("--within=0", "Invalid value for '--within': '0' is out of range"),
        ("--within=x", "Invalid value for '--within': 'x' is not a percentage"),
        ("--from=0", "Invalid value for '--from'"),
        ("--prune", "capacity: --prune needs --workers or --patterns; give one of them"),
        ("--max-time=29s", "--max-time is shorter than one trial (--trial)"),
    ],
)
def test_wrong_usage_is_one_line(option: str, says: str) -> None:
    status, lines, err = search("--pullthrough-url=a:1", "--registry-url=b:2", "--slo=p95<1s", option)
    assert (status, lines) == (2, [])
    (line,) = err.splitlines()
    assert line.startswith(f"ocidriver: {says}")


def test_an_slo_is_required() -> None:
    status, _, err = search("--pullthrough-url=a:1", "--registry-url=b:2")
    assert status == 2
    assert "Missing option '--slo'" in err


def test_every_option_of_the_load_test_is_taken_or_refused_with_a_reason() -> None:
    from lib.capacity.options import PARAMETERS

    own = {name for parameter in PARAMETERS for name in parameter.opts}
    assert {name for option in OPTIONS for name in option.opts} <= own

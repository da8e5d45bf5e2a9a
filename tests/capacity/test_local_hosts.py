"""`ocidriver capacity --hosts local:2` as a user types it: real hosts, real clients, and nothing that is left behind.

What it finds depends on the machine. So the tests ask for what holds on every machine.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from lib.lab.servers import lab_cache
from tests.capacity.test_command import TRIAL, begin, between, check, search, written
from tests.doubles.fake_crane import install, wait_for_launches
from tests.support.asking import get
from tests.support.driving import left_running
from tests.support.processes import descendants, read_file
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

HOSTS = "--hosts=local:2"


def test_what_is_judged_is_what_the_cache_served(tmp_path: Path, upstream: Upstream, crane: str) -> None:
    summary, events = tmp_path / "summary.json", tmp_path / "events"
    with lab_cache(upstream.address) as cache:
        status, lines, err = search(
            f"--pullthrough-url={cache.url}", f"--registry-url={upstream.url}", f"--client={crane}", HOSTS,
            "--workers=4", "--prune", "--slo=error_rate<50%", "--slo=p50<60s", "--from=2", "--max-rate=4", TRIAL,
            f"--summary-file={summary}", f"--events-file={events}", f"--report-file={tmp_path / 'page.html'}",
        )  # fmt: skip
        counters = get(cache.address, "/metrics").decode()
    found = written(summary)
    check(found, status, lines)
    assert err == ""
    assert found["hosts"] == ["local-1", "local-2"]
    assert found["client"]["name"] == "crane"
    told = [json.loads(line) for line in events.read_text().splitlines()]
    pulled = [each for each in told if (each["op"], each["outcome"]) == ("pull", "ok")]
    assert f"\nlab_pulls_total {len(pulled)}\n" in counters
    assert {each["host"] for each in told} == {"local-1", "local-2"}
    judged = sum(each["pulled"] + each["failed"] for each in found["trials"])
    assert 0 < judged <= len([each for each in told if each["op"] == "pull"])
    # each trial begins cold, and has fewer pulls than there are images
    assert all(each["first"] == each["pulled"] for each in found["trials"])
    assert [each["op"] for each in told].count("prune") >= len(found["trials"]) * len(upstream.images)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing_on_the_hosts(
    tmp_path: Path, temporary: dict[str, str], number: signal.Signals
) -> None:
    client, summary = install(tmp_path / "bin"), tmp_path / "summary.json"
    running = begin(
        *between(client, "stubborn/app-0:v1"), HOSTS, "--slo=p95<1s", "--grace=0.1", f"--summary-file={summary}",
        environment={**os.environ, **temporary},
    )  # fmt: skip
    wait_for_launches(client, count=1)
    running.send_signal(number)
    out, err = running.communicate(timeout=2 * SECONDS)
    assert running.returncode == 128 + number, err
    found = written(summary)
    assert (found["interrupted"], found["held"], found["trials"]) == (True, None, [])
    assert out.splitlines() == [
        "The search ended during its first trial, so it has no result for the server."
    ]
    assert left_running(Path(temporary["TMPDIR"])) == []
    assert list(Path(temporary["TMPDIR"]).iterdir()) == []
    assert "Traceback" not in out + err


def test_a_host_process_that_is_killed_ends_the_search(tmp_path: Path, temporary: dict[str, str]) -> None:
    client, summary = install(tmp_path / "bin"), tmp_path / "summary.json"
    running = begin(
        *between(client, "stubborn/app-0:v1"), HOSTS, "--slo=p95<1s", "--grace=0.1", "--trial=300s",
        f"--summary-file={summary}", environment={**os.environ, **temporary},
    )  # fmt: skip
    wait_for_launches(client, count=1)
    killed = next(
        pid for pid in sorted(descendants(running.pid)) if b".host_process\0" in read_file(pid, "cmdline")
    )
    os.kill(killed, signal.SIGKILL)
    out, err = running.communicate(timeout=2 * SECONDS)
    assert running.returncode == 1
    found = written(summary)
    assert "lost at " in found["reason"]
    assert found["reason"].endswith("; a search needs all of its hosts, so repeat it")
    assert (found["trials"], out) == ([], "")
    assert found["reason"] in err
    wait_until(lambda: left_running(Path(temporary["TMPDIR"])) == [])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lost-hosts=1", HOSTS], "capacity does not take --lost-hosts: a search needs all of its hosts"),
        (["--min-hosts=3", HOSTS], "--hosts local:2 has fewer hosts than --min-hosts 3"),
        (["--min-hosts=3"], "--min-hosts needs --hosts"),
        (["--hosts=up.local:8786"], "--hosts: 'up.local:8786' is not the address of a Dask scheduler"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(words: list[str], says: str) -> None:
    status, lines, err = search("--pullthrough-url=a:1", "--registry-url=b:2", "--slo=p95<1s", *words)
    assert (status, lines) == (2, [])
    (line,) = err.splitlines()
    assert line.startswith(f"ocidriver: {says}")

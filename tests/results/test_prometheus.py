"""The metrics endpoint: what it tells, to whom, and that it tells what the summary does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lib import cli
from lib.errors import RunError, UsageError
from lib.http.address import Listen, parse_listen
from lib.http.network import Network
from lib.images import Image, ImageSet
from lib.load.curve import Curve, Rate
from lib.load.driver import Driver
from lib.load.event import PRUNE, PULL, Event
from lib.load.latency import BOUNDS
from lib.load.pace import Schedule
from lib.load.tally import Tally
from lib.options.settings import make_settings
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.processes.signals import Stop
from lib.results.host_line import HostLine
from lib.results.prometheus import Exporter, RunCollector, _accepted_hosts
from lib.results.run_state import Run
from tests.doubles.fake_crane import install, launches, open_gate, wait_for_launches
from tests.support.asking import Answer, ask, get
from tests.support.driving import between_nobody, command, wait_for_log
from tests.support.paths import ROOT

DASHBOARD = ROOT / "contrib" / "grafana" / "ocidriver.json"
IMAGE = Image("app", "v1")
# By sample name and labels.
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """As Prometheus' own parser reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(
        value for (each, has), value in found.items() if each == name and labels.items() <= dict(has).items()
    )


def event(op: str, worker: int, outcome: str, seconds: float = 0.1, *, first: bool = False) -> Event:
    failure = Failure("timeout", "too slow") if outcome == FAILED else None
    return Event(op, worker, 1, IMAGE, outcome, 0.0, seconds, first, 0, failure, 0.25)


def a_run(*patterns: str) -> Run:
    words = ["--pullthrough-url=a", "--registry-url=b", "--patterns=x", "--dry-run"]
    settings = make_settings(cli._command().make_context("ocidriver", words).params)
    tally = Tally(len(patterns), retries_known=True, on_sample=lambda _: None)
    sets = tuple(ImageSet(pattern, (IMAGE,)) for pattern in patterns)
    return Run(settings, datetime.now(timezone.utc), tally, image_sets=sets)


def shown(run: Run) -> str:
    registry = CollectorRegistry()
    registry.register(RunCollector(run))
    return generate_latest(registry).decode()


def test_hosts_have_metrics_of_their_own() -> None:
    run = a_run("x")
    assert "ocidriver_host" not in shown(run)
    now = time.monotonic()
    run.hosts = [
        HostLine(name="a", state="running", pulled=7, failed=2, interrupted=1, last_piece=now - 5.0),
        HostLine(name='b"\n', state="lost", pulled=3),
    ]
    run.tally.elsewhere_cpu_seconds = 1e6
    found = samples(shown(run))
    assert total(found, "ocidriver_hosts") == 2
    assert (
        total(found, "ocidriver_hosts", state="running") == total(found, "ocidriver_hosts", state="lost") == 1
    )
    for outcome, count in ((OK, 7), (FAILED, 2), (INTERRUPTED, 1)):
        assert total(found, "ocidriver_host_pulls_total", host="a", outcome=outcome) == count
    assert total(found, "ocidriver_host_pulls_total", host='b"\n') == 3
    ages = {
        dict(labels)["host"]: age for (name, labels), age in found.items() if name.endswith("piece_seconds")
    }
    assert list(ages) == ["a"]
    assert ages["a"] >= 5.0
    assert total(found, "ocidriver_driver_cpu_seconds_total") > 1e6


def test_counts_by_worker_pattern_and_outcome() -> None:
    run = a_run("-0001", 'a"b\\c\n')
    for each in (
        event(PULL, 0, OK), event(PULL, 1, OK), event(PULL, 1, OK), event(PULL, 1, FAILED), event(PULL, 0, INTERRUPTED),
        event(PRUNE, 0, OK), event(PRUNE, 1, FAILED), event(PRUNE, 1, INTERRUPTED),
    ):  # fmt: skip
        run.own_tally.add(each)
    found = samples(shown(run))
    for name, by_worker in (
        ("ocidriver_pulls_total", [(1, 0, 1), (2, 1, 0)]),
        ("ocidriver_prunes_total", [(1, 0, 0), (0, 1, 1)]),
    ):
        for worker, counts in enumerate(by_worker):
            labels = {"worker": str(worker), "pattern": run.image_sets[worker].pattern}
            for outcome, count in zip((OK, FAILED, INTERRUPTED), counts, strict=True):
                assert found[name, frozenset({**labels, "outcome": outcome}.items())] == count
    assert total(found, "ocidriver_errors_total", **{"class": "timeout"}) == 1
    assert total(found, "ocidriver_errors_total") == total(found, "ocidriver_prune_errors_total") == 1
    assert total(found, "ocidriver_client_cpu_seconds_total") == 2.0
    assert total(found, "ocidriver_driver_cpu_seconds_total") > 0
    assert total(found, "ocidriver_build_info", client="") == 1


def test_bytes_are_there_as_long_as_they_are_known() -> None:
    run = a_run("x")
    assert "ocidriver_pulled_bytes" not in shown(run)
    run.tally.sized = True
    for size in (1000, 200):
        run.own_tally.add(event(PULL, 0, OK)._replace(size=size))
    assert total(samples(shown(run)), "ocidriver_pulled_bytes_total") == 1200
    run.own_tally.add(event(PULL, 0, OK))
    assert "ocidriver_pulled_bytes" not in shown(run)


def test_images_that_were_pulled_again_are_counted() -> None:
    run = a_run("x")
    for repulled in (True, False, True):
        run.own_tally.add(event(PULL, 0, OK)._replace(repulled=repulled))
    found = samples(shown(run))
    assert total(found, "ocidriver_repulls_total") == 2
    # the closed model owes nobody a pull
    assert not [name for name, _ in found if "late" in name or "unstarted" in name]


def test_what_a_schedule_is_late_with_is_told() -> None:
    run = a_run("x")
    run.tally.schedule = Schedule(Curve(((Rate(10.0, 10.0), 100.0),)))
    found = samples(shown(run))
    assert total(found, "ocidriver_late_pulls_total") == total(found, "ocidriver_unstarted_pulls") == 0
    run.own_tally.add(event(PULL, 0, OK)._replace(late="machine"))
    run.tally.schedule.taken = 1
    run.driver = cast(Driver, SimpleNamespace(running=1, planned=1, second=2.0))
    found = samples(shown(run))
    assert total(found, "ocidriver_late_pulls_total") == 1
    assert total(found, "ocidriver_unstarted_pulls") == 20  # 21 were due by then


def test_the_histogram_has_cumulative_buckets_whose_bounds_are_inclusive() -> None:
    run = a_run("x")
    for seconds, first in ((BOUNDS[0], True), (0.1, False), (0.1001, False), (1e6, False)):
        run.own_tally.add(event(PULL, 0, OK, seconds, first=first))
    found = samples(shown(run))
    name = "ocidriver_pull_duration_seconds"
    repeat = {bound: total(found, f"{name}_bucket", kind="repeat", le=str(bound)) for bound in BOUNDS}
    assert (repeat[0.075], repeat[0.1], repeat[0.15], repeat[BOUNDS[-1]]) == (0, 1, 2, 2)
    assert (
        total(found, f"{name}_bucket", kind="repeat", le="+Inf")
        == total(found, f"{name}_count", kind="repeat")
        == 3
    )
    assert total(found, f"{name}_sum", kind="repeat") == pytest.approx(1e6 + 0.2001)
    assert total(found, f"{name}_bucket", kind="first", le=str(BOUNDS[0])) == 1
    assert total(found, f"{name}_count", kind="first") == 1


def test_before_the_workers_are_known_it_can_be_asked() -> None:
    run = a_run()
    found = samples(shown(run))
    assert total(found, "ocidriver_workers_running") == total(found, "ocidriver_pulls_total") == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", "127.0.0.1:9100"),
        (":9100", "127.0.0.1:9100"),
        ("localhost:0", "127.0.0.1:0"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::1]:9100", "[::1]:9100"),
        ("host-1.example:65535", "host-1.example:65535"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert str(parse_listen("--metrics-listen", text)) == address


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":65536", "::1", "::1:9100", ":-1", "a b:1", "http://a:1", ":٣"]
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(UsageError, match="--metrics-listen: "):
        parse_listen("--metrics-listen", text)


@pytest.fixture
def address(network: Network) -> Iterator[str]:
    exporter = Exporter(Listen("127.0.0.1", 0), RunCollector(a_run("x")))
    (url,) = network.run(exporter.start())
    yield url.split("/")[2]
    network.run(exporter.close())


def scrape(address: str, method: str = "GET", path: str = "/metrics", **headers: str) -> Answer:
    return ask(address, method, path, headers=headers)


def test_get_and_head(address: str) -> None:
    answer = scrape(address)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert total(samples(answer.text), "ocidriver_build_info") == 1
    head = scrape(address, "HEAD")
    assert (head.status, head.text) == (200, "")
    accept = "application/openmetrics-text; version=nonsense"
    assert scrape(address, path="/metrics?name[]=x", Accept=accept).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/metrics", 405),
        ("PUT", "/metrics", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/metrics", 405),
        ("TRACE", "/metrics", 405),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metrics/../etc/passwd", 404),
        ("GET", "//evil.example/metrics", 404),
        ("POST", "/", 404),
    ],
)
def test_nothing_else_is_answered(address: str, method: str, path: str, status: int) -> None:
    assert scrape(address, method, path).status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9100", 200), ("LOCALHOST", 200), ("127.0.0.1", 200), ("[::1]:9100", 200),
        ("evil.example", 421), ("evil.example:9100", 421), ("127.0.0.1.evil.example", 421), ("[::2]", 421), ("", 421),
    ],
)  # fmt: skip
def test_other_hosts_names_are_refused(address: str, host: str, status: int) -> None:
    assert scrape(address, Host=host).status == status


def test_an_absolute_target_is_not_fetched(address: str) -> None:
    """A proxy's form of a request gets nothing from the host it names."""
    assert scrape(address, path="http://evil.example/metrics", Host="evil.example").status == 400
    assert scrape(address, path="http://evil.example/other").status == 400
    assert scrape(address, "CONNECT", "evil.example:443", Host="evil.example:443").status == 400


@pytest.mark.parametrize(
    ("bound", "written", "accepted"),
    [
        (["127.0.0.1"], "127.0.0.1", {"localhost", "127.0.0.1", "::1"}),
        (["127.0.1.1"], "Box", {"localhost", "127.0.0.1", "::1", "127.0.1.1", "box"}),
        (["0.0.0.0"], "0.0.0.0", None),
        (["::1", "fe80::1%eth0"], "box", None),
    ],
)
def test_hosts_are_checked_on_loopback_only(
    bound: list[str], written: str, accepted: set[str] | None
) -> None:
    assert _accepted_hosts(bound, written) == accepted


@pytest.mark.parametrize(("host", "reason"), [("192.0.2.1", "Cannot assign"), ("no-such-host.invalid", "")])
def test_an_address_that_is_not_this_machines(host: str, reason: str) -> None:
    with Network(Stop()) as network, pytest.raises(RunError, match=f"cannot listen on {host}:9: .*{reason}"):
        network.run(Exporter(Listen(host, 9), RunCollector(a_run())).start())


def test_the_end_does_not_wait_for_a_client_that_asks_no_more() -> None:
    with Network(Stop()) as network:
        exporter = Exporter(Listen("127.0.0.1", 0), RunCollector(a_run("x")))
        (url,) = network.run(exporter.start())
        host, port = url.split("/")[2].split(":")
        with (
            socket.create_connection((host, int(port))) as idle,
            socket.create_connection((host, int(port))) as half,
        ):
            half.sendall(b"GET /metrics HT")
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(12) == b"HTTP/1.1 200"
            began = time.monotonic()
            network.run(exporter.close())
            assert time.monotonic() - began < 50  # aiohttp's own patience is a minute


def options(client: Path, *images: str, patterns: str) -> list[str]:
    return [*between_nobody(client, images, 0.5), f"--patterns={patterns}", "--metrics-file=/dev/null"]


def test_a_port_that_is_taken_ends_the_run_before_any_load(tmp_path: Path) -> None:
    client = install(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"--metrics-listen=:{other.getsockname()[1]}"
        words = command(*options(client, "ok/app:1", patterns="app"), "--log-file=/dev/null", listen)
        done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Address already in use; use another port" in done.stderr
    assert launches(client) == []


def scraped(address: str) -> Samples:
    return samples(get(address, "/metrics").decode())


def test_scraped_in_a_run_it_ends_with_the_summarys_counts(tmp_path: Path) -> None:
    """The summary goes into a pipe, so that the run's end waits for the last scrape."""
    client, log, pipe = install(tmp_path), tmp_path / "log", tmp_path / "summary"
    os.mkfifo(pipe)
    images = ("ok/app-0:1", "ok/app-1:1", "refused/app-1:1", "flood/app-0:1", "gate/app-0:2", "gate/app-1:2")
    words = command(
        *options(client, *images, patterns="app-0,app-1"), "--passes=1", "--metrics-listen=:0",
        f"--log-file={log}", f"--summary-file={pipe}",
    )  # fmt: skip
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        told = wait_for_log(tmp_path, "metrics for Prometheus at http://")
        (address,) = re.findall(r"metrics for Prometheus at http://(127\.0\.0\.1:\d+)/metrics", told)
        wait_for_log(tmp_path, "start worker 1 ")
        seen = [scraped(address)]
        wait_for_launches(client, count=len(images))
        seen += [scraped(address) for _ in range(3)]
        open_gate(client)
        wait_for_log(tmp_path, "\ttest ends: ")
        last = scraped(address)
        summary = json.loads(pipe.read_text())
        assert (running.wait(timeout=100), running.stderr.read() if running.stderr else None) == (0, "")
    check(last, summary)
    assert max(total(each, "ocidriver_workers_running") for each in seen) == 2
    assert {total(each, "ocidriver_workers_planned") for each in seen} == {2}
    assert total(last, "ocidriver_workers_running") == total(last, "ocidriver_workers_planned") == 0
    assert total(last, "ocidriver_build_info", client="crane", client_version="0.0.1") == 1
    pulled = [total(each, "ocidriver_pulls_total", outcome="ok") for each in [*seen, last]]
    assert pulled == sorted(pulled)
    assert pulled[0] < pulled[-1]
    with pytest.raises(OSError, match="refused"):
        scrape(address)


def check(last: Samples, summary: dict[str, Any]) -> None:
    """Every count that both have."""
    for outcome, count in (("ok", "pulled"), ("failed", "failed"), ("interrupted", "interrupted_pulls")):
        assert total(last, "ocidriver_pulls_total", outcome=outcome) == summary[count]
    for index, worker in enumerate(summary["workers"]):
        labels = {"worker": str(index), "pattern": worker["pattern"]}
        assert total(last, "ocidriver_pulls_total", outcome="ok", **labels) == worker["pulled"] > 0
        assert total(last, "ocidriver_pulls_total", outcome="failed", **labels) == worker["failed"] > 0
    errors = {
        dict(labels)["class"]: n
        for (name, labels), n in last.items()
        if name == "ocidriver_errors_total" and n
    }
    assert errors == summary["errors"]
    assert total(last, "ocidriver_pull_duration_seconds_count") == summary["pulled"]
    mean = total(last, "ocidriver_pull_duration_seconds_sum") / summary["pulled"] * 1000
    assert mean == pytest.approx(summary["latency_ms"]["mean"], abs=0.01)
    assert total(last, "ocidriver_client_cpu_seconds_total") == pytest.approx(
        summary["client_cpu_seconds"], abs=0.001
    )


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def test_the_dashboards_metrics_and_labels_are_the_exporters() -> None:
    labels: dict[str, set[str]] = {}
    run = a_run("x")
    run.tally.schedule = Schedule(Curve(((Rate(10.0, 10.0), 100.0),)))
    for name, has in samples(shown(run)):
        labels.setdefault(name, {"instance"}).update(key for key, _ in has)
    board = dashboard()
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [each["definition"] for each in board["templating"]["list"] if each["type"] == "query"]
    used = [
        match for expression in asked for match in re.finditer(r"(ocidriver_\w+)(?:\{([^}]*)\})?", expression)
    ]
    assert {match[1] for match in used} <= labels.keys()
    for match in used:
        assert set(re.findall(r"(\w+)=", match[2] or "")) <= labels[match[1]]
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in labels}
    assert {re.sub("_(bucket|count|sum)$", "", match[1]) for match in used} == families
    assert all(expression.count("(") == expression.count(")") for expression in asked)


def test_the_dashboard_is_for_any_datasource() -> None:
    board = dashboard()
    assert board["templating"]["list"][0]["type"] == "datasource"
    for panel in board["panels"]:
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))  # no two panels overlap
    assert max(x for x, _ in cells) < 24

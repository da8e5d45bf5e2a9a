"""A whole run on hosts that a test plays: the exit status, the summary, the log and the events, whatever happens."""

from __future__ import annotations

import json
import signal
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lib.cli import _command
from lib.errors import ExitStatus
from lib.hosts.fleet import Fleet
from lib.hosts.protocol import Begin, encode
from lib.hosts_setup import options_of_hosts
from lib.options.settings import make_settings
from lib.run import run
from lib.run_on_hosts import carrying_out
from lib.session import Session
from tests.doubles.certificates import Authority
from tests.doubles.serving import serving
from tests.support.fake_fleet import DISTRIBUTED, FakeFleet, Process, Scene
from tests.support.simulated import Time

WORKERS = 6


class Played:
    """A run. `result` is its summary. The load begins three seconds after the hosts are ready."""

    def __init__(self, folder: Path, hosts: int = 3, scene: Scene | None = None) -> None:
        self.folder = folder
        self.time = Time()
        self.fleet = FakeFleet(self.time, scene or Scene(workers=WORKERS), hosts)
        self.session: Session | None = None
        (folder / "list").write_text("".join(f"up.local:5000/app{number}:v1\n" for number in range(WORKERS)))

    def run(self, *words: str, dry: bool = True) -> int:
        files = {name: self.folder / name for name in ("summary", "events", "log", "metrics")}
        options = _parsed(
            "--hosts=tls://control:8786",
            "--pullthrough-url=http://127.0.0.1:1",
            "--registry-url=http://up.local:5000",
            *(["--dry-run"] if dry else []),
            f"--image-list={self.folder / 'list'}",
            f"--workers={WORKERS}",
            "--duration=10s",
            "--tally-seconds=2",
            *(f"--{name}-file={path}" for name, path in files.items()),
            *words,
        )
        carry_out = carrying_out(options, self._connect, self.time.monotonic)

        def noting(session: Session, lasting: ExitStack) -> None:
            self.session = session
            carry_out(session, lasting)

        status = run(make_settings(options), ("ocidriver",), show=False, carry_out=noting)
        assert self.fleet.closed or self.session is None or not self.fleet.asked
        return status

    @contextmanager
    def _connect(self, *_: object) -> Iterator[tuple[Fleet, str]]:
        try:
            yield self.fleet, DISTRIBUTED
        finally:
            self.fleet.close()

    def signal(self) -> None:
        """As if Ctrl-C were pressed."""
        assert self.session is not None
        self.session.stop.request(signal.SIGINT)

    def at(self, seconds: float, happening: Callable[[], object]) -> None:
        """Have it happen so many seconds after the run begins; the load begins after about 3.6."""
        self.time.after(seconds, happening)

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "summary").read_text())
        return found

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "events").read_text().splitlines()]

    def process(self, number: int) -> Process:
        found = self.fleet[number].process
        assert found is not None
        return found

    def check_left(self) -> None:
        """Every host that has a process and a worker was told to leave."""
        hosts = self.fleet.hosts.values()
        assert all(host.process.left for host in hosts if host.process is not None and not host.gone)


def _parsed(*words: str) -> dict[str, Any]:
    with _command().make_context("ocidriver", list(words)) as context:
        return dict(context.params)


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def test_a_good_run(played: Played) -> None:
    event = '{"time":"2026-01-31T12:00:0%d+00:00","op":"pull","worker":%d,"outcome":"ok"}\n'
    for number, host in enumerate(played.fleet.hosts.values()):
        host.events = "".join(event % (second, number) for second in range(5)).encode()
    assert played.run() == ExitStatus.OK
    summary = played.summary
    assert (summary["pulled"], summary["failed"], summary["complete"]) == (60, 0, True)
    assert summary["elapsed_seconds"] == 10.0
    assert summary["load"] == "constant load of 6 workers for 10s"
    assert [each["name"] for each in summary["hosts"]] == ["load-1", "load-2", "load-3"]
    assert summary["settings"]["hosts"] == "tls://control:8786"
    assert "share" not in summary["settings"]
    assert [each["pulled"] for each in summary["samples"]] == [12] * 5
    assert len((played.folder / "metrics").read_text().splitlines()) == 5
    assert [each["host"] for each in played.events] == ["load-1", "load-2", "load-3"] * 5
    assert "waiting up to 1m for at least 1 host at tls://control:8786" in played.log
    assert "constant load of 6 workers for 10s, on 3 hosts" in played.log
    assert "warning" not in played.log
    assert len(played.fleet.held) == 3
    played.check_left()


def test_thresholds_are_those_of_the_whole_load(played: Played) -> None:
    assert played.run("--threshold=rate>7") == ExitStatus.THRESHOLD
    assert [each["expression"] for each in played.summary["thresholds"]] == ["rate>7"]


def test_hosts_get_the_options_and_what_this_process_has_found_out(played: Played) -> None:
    played.run("--threshold=p95<10s", "--filter=app", "--draw=zipf:1", "--lost-hosts=1", "--min-hosts=2")
    request = next(request for _, request in played.fleet.asked_of(Begin) if isinstance(request, Begin))
    options = request.order.options
    assert options["filter"] == "app"
    assert options["hosts"] is None
    assert options["min_hosts"] is None
    assert options["lost_hosts"] == 0
    assert options["hosts_timeout"] == 60.0
    assert isinstance(options["seed"], int)
    assert options["platform"].startswith("linux/")
    assert options["share"] is None
    # they are JSON
    assert json.loads(json.dumps(options)) == options


def test_paths_and_lists_become_json() -> None:
    options = _parsed(
        "--pullthrough-url=c", "--registry-url=u", "--workers=2", "--summary-file=s", "--threshold=rate>1"
    )
    found = options_of_hosts(make_settings({**options, "summary_file": None}), options)
    assert json.loads(json.dumps(found)) == found
    assert found["threshold"] == ["rate>1"]
    assert found["summary_file"] == "s"


def test_names_that_are_not_utf8_become_json() -> None:
    options = _parsed("--pullthrough-url=c", "--registry-url=u", "--workers=2", "--summary-file=s\udcff")
    found = options_of_hosts(make_settings({**options, "summary_file": None}), options)
    assert found["summary_file"] == "s?"


def test_no_secret_reaches_a_host(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts read their own logins and keys. Of --ca-file they get the certificates."""
    authority = Authority(tmp_path)
    own = authority.issue("client")
    login = b64encode(b"user:the-password").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"cache.local": {"auth": login}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    played.run(f"--ca-file={authority.path}", f"--client-cert={own.path}", f"--client-key={own.key}")
    requests = [request for _, _, request in played.fleet.asked]
    sent = b"\n".join(map(encode, requests)).decode()
    assert "BEGIN CERTIFICATE" in sent
    assert str(own.key) in sent
    assert "PRIVATE KEY" not in sent
    assert login not in sent
    assert "the-password" not in sent
    assert "the-password" not in "".join(unpack_texts(requests))


def unpack_texts(requests: list[Any]) -> list[str]:
    """The selections in these requests."""
    orders = [request.order for request in requests if isinstance(request, Begin)]
    return [zlib.decompress(b64decode(order.selection)).decode() for order in orders]


# ---- failures


def test_a_lost_host(played: Played, capfd: pytest.CaptureFixture[str]) -> None:
    played.at(9.0, lambda: played.fleet.lose(played.fleet[2]))
    assert played.run() == ExitStatus.FAILED
    summary = played.summary
    assert summary["complete"] is False
    assert summary["hosts"][1]["lost"]["reason"] == "its Dask worker is gone"
    assert summary["reason"].startswith("host load-2: lost at 5.")
    told = capfd.readouterr().err.splitlines()
    assert any(line.startswith("ocidriver: warning: host load-2 lost at 5.") for line in told)
    assert told[-1] == f"ocidriver: {summary['reason']}"
    assert "warning: the events of host load-2 are missing" in played.log
    played.check_left()


def test_a_lost_host_that_may_be_lost(played: Played) -> None:
    played.at(9.0, lambda: played.fleet.lose(played.fleet[2]))
    assert played.run("--lost-hosts=1") == ExitStatus.OK
    assert played.summary["complete"] is False
    assert played.summary["reason"] is None
    assert played.summary["pulled"] == 40 + 8


def test_a_lost_scheduler(played: Played) -> None:
    played.at(9.0, played.fleet.lose_scheduler)
    assert played.run() == ExitStatus.FAILED
    assert played.summary["reason"] == (
        "lost the scheduler (connection refused); the summary has what arrived before"
    )
    assert played.summary["pulled"] == 24
    assert [each["lost"]["reason"] for each in played.summary["hosts"]] == ["the scheduler is gone"] * 3


def test_all_hosts_lost(played: Played) -> None:
    def lose() -> None:
        for number in (1, 2, 3):
            played.fleet.lose(played.fleet[number])

    played.at(9.0, lose)
    assert played.run("--lost-hosts=3") == ExitStatus.FAILED
    assert played.summary["reason"].startswith(
        "no host carried out its share: 3 hosts (load-1, load-2, load-3)"
    )
    assert played.summary["pulled"] == 24


def test_all_hosts_lost_before_the_first_piece(played: Played) -> None:
    def lose() -> None:
        for number in (1, 2, 3):
            played.fleet.lose(played.fleet[number])

    played.at(4.5, lose)
    assert played.run("--lost-hosts=3") == ExitStatus.FAILED
    assert played.summary["pulled"] == 0
    assert played.summary["complete"] is False


@pytest.mark.parametrize("hosts", [0, 2])
def test_too_few_hosts(tmp_path: Path, hosts: int, capfd: pytest.CaptureFixture[str]) -> None:
    played = Played(tmp_path, hosts)
    assert played.run("--min-hosts=3") == ExitStatus.FAILED
    assert f"only {hosts} of 3 hosts joined within 1m" in played.summary["reason"]
    assert played.summary["pulled"] == 0
    assert capfd.readouterr().err.count("\n") == 1


def test_a_host_that_is_not_ready(played: Played) -> None:
    played.fleet[2].refusal = "crane not found"
    assert played.run() == ExitStatus.FAILED
    assert played.summary["reason"] == "the load did not begin: host load-2: crane not found"
    played.check_left()


def test_a_host_that_does_not_arm(played: Played) -> None:
    played.fleet[2].arms = ["too busy", "too busy"]
    assert played.run() == ExitStatus.FAILED
    assert "not all hosts confirmed its beginning in time: host load-2: too busy" in played.summary["reason"]
    assert played.summary["hosts"][1]["pulled"] == 0
    played.check_left()


def test_only_failures(tmp_path: Path) -> None:
    played = Played(tmp_path, 3, Scene(workers=WORKERS, succeeds=lambda *_: False))
    assert played.run() == ExitStatus.FAILED
    assert played.summary["reason"].startswith("none of the first 12 pulls succeeded: dns: no such host")
    played.check_left()


def test_a_fault_of_the_driver_still_ends_the_hosts(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr("lib.run_on_hosts.Gathered", fault)
    assert played.run() == ExitStatus.FAILED
    assert "a fault" in played.summary["reason"]
    played.check_left()


def test_a_fault_during_the_load_leaves_a_summary(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise AssertionError("a fault")

    played.at(9.0, lambda: monkeypatch.setattr("lib.pieces.gathered.Gathered.close", fault))
    assert played.run() == ExitStatus.FAILED
    assert "a fault" in played.summary["reason"]
    assert played.summary["pulled"] == 24
    played.check_left()


# ---- signals


@pytest.mark.parametrize(
    ("what", "seconds"),
    [("gathering", 20.0), ("preparing", 0.3), ("arming", 2.0), ("running", 9.0)],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_signal_in_every_phase(tmp_path: Path, what: str, seconds: float, count: int) -> None:
    played = Played(tmp_path, 3)
    for host in played.fleet.hosts.values():
        host.drain_seconds = 0.3
    for each in range(count):
        played.at(seconds + each / 10, played.signal)
    status = played.run(*(["--min-hosts=4"] if what == "gathering" else []))
    assert status == 128 + signal.SIGINT
    assert played.summary["interrupted"] is True
    assert played.summary["reason"] == "interrupted by SIGINT"
    assert played.summary["pulled"] == (30 if what == "running" else 0)
    played.check_left()
    if what == "running":
        assert [each["lost"] for each in played.summary["hosts"]] == [None] * 3
        assert played.process(1).stop == count


def test_a_signal_while_a_planned_start_is_far(played: Played) -> None:
    played.at(50.0, played.signal)
    start = datetime.now() + timedelta(hours=2)
    assert played.run(f"--start-at={start:%Y-%m-%d %H:%M:%S}") == 128 + signal.SIGINT
    assert played.time.now < 1100
    assert [played.process(number).began for number in (1, 2, 3)] == [None] * 3
    played.check_left()


def test_a_signal_during_the_collection(played: Played) -> None:
    for number in (1, 2, 3):
        played.fleet[number].fetch_seconds = 15.0
    played.at(16.0, played.signal)
    assert played.run() == 128 + signal.SIGINT
    assert played.time.now < 1020
    summary = played.summary
    assert summary["pulled"] == 60
    assert summary["complete"] is True
    assert "the events of 3 hosts (load-1, load-2, load-3) are missing" in played.log
    played.check_left()


@pytest.mark.parametrize("more", [[], [17.0], [17.0, 18.0]])
def test_signals_during_the_last_phases_neither_hang_nor_lose_the_summary(
    played: Played, more: list[float]
) -> None:
    played.at(15.0, lambda: played.fleet.freeze(played.fleet[2], 1000))
    played.at(9.0, played.signal)
    for seconds in more:
        played.at(seconds, played.signal)
    assert played.run() == 128 + signal.SIGINT
    assert played.summary["pulled"] == 30
    assert played.time.now < 1000 + (19 if more else 80)


# ---- pruning


@contextmanager
def server(status: int) -> Iterator[str]:
    """One that gives every prune call this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            assert "dryRun=true" in self.path
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("option", ["--prune", "--prune-first"])
@pytest.mark.parametrize("images", ["all", "split"])
@pytest.mark.parametrize("is_ociregistry", [True, False])
def test_hosts_do_not_prune_the_same_images_of_an_ociregistry(
    tmp_path: Path, option: str, images: str, is_ociregistry: bool
) -> None:
    played = Played(tmp_path)
    with server(200 if is_ociregistry else 404) as url:
        status = played.run(option, f"--deal={images}", f"--pullthrough-url={url}", dry=False)
    refused = images == "all" and is_ociregistry
    assert (status == ExitStatus.FAILED) is refused
    if refused:
        assert played.summary["reason"] == (
            f"{option}: several hosts would prune the same images, and two prunes of one image at the same time damage "
            f"Ociregistry's cache; give each worker images of its own (--deal split), or leave out {option}"
        )
        assert played.fleet.asked_of(Begin) == []


@pytest.mark.parametrize("is_ociregistry", [True, False])
def test_hosts_that_prune_one_repository_are_told(tmp_path: Path, is_ociregistry: bool) -> None:
    played = Played(tmp_path)
    (tmp_path / "list").write_text("".join(f"up.local:5000/app:v{number}\n" for number in range(WORKERS)))
    with server(200 if is_ociregistry else 404) as url:
        assert played.run("--prune", f"--pullthrough-url={url}", dry=False) == ExitStatus.OK
    assert ("several hosts prune images of the same repositories" in played.log) is is_ociregistry

"""A capacity search on hosts that a test plays, in simulated time: trials, early ends, losses, stops, the result."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from lib.capacity.command import Searching, capacity
from lib.capacity.hunt import Bounds, Hunt
from lib.capacity.options import of_first_trial
from lib.capacity.page import page
from lib.capacity.result import Capacity
from lib.capacity.search import Search
from lib.errors import ExitStatus
from lib.hosts.fleet import Fleet
from lib.hosts.protocol import Begin, Bye, EndTrial, Lease, Pass, Trial
from lib.options.settings import make_settings
from lib.options.thresholds import parse_slo
from lib.results.line_file import LineFile
from lib.run_on_hosts import carrying_out
from lib.session import Session
from tests.capacity.test_command import SCHEMA
from tests.hosts.test_hostile_hosts import changed
from tests.support.fake_fleet import DISTRIBUTED, FakeFleet, Process, Scene
from tests.support.simulated import Time

# So many workers pull once per second, so this is the rate of every trial.
WORKERS = 6


class Played:
    """A search that begins at six pulls per second. Trials take ten seconds, and the first begins after about four."""

    def __init__(self, folder: Path, scene: Scene | None = None, hosts: int = 3) -> None:
        self.folder = folder
        self.time = Time()
        self.fleet = FakeFleet(self.time, scene or Scene(workers=WORKERS), hosts)
        self.session: Session | None = None
        (folder / "list").write_text("".join(f"up.local:5000/app{number}:v1\n" for number in range(WORKERS)))

    def search(self, *words: str, slo: str = "error_rate<50%", most: float = 12.0) -> int:
        options = _parsed(
            f"--slo={slo}", "--hosts=tls://control:8786", "--pullthrough-url=http://127.0.0.1:1",
            "--registry-url=http://up.local:5000", "--dry-run", f"--image-list={self.folder / 'list'}",
            f"--workers={WORKERS}", "--trial=10s",
            *(f"--{name}-file={self.folder / name}" for name in ("summary", "report", "events", "log")), *words,
        )  # fmt: skip
        bounds = Bounds(trial=10.0, most_seconds=None)
        hunt = Hunt([parse_slo(slo)], Search(6.0, 1.0, most), bounds)
        given = of_first_trial(options, 6.0, 10.0)
        searching = Searching(hunt, LineFile(self.folder / "lines", "trials", lambda _: None))
        carry_out = carrying_out(given, self._connect, self.time.monotonic, search=searching.on_hosts)

        def noting(session: Session, lasting: ExitStack) -> None:
            self.session = session
            carry_out(session, lasting)

        status = searching.carry_out(make_settings(given), noting)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(self.found)
        assert page(msgspec.convert(self.found, Capacity)) == (self.folder / "report").read_text()
        assert all(each.process.left for each in self.fleet.hosts.values() if each.process and not each.gone)
        return status

    @contextmanager
    def _connect(self, *_: object) -> Iterator[tuple[Fleet, str]]:
        try:
            yield self.fleet, DISTRIBUTED
        finally:
            self.fleet.close()

    def at(self, seconds: float, happening: Callable[[], object]) -> None:
        """Have it happen so many seconds after the search begins."""
        self.time.after(seconds, happening)

    def signal(self) -> None:
        assert self.session is not None
        self.session.stop.request(signal.SIGINT)

    @property
    def found(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "summary").read_text())
        return found

    @property
    def rates(self) -> list[float]:
        return [each["rate"] for each in self.found["trials"]]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def lines(self) -> str:
        return (self.folder / "lines").read_text()

    def process(self, number: int) -> Process:
        found = self.fleet[number].process
        assert found is not None
        return found

    def orders(self, kind: type[Trial] | type[EndTrial], host: int = 1) -> list[int]:
        """The numbers of the trials that a host was told of in these orders."""
        passed = [
            each.order for _, each in self.fleet.asked_of(Pass, self.fleet[host]) if isinstance(each, Pass)
        ]
        return [order.number for order in passed if isinstance(order, kind)]


def _parsed(*words: str) -> dict[str, Any]:
    with capacity.make_context("ocidriver capacity", list(words)) as context:
        own = ("slo", "first", "within", "trial", "max_rate", "max_time")
        return {name: value for name, value in context.params.items() if name not in own}


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def test_the_hosts_are_prepared_once_and_carry_out_each_trial(played: Played) -> None:
    assert played.search() == ExitStatus.OK
    assert played.rates == [6.0, 12.0]
    assert (played.found["limit"], played.found["held"]["rate"]) == ("max-rate", 12.0)
    assert [len(played.fleet.asked_of(kind)) for kind in (Begin, Bye)] == [3, 3]
    assert played.orders(Trial) == [1, 2]
    assert played.orders(EndTrial) == []
    for trial in played.found["trials"]:
        # the first tenth is not judged
        assert (trial["pulled"], trial["failed"], trial["seconds"]) == (54, 0, 10.0)
        assert trial["limited_hosts"] == []
    assert played.found["hosts"] == ["load-1", "load-2", "load-3"]
    assert played.found["client"] == {"name": "crane", "version": "0.20"}
    assert played.found["settings"]["hosts"] == "tls://control:8786"
    assert "from 3 hosts (load-1, load-2, load-3)" in (played.folder / "report").read_text()
    assert "trial at 6 pulls/s on a schedule for 10s, 6 workers throughout, on 3 hosts" in played.log


def test_a_trial_that_cannot_hold_ends_early_on_all_hosts_and_the_search_goes_on(tmp_path: Path) -> None:
    played = Played(tmp_path, Scene(workers=WORKERS, holds=lambda rate: rate <= 6))
    assert played.search("--keep-going", slo="error_rate<10%", most=1000.0) == ExitStatus.OK
    assert (played.rates, played.found["limit"]) == ([6.0, 12.0], "slo")
    assert (played.found["held"]["rate"], played.found["failed_at"]["rate"]) == (6.0, 12.0)
    late = played.found["trials"][1]
    assert late["seconds"] < 10.0
    assert late["pulled"] == 0
    assert late["errors"] == {"dns": late["failed"]}
    assert [played.orders(EndTrial, host) for host in (1, 2, 3)] == [[2]] * 3
    assert {each.stop for host in (1, 2, 3) for each in leases(played, host)} == {0}


def leases(played: Played, host: int) -> list[Lease]:
    found = [order for _, order in played.fleet.orders(Lease, played.fleet[host])]
    return [order for order in found if isinstance(order, Lease)]


@pytest.mark.parametrize("way", ["worker", "process", "pulls"])
def test_a_lost_host_ends_the_search_with_what_is_known(played: Played, way: str) -> None:
    def fault() -> None:
        match way:
            case "worker":
                played.fleet.lose(played.fleet[2])
            case "process":
                played.process(2).die()
            case "pulls":
                played.process(2).tells_pulls = False

    played.at(22.0, fault)  # in the second trial
    assert played.search() == ExitStatus.FAILED
    assert played.rates == [6.0]
    reason = played.found["reason"]
    assert reason.startswith("host load-2: lost at ")
    assert reason.endswith("; a search needs all of its hosts, so repeat it")
    assert (played.found["held"]["rate"], played.found["limit"]) == (6.0, None)
    assert [max(each.stop for each in leases(played, host)) for host in (1, 3)] == [1, 1]


def test_a_host_that_is_lost_between_two_trials_ends_it_too(played: Played) -> None:
    played.fleet[2].prepare_seconds = 5.0
    played.at(4.0, lambda: setattr(played.fleet[2], "prepare_seconds", 100.0))
    played.at(70.0, lambda: played.fleet.lose(played.fleet[2]))
    assert played.search() == ExitStatus.FAILED
    assert played.rates == []
    assert "host load-2: its Dask worker is gone" in played.found["reason"]


@pytest.mark.parametrize("seconds", [0.2, 2.0, 8.0, 14.5, 16.0, 22.0])
def test_a_signal_ends_it_at_any_moment_with_what_is_known(played: Played, seconds: float) -> None:
    played.at(seconds, played.signal)
    assert played.search() == 128 + signal.SIGINT
    assert (played.found["interrupted"], played.found["reason"]) == (True, "interrupted by SIGINT")
    assert played.rates == [6.0] * (seconds > 14)
    assert "Traceback" not in played.log


def test_a_second_signal_ends_the_clients_at_once(played: Played) -> None:
    for host in played.fleet.hosts.values():
        host.drain_seconds = 60.0
    played.at(8.0, played.signal)
    played.at(10.0, played.signal)
    assert played.search() == 128 + signal.SIGINT
    assert [sorted({each.stop for each in leases(played, host)}) for host in (1, 2, 3)] == [[0, 1, 2]] * 3


def test_if_none_of_the_first_pulls_succeeds_the_search_ends(tmp_path: Path) -> None:
    played = Played(tmp_path, Scene(workers=WORKERS, holds=lambda _: False))
    assert played.search(slo="p95<1s") == ExitStatus.FAILED
    assert played.rates == []
    assert played.found["reason"].startswith("none of the first 12 pulls succeeded: dns: no such host")
    assert played.orders(EndTrial) == [1]


def test_with_keep_going_such_a_trial_is_judged(tmp_path: Path) -> None:
    played = Played(tmp_path, Scene(workers=WORKERS, holds=lambda _: False))
    assert played.search("--keep-going", slo="p95<1s") == ExitStatus.THRESHOLD
    assert played.rates == [6.0]
    assert played.found["trials"][0]["seconds"] == 10.0


def test_after_a_first_success_such_a_trial_is_judged(tmp_path: Path) -> None:
    played = Played(tmp_path, Scene(workers=WORKERS, holds=lambda rate: rate <= 6))
    assert played.search(slo="p95<5s", most=1000.0) == ExitStatus.OK
    assert played.rates[:2] == [6.0, 12.0]
    assert played.orders(EndTrial)[0] == 2


def test_an_order_that_gets_no_answer_is_given_again_and_carried_out_once(played: Played) -> None:
    played.at(0.7, lambda: played.fleet.freeze(played.fleet[2], 12.0))
    assert played.search() == ExitStatus.OK
    assert played.rates == [6.0, 12.0]
    assert [each.number for each in played.process(2).trials] == [1, 2]


def test_the_events_of_all_trials_are_collected(played: Played) -> None:
    event = '{"time":"2026-01-31T12:00:0%d+00:00","op":"pull","worker":%d,"outcome":"ok"}\n'
    for number, host in enumerate(played.fleet.hosts.values()):
        host.events = "".join(event % (second, number) for second in range(5)).encode()
    assert played.search() == ExitStatus.OK
    lines = [json.loads(line) for line in (played.folder / "events").read_text().splitlines()]
    assert [each["host"] for each in lines] == ["load-1", "load-2", "load-3"] * 5


def test_a_host_that_cannot_get_ready_ends_it_before_any_trial(played: Played) -> None:
    played.fleet[3].refusal = "crane not found"
    assert played.search() == ExitStatus.FAILED
    assert played.found["reason"] == "the load did not begin: host load-3: crane not found"


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_message_ends_the_search_in_order(played: Played, seed: int) -> None:
    luck = random.Random(seed)
    damaged = luck.randrange(1, 16)

    def begin_damage() -> None:
        write = played.process(2).write

        def damage(number: int, line: str, incarnation: str | None = None) -> None:
            if number == damaged:
                message = json.loads(line)
                for _ in range(luck.choice([1, 1, 2, 3])):
                    message = changed(message, luck)
                message["number"] = number
                line = json.dumps(message)
            write(number, line, incarnation)

        played.process(2).write = damage  # type: ignore[method-assign]

    played.at(0.3, begin_damage)
    status = played.search()
    assert status in (ExitStatus.OK, ExitStatus.FAILED)
    reason = played.found["reason"] or "host load-2"
    assert "host load-2" in reason or reason.startswith("the hosts prepared different loads")
    assert set(played.rates) <= {6.0, 12.0}

"""The process of a host, with a controller that the test plays: orders, leases, stops, and that nothing is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lib.hosts.protocol import Arm, Armed, Disarm, Lease, Note, Ready, Refused, Started, Unarmed
from lib.lab.servers import lab_cache
from lib.pieces.file import record_of
from lib.pieces.merge import merge
from lib.pieces.wire import End, Line, PieceLine, encoded
from tests.doubles.fake_crane import install, launches, open_gate, wait_for_launches
from tests.support.asking import get
from tests.support.driving import NOBODY, command, left_running
from tests.support.hosting import AHEAD, Controller, first_order
from tests.support.paths import ROOT
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

IMAGES = ("ok/a:1", "ok/b:1", "refused/c:1", "ok/d:1")
PIPE_BYTES = 1 << 16
LONG = ("--passes=100000", "--tally-seconds=1000", "--grace=100")


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with Controller(tmp_path) as controller:
        yield controller


def order(client: Path, *words: object, images: tuple[str, ...] = IMAGES, **given: Any) -> Any:
    return first_order(images, *NOBODY, f"--client={client}", *words, **given)


def merged_by_hand(controller: Controller, started: Started) -> Any:
    """The summary of what was sent, as `merge` makes it."""
    lines: list[Line] = [started.header, *controller.all(PieceLine), controller.hear(End)]
    record = record_of("the host", [f"{encoded(line)}\n" for line in lines])
    return merge([record], ())


# ---- a whole load


def test_what_it_sends_is_what_the_cache_served(
    upstream: Upstream, crane: str, controller: Controller
) -> None:
    with lab_cache(upstream.address) as cache:
        started = controller.begin(
            first_order(
                upstream.images, f"--pullthrough-url={cache.url}", f"--registry-url={upstream.url}",
                f"--client={crane}", "--passes=3", "--tally-seconds=0.3", f"--events-file={controller.folder}/no",
            )
        )  # fmt: skip
        end = controller.check_counts()
        served = int(get(cache.address, "/metrics").decode().partition("\nlab_pulls_total ")[2].split()[0])
    folder = Path(controller.hear(Ready).folder)
    events = (folder / "events.jsonl").read_text().splitlines()
    assert end.totals.numbers["pulled"] == served == len(events) == 3 * len(upstream.images)
    assert (end.reason, end.interrupted) == (None, False)
    assert started.header.host == "load 1"
    assert (folder / "log").read_text().count("start worker") == 2
    assert merged_by_hand(controller, started).pulled == served
    assert controller.leave() == ""
    assert not (controller.folder / "no").exists()


def test_it_begins_at_the_moment_by_the_controllers_clock(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=2", f"--events-file={client}.events"))
    ready = controller.hear(Ready)
    assert ready.header.began == 0.0
    at = controller.arm(0.3)
    assert controller.hear(Armed) == Armed(at)
    started = controller.hear(Started)
    offset = time.time() - time.monotonic() + AHEAD
    assert started.header.began == at
    assert started.header.clock_offset == pytest.approx(offset, abs=1.0)
    assert 0 <= started.error_seconds < 0.5
    assert controller.outcomes() == {"pulled": 6, "failed": 2}
    event = json.loads((Path(ready.folder) / "events.jsonl").read_text().splitlines()[0])
    assert datetime.fromisoformat(event["time"]).timestamp() == pytest.approx(offset + at, abs=60.0)
    assert controller.leave() == ""


def test_two_shares_make_the_whole_load(client: Path, tmp_path: Path) -> None:
    """The hosts do not look at the upstream, which is not there."""
    records = []
    for share in ("1/2", "2/2"):
        (tmp_path / share[0]).mkdir()
        with Controller(tmp_path / share[0]) as controller:
            words = ("--passes=2", "--seed=1", "--shuffle", "--ca-file=/nowhere")
            started = controller.begin(order(client, *words, workers=3, share=share))
            end = controller.check_counts()
            lines: list[Line] = [started.header, *controller.all(PieceLine), end]
            records.append(record_of(share, [f"{encoded(line)}\n" for line in lines]))
            assert controller.leave() == ""
    summary = merge(records, ())
    assert (summary.pulled, summary.failed, summary.complete) == (6, 2, True)
    assert [each.images for each in summary.workers] == [2, 1, 1]


def test_beats_come_before_the_interval_ends(client: Path, controller: Controller) -> None:
    started = controller.begin(order(client, *LONG))
    controller.hear(PieceLine, 3)
    assert {piece.ends for piece in controller.all(PieceLine)} == {"beat"}
    assert (Path(controller.hear(Ready).folder) / "pieces").read_text().count('"ends":"beat"') >= 3
    controller.lease(stop=1)
    controller.check_counts()
    assert merged_by_hand(controller, started).interrupted
    assert controller.leave() == ""


# ---- before the load


def test_orders_to_arm(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=1", "--hosts-timeout=60", "--hosts=local:1"))
    controller.hear(Ready)
    now = time.monotonic()
    controller.send(Arm(now - 10, 0.0))
    assert "s ago" in controller.hear(Unarmed).reason
    controller.send(Arm(now + 3600 + 60 + 60, 0.0))
    assert "which is too far" in controller.hear(Unarmed, 2).reason
    controller.send(Arm(now + 3600, 0.0))
    assert controller.hear(Armed) == Armed(now + 3600)
    controller.send(Arm(now + 3000, 0.0))
    assert controller.hear(Unarmed, 3).reason == "the host has confirmed another moment already"
    controller.send(Disarm())
    assert controller.hear(Unarmed, 4) == Unarmed("")
    controller.arm()
    controller.hear(Started)
    controller.arm()
    assert controller.hear(Unarmed, 5).reason == "the load has begun already"
    controller.hear(End)  # which may have come before that answer
    assert len(controller.all(Started)) == 1
    assert controller.leave() == ""


def test_it_does_not_begin_late(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=1"))
    controller.hear(Ready)
    at = controller.arm(1.0)
    controller.hear(Armed)
    controller.signal(signal.SIGSTOP)
    wait_until(lambda: time.monotonic() > at + 1.0)
    controller.signal(signal.SIGCONT)
    assert "late for the beginning of the load" in controller.hear(Refused).reason
    assert launches(client) == []
    assert controller.leave() == ""


@pytest.mark.parametrize(
    ("change", "reason", "usage"),
    [
        (lambda each: {"client": "nowhere/crane"}, "crane", False),
        (lambda each: {"workers": None}, "give either --patterns", True),
        (lambda each: {"client_cert": "/nowhere/cert"}, "--client-cert", True),
        (lambda each: {"keep_going": False}, "the server under test does not answer", False),
        (lambda each: {"layout": "what"}, "--layout", True),
    ],
)
def test_what_keeps_a_host_from_its_load(
    client: Path,
    controller: Controller,
    change: Callable[[Any], dict[str, Any]],
    reason: str,
    usage: bool,
) -> None:
    first = order(client, "--passes=1")
    first.options.update(change(first.options))
    controller.send(first)
    refused = controller.hear(Refused)
    assert reason in refused.reason
    assert refused.usage == usage
    assert "\n" not in refused.reason
    assert controller.leave() == ""


def test_authorities_that_are_none(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=1", ca_pem="nothing"))
    assert controller.hear(Refused).usage
    assert controller.leave() == ""


def test_a_selection_that_is_not_valid(client: Path, controller: Controller) -> None:
    controller.send(msgspec.structs.replace(order(client, "--passes=1"), selection="AAAA"))
    assert "the selection is not valid" in controller.hear(Refused).reason
    assert controller.leave() == ""


def test_without_a_first_order_it_ends(tmp_path: Path, controller: Controller) -> None:
    assert controller.process.stdin is not None
    controller.process.stdin.write(b"what?\n")
    controller.process.stdin.close()
    assert controller.process.wait(SECONDS) == 2
    assert controller.stderr.startswith("ocidriver: a host process needs its orders on stdin")


def test_a_stop_before_the_load(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=1"))
    controller.hear(Ready)
    controller.lease(stop=1)
    assert controller.hear(Refused).reason == "interrupted by SIGTERM"
    assert controller.leave() == ""


def test_a_warm_up_and_its_end_without_a_controller(client: Path, controller: Controller) -> None:
    words = ("--passes=1", "--warm-up")
    controller.send(order(client, *words, images=("ok/a:1", "hang/b:1")))
    wait_for_launches(client, count=2)
    assert controller.close() == ""
    assert list(controller.folder.iterdir()) == []


def test_what_is_pruned_before_the_load_is_counted_before_it(
    upstream: Upstream, crane: str, controller: Controller
) -> None:
    with lab_cache(upstream.address) as cache:
        started = controller.begin(
            first_order(
                upstream.images, f"--pullthrough-url={cache.url}", f"--registry-url={upstream.url}",
                f"--client={crane}", "--passes=1", "--prune-first",
            )
        )  # fmt: skip
        end = controller.hear(End)
    assert started.header.before.numbers["pruned"] == end.totals.numbers["pruned"] == len(upstream.images)
    assert end.first_pulls == "cold"
    summary = merged_by_hand(controller, started)
    assert (summary.pruned, summary.pulled) == (12, 12)
    assert controller.leave() == ""


# ---- messages


def test_it_writes_again_what_is_not_acknowledged(client: Path, controller: Controller) -> None:
    controller.begin(order(client, "--passes=1"))
    end = controller.check_counts()
    heard = list(controller.numbers)
    assert heard == sorted(set(heard))
    while len(controller.numbers) < 2 * len(heard):
        controller.send(Lease(-1))
        time.sleep(0.5)
    assert set(controller.numbers[len(heard) :]) == set(heard)
    assert controller.hear(End) == end
    assert controller.leave() == ""


def test_failures_and_warnings_become_notes(client: Path, controller: Controller) -> None:
    words = ("--passes=20", "--tally-seconds=1000", "--insecure")
    controller.begin(order(client, *words, images=("refused/a:1",), workers=1))
    controller.check_counts()
    failures = [note for note in controller.all(Note) if "pull of refused/a:1 failed: refused" in note.text]
    assert len(failures) == 10
    assert not any(note.caution for note in failures)
    assert "and 10 more failures: 10 refused" in controller.notes
    insecure = [note for note in controller.all(Note) if "no server's certificate is checked" in note.text]
    assert [note.caution for note in insecure] == [True]
    assert controller.leave() == ""


def test_a_load_whose_first_pulls_all_fail_goes_on(client: Path, controller: Controller) -> None:
    """The controller judges that, for all hosts together."""
    controller.begin(order(client, "--passes=30", images=("refused/a:1",), workers=1))
    assert controller.outcomes() == {"failed": 30}
    assert controller.leave() == ""


def test_a_reader_that_stalls_does_not_delay_the_load(client: Path, controller: Controller) -> None:
    """It says more than a pipe holds."""
    words = ("--passes=1000", "--tally-seconds=0.01", "--dry-run")
    controller.send(order(client, *words, images=("ok/a:1",), workers=1))
    pieces = Path(controller.hear(Ready).folder) / "pieces"
    with controller.stalling():
        controller.arm()
        wait_until(lambda: '"line":"end"' in pieces.read_text())
        assert pieces.stat().st_size > 2 * PIPE_BYTES
    assert controller.outcomes() == {"pulled": 1000}
    assert controller.leave() == ""


# ---- stops


def test_a_stop_lets_clients_finish(client: Path, controller: Controller) -> None:
    controller.begin(order(client, *LONG, images=("gate/a:1", "gate/b:1")))
    wait_for_launches(client, count=2)
    controller.lease(stop=1)
    wait_until(lambda: "stopping:" in controller.notes)
    open_gate(client)
    end = controller.check_counts()
    assert controller.outcomes() == {"pulled": 2}
    assert (end.interrupted, end.reason) == (True, "interrupted by SIGTERM")
    assert controller.leave() == ""


def test_two_stops_end_clients_at_once(client: Path, controller: Controller) -> None:
    controller.begin(order(client, *LONG, images=("hang/a:1", "hang/b:1")))
    wait_for_launches(client, count=2)
    controller.lease(stop=1)
    controller.lease(stop=1)
    wait_until(lambda: "stopping:" in controller.notes)
    controller.lease(stop=2)
    assert controller.outcomes() == {"interrupted": 2}
    assert controller.leave() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_stops(client: Path, controller: Controller, number: signal.Signals) -> None:
    controller.begin(order(client, *LONG, images=("hang/a:1", "hang/b:1")))
    wait_for_launches(client, count=2)
    controller.signal(number)
    wait_until(lambda: "stopping:" in controller.notes)
    controller.lease(stop=1)  # the same stop, as all hosts hear of it
    controller.signal(number)
    end = controller.check_counts()
    assert controller.outcomes() == {"interrupted": 2}
    assert end.reason == f"interrupted by {number.name}"
    controller.signal(number)
    assert controller.ended() == ""


def test_it_need_not_finish_a_load_that_nobody_needs(client: Path, controller: Controller) -> None:
    controller.begin(order(client, *LONG, images=("stubborn/a:1", "daemon/b:1")))
    wait_for_launches(client, count=2)
    assert controller.leave() == ""
    assert list(controller.folder.iterdir()) == []


def test_a_stop_after_the_load_changes_nothing(client: Path, controller: Controller) -> None:
    controller.begin(order(client, "--passes=1"))
    end = controller.check_counts()
    folder = Path(controller.hear(Ready).folder)
    controller.lease(stop=2)
    controller.arm()
    controller.hear(Unarmed)
    assert folder.is_dir()
    assert controller.hear(End) == end
    assert controller.leave() == ""


# ---- without a controller


def check_kept(controller: Controller, stderr: str, folder: Path) -> None:
    """The record of a load that its controller did not see to its end."""
    path = folder / "ocidriver-20260101-1-load-1.pieces"
    told, kept = stderr.splitlines()
    assert told.startswith("ocidriver: host load 1: the controller is gone (")
    assert " pulled, 0 failed, " in told
    assert kept.startswith(f"ocidriver: host load 1: its pieces are in {path}; ")
    assert path.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        command("merge", path, f"--summary-file={folder}/summary.json"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the controller is gone" in done.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert f"{summary['pulled']:,} pulled" in told
    assert summary["pulled"] >= controller.pulled()


def test_without_a_lease_it_stops(client: Path, tmp_path: Path) -> None:
    with Controller(tmp_path, lease_seconds=3.0) as controller:
        controller.begin(order(client, *LONG, images=("ok/a:1", "ok/b:1")))
        controller.hear(PieceLine)
        check_kept(controller, controller.ended(), controller.folder)


def test_a_process_that_was_stopped_for_longer_than_its_lease_ends(client: Path, tmp_path: Path) -> None:
    with Controller(tmp_path, lease_seconds=4.0) as controller:
        controller.begin(order(client, *LONG, images=("ok/a:1", "ok/b:1")))
        controller.hear(PieceLine)
        controller.signal(signal.SIGSTOP)
        for _ in range(9):
            controller.lease()
            time.sleep(0.5)
        controller.signal(signal.SIGCONT)
        check_kept(controller, controller.ended(), controller.folder)


def test_without_orders_it_stops_at_once(client: Path, controller: Controller) -> None:
    controller.begin(order(client, *LONG, images=("ok/a:1", "ok/b:1")))
    controller.hear(PieceLine)
    check_kept(controller, controller.close(), controller.folder)


def test_it_keeps_its_record_elsewhere_if_the_folder_is_taken(client: Path, controller: Controller) -> None:
    """The name is taken, so nothing is overwritten."""
    taken = controller.folder / "ocidriver-20260101-1-load-1.pieces"
    taken.write_text("mine")
    controller.begin(order(client, *LONG, images=("ok/a:1", "ok/b:1")))
    controller.hear(PieceLine)
    check_kept(controller, controller.close(), controller.temporary)
    assert taken.read_text() == "mine"


def test_clients_have_their_grace_without_a_controller(client: Path, controller: Controller) -> None:
    words = ("--passes=100000", "--grace=0.5")
    controller.begin(order(client, *words, images=("hang/a:1", "stubborn/b:1")))
    wait_for_launches(client, count=2)
    assert "0 pulled, 0 failed, 2 interrupted" in controller.close()


def test_without_a_controller_before_the_load_nothing_is_kept(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--passes=1"))
    controller.hear(Ready)
    assert controller.close() == ""
    assert list(controller.folder.iterdir()) == []


def test_nothing_is_kept_of_a_load_that_has_arrived(client: Path, controller: Controller) -> None:
    controller.begin(order(client, "--passes=1"))
    controller.check_counts()
    controller.lease()
    assert controller.close() == ""
    assert list(controller.folder.iterdir()) == []


def test_a_load_whose_end_has_not_arrived_is_kept(client: Path, controller: Controller) -> None:
    controller.begin(order(client, "--passes=1"))
    controller.check_counts()
    stderr = controller.close()
    assert "3 pulled, 1 failed" in stderr
    (kept,) = controller.folder.iterdir()
    assert kept.suffix == ".pieces"


# ---- surroundings


def test_it_imports_nothing_of_dask() -> None:
    program = "import lib.host_process, sys; print({'dask', 'distributed'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_nothing_is_left_of_a_process_that_is_killed(client: Path, controller: Controller) -> None:
    controller.begin(order(client, *LONG, images=("hang/a:1", "daemon/b:1")))
    wait_for_launches(client, count=2)
    controller.signal(signal.SIGKILL)
    wait_until(lambda: not list(controller.temporary.iterdir()))
    wait_until(lambda: not left_running(controller.temporary))


def test_a_process_with_closed_descriptors_and_ignored_signals(client: Path, tmp_path: Path) -> None:
    """As a careless parent leaves them."""
    with Controller(tmp_path, shell='trap "" CHLD; exec "$@" 2>&-') as controller:
        controller.begin(order(client, "--passes=1"))
        assert controller.outcomes() == {"pulled": 3, "failed": 1}
        assert controller.leave() == ""

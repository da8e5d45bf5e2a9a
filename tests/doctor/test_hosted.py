"""The checks of `doctor --hosts`, with hosts that a test plays: whatever is wrong with them is a check."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lib.doctor import hosted
from lib.doctor.check import FAILURE, OK, WARNING, Check
from lib.doctor.command import doctor
from lib.doctor.examination import Examination
from lib.doctor.examining import examining
from lib.errors import RunError, Stopped, UsageError
from lib.hosts.fleet import Fleet
from lib.hosts.protocol import Begin, Bye, Driving, Examined, Finding, FirstOrder, Lease, Note
from lib.hosts.selected import unpack
from lib.options.settings import make_settings
from lib.prepare import Beginning
from lib.processes.signals import Stop
from lib.results.summary import ClientInfo
from tests.support.fake_fleet import DISTRIBUTED, FakeFleet, Host, Scene, facts_with, nothing_found
from tests.support.simulated import Time

NOWHERE = ("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--upstream-name=up.local")
CRANE = ClientInfo(name="crane", version="0.20")


class Patient:
    """An examination with hosts that a test plays. `checks` are those so far, without those of this machine."""

    def __init__(self, folder: Path, hosts: int = 3) -> None:
        self.time = Time()
        self.fleet = FakeFleet(self.time, Scene(), hosts)
        self.checks: list[Check] = []
        self.stop = Stop()
        self.distributed = DISTRIBUTED
        self.exam: Examination
        self._list = folder / "images"
        self._list.write_text("".join(f"app{number}:v1\n" for number in range(6)))

    def __getitem__(self, number: int) -> Host:
        return self.fleet[number]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.fleet.hosts.values())

    def examine(self, *words: str, hosts: str = "tcp://127.0.0.1:8786") -> None:
        given = [*NOWHERE, f"--image-list={self._list}", f"--hosts={hosts}", *words]
        if not any(word.startswith(("--workers", "--patterns")) for word in words):
            given.append("--workers=6")
        with doctor.make_context("doctor", given) as context:
            options = dict(context.params)
        options.pop("as_json")
        with examining(Beginning(make_settings(options)), self.stop) as self.exam:
            for check in hosted.checks(self.exam, options, hosted.Way(self._connect, self.time.monotonic)):
                self.checks.append(check)

    @contextmanager
    def _connect(self, *_: object) -> Iterator[tuple[Fleet, str]]:
        try:
            yield self.fleet, self.distributed
        finally:
            self.fleet.close()

    def told(self, status: str) -> list[str]:
        """The checks with this status: `name: message`."""
        return [f"{each.name}: {each.message}" for each in self.checks if each.status == status]

    def named(self, name: str, status: str) -> Check:
        (check,) = [each for each in self.checks if (each.name, each.status) == (name, status)]
        return check

    def begun(self, number: int) -> list[FirstOrder]:
        return [each.order for _, each in self.fleet.asked_of(Begin, self[number]) if isinstance(each, Begin)]

    def check_end(self) -> None:
        """Every host that may have begun was told to leave, and nobody else."""
        assert self.fleet.closed
        for host in self:
            begun = bool(self.fleet.asked_of(Begin, host))
            assert bool(self.fleet.asked_of(Bye, host)) == (begun and not host.gone)


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    patient = Patient(tmp_path)
    yield patient
    patient.check_end()


def finding(*checks: Finding, **changes: Any) -> Callable[[FirstOrder], Examined]:
    given: dict[str, Any] = {"changes": {}, "undecided": False, "client": CRANE, **changes}
    return lambda _: Examined(checks=list(checks), **given)


# ---- all is well


def test_each_host_examines_its_own_share(patient: Patient) -> None:
    patient.examine()
    assert patient.told(FAILURE) == patient.told(WARNING) == []
    assert patient.exam.hosts == ("load-1", "load-2", "load-3")
    assert patient.named("client", OK) == Check("client", OK, "crane 0.20", hosts=patient.exam.hosts)
    assert "3 hosts can take part: load-1, load-2, load-3" in patient.named("hosts", OK).message
    assert "±1 ms" in patient.named("clocks", OK).message
    assert sorted(patient.fleet.held) == sorted(each.address for each in patient)
    orders = [patient.begun(number) for number in (1, 2, 3)]
    assert [len(each) for each in orders] == [1, 1, 1]
    images = [image.name for (order,) in orders for image in unpack(order.selection).images]
    assert sorted(images) == [f"app{number}:v1" for number in range(6)]
    assert all(order.examine for (order,) in orders)


def test_a_long_examination_keeps_its_leases(patient: Patient) -> None:
    patient[2].prepare_seconds = 100.0
    patient.examine()
    assert patient.told(FAILURE) == []
    for host in patient:
        assert len(patient.fleet.orders(Lease, host)) >= 19


def test_what_hosts_say_is_a_warning(patient: Patient) -> None:
    def noting(_: FirstOrder) -> Examined:
        process = patient[2].process
        assert process is not None
        process.post(Note("something is odd", caution=True))
        return nothing_found()

    patient[2].find = noting
    patient.examine()
    assert patient.told(WARNING) == ["hosts: host load-2: something is odd"]


def test_idle_hosts_are_not_examined(patient: Patient) -> None:
    patient.examine("--workers=2")
    assert patient.exam.hosts == ("load-1", "load-2")
    assert "1 host will be idle" in patient.named("hosts", WARNING).message
    assert patient.begun(3) == []


def test_without_images_the_rest_is_examined(patient: Patient) -> None:
    patient.examine("--patterns=nowhere,neither")
    assert len(patient.told(FAILURE)) == 2
    assert patient.exam.hosts == ("load-1", "load-2")
    assert unpack(patient.begun(1)[0].selection).image_sets == ()


def test_options_that_were_mended_are_those_of_the_hosts(patient: Patient) -> None:
    patient.examine("--patterns=app1,nowhere,app2")
    assert patient.begun(1)[0].options["patterns"] == ["app1", "app2"]
    assert patient.exam.changes == {"--patterns": "app1,app2"}


def test_hosts_that_prune_the_same_image_do_so_one_after_the_other(tmp_path: Path) -> None:
    patient = Patient(tmp_path, hosts=5)
    patient._list.write_text("app1:v1\napp2:v1\n")
    patient.examine("--deal=all", "--workers=5", "--prune", "--prune-via=client")
    begun = [(at, request) for at, request in patient.fleet.asked_of(Begin) if isinstance(request, Begin)]
    at: dict[str, list[float]] = {}
    for moment, request in begun:
        first = next(unpack(request.order.selection).image_sets[0].in_order())
        at.setdefault(first.name, []).append(moment)
    assert len(at) == 2
    for moments in at.values():
        assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(moments))
    assert patient.exam.hosts == tuple(f"load-{number}" for number in range(1, 6))
    patient.check_end()


# ---- what the hosts find


def test_equal_failures_are_one_check(tmp_path: Path) -> None:
    patient = Patient(tmp_path, hosts=6)
    missing = Finding(name="client", status="failure", message="crane not found", advice="install it")
    for number in (2, 3, 4):
        patient[number].find = finding(missing, client=None)
    patient.examine()
    (failed,) = [each for each in patient.checks if each.status == FAILURE]
    assert failed == Check(
        "client", FAILURE, "crane not found", "install it", hosts=("load-2", "load-3", "load-4")
    )
    assert patient.named("client", OK).hosts == ("load-1", "load-5", "load-6")
    patient.check_end()


def test_what_the_hosts_recommend(patient: Patient) -> None:
    for host in patient:
        host.find = finding(changes={"--layout": "zot"})
    patient.examine()
    assert patient.exam.changes == {"--layout": "zot"}
    assert not patient.exam.undecided


def test_hosts_that_do_not_agree_leave_the_choice_to_the_user(patient: Patient) -> None:
    patient[3].find = finding(changes={"--client": "skopeo"})
    patient.examine()
    assert patient.exam.changes == {}
    assert patient.exam.undecided


def test_a_host_that_cannot_decide(patient: Patient) -> None:
    patient[3].find = finding(undecided=True)
    patient.examine()
    assert patient.exam.undecided


def test_different_clients(patient: Patient) -> None:
    patient[3].find = finding(client=ClientInfo(name="skopeo", version="1.9"))
    patient.examine()
    (failed,) = patient.told(FAILURE)
    assert failed.endswith("different clients: 2 hosts (load-1, load-2): crane; host load-3: skopeo")


def test_a_client_that_failed_its_check_is_not_compared(patient: Patient) -> None:
    check = Finding(name="client", status="failure", message="crane not found")
    patient[3].find = finding(check, client=ClientInfo(name="skopeo", version="1.9"))
    patient.examine()
    assert patient.told(FAILURE) == ["client: crane not found"]


# ---- who takes part


def test_too_few_hosts(patient: Patient) -> None:
    """Those that are there are examined."""
    patient.examine("--min-hosts=5")
    (failed,) = patient.told(FAILURE)
    assert failed.startswith(
        "hosts: only 3 of 5 hosts joined within 1m (worker-1, worker-2, worker-3); start"
    )
    assert len(patient.exam.hosts) == 3


def test_no_host_at_all(tmp_path: Path) -> None:
    patient = Patient(tmp_path, hosts=0)
    patient.examine()
    (failed,) = patient.told(FAILURE)
    assert failed.startswith("hosts: only 0 of 1 host joined within 1m; start more Dask workers")
    assert patient.exam.hosts == ()
    patient.check_end()


def test_hosts_that_cannot_take_part(tmp_path: Path) -> None:
    """The others are examined."""
    patient = Patient(tmp_path, hosts=6)
    for number in (1, 2):
        facts_with(patient[number], version="0.0.1")
    facts_with(patient[3], distributed="2020.1.0")
    facts_with(patient[4], driving=Driving(run="other", since="12:01", by="ann on control"))
    patient[5].there = 100.0
    patient.examine()
    failed = patient.told(FAILURE)
    assert [failed[0].split(",")[0], *(each.split(";")[0] for each in failed[1:])] == [
        "hosts: it has ocidriver 0.0.1",
        f"hosts: it has distributed 2020.1.0, and the controller has {DISTRIBUTED}",
        "hosts: it has been driving another run since 12:01 (by ann on control)",
        "hosts: no answer within 10s",
    ]
    assert patient.checks[-1].hosts == patient.exam.hosts == ("load-6",)
    hosts = [each.hosts for each in patient.checks if each.status == FAILURE]
    assert hosts == [("worker-1", "worker-2"), ("worker-3",), ("worker-4",), ("worker-5",)]
    patient.check_end()


def test_another_protocol(patient: Patient) -> None:
    facts_with(patient[1], protocol=77)
    patient.examine()
    (failed,) = patient.told(FAILURE)
    assert "has protocol 77" in failed


def test_two_workers_on_one_machine(patient: Patient) -> None:
    facts_with(patient[2], machine=patient[1].facts.machine)
    patient.examine()
    assert "1 Dask worker left out" in patient.named("hosts", WARNING).message
    assert patient.exam.hosts == ("load-1", "load-3")


def test_too_few_machines(patient: Patient) -> None:
    facts_with(patient[2], machine=patient[1].facts.machine)
    patient.examine("--min-hosts=3")
    (failed,) = patient.told(FAILURE)
    assert failed.startswith("hosts: --min-hosts 3: the Dask workers are on 2 machines only")


def test_machines_that_differ(patient: Patient) -> None:
    facts_with(patient[1], cores=16.0, memory_bytes=64 << 30)
    patient.examine()
    cores, memory = patient.told(WARNING)
    assert (
        cores == "hosts: the hosts differ in cores: 2 hosts (load-2, load-3): 2 cores; host load-1: 16 cores"
    )
    assert memory == "hosts: the hosts differ in memory: from 8.59 GB to 68.7 GB"


def test_an_open_scheduler(patient: Patient) -> None:
    patient.examine(hosts="tcp://10.1.2.3:8786")
    assert "any code on all hosts" in patient.named("hosts", WARNING).message


@pytest.mark.parametrize(("seconds", "status"), [(0.2, WARNING), (1.5, FAILURE)])
def test_a_clock_that_is_not_known_well(patient: Patient, seconds: float, status: str) -> None:
    patient[2].there = seconds
    patient.examine()
    (check,) = patient.told(status)
    assert "its clock is known only to ±" in check
    assert patient.exam.hosts == ("load-1", "load-2", "load-3")


# ---- what goes wrong meanwhile


def test_a_host_that_is_locked(patient: Patient) -> None:
    patient[1].locked_by = Driving(run="other", since="12:01", by="ann on control")
    patient.examine()
    (failed,) = [each for each in patient.checks if each.status == FAILURE]
    assert failed.message == "it has been driving another run since 12:01 (by ann on control)"
    assert failed.hosts == ("load-1",)


def test_a_host_that_refuses(patient: Patient) -> None:
    patient[1].refusal = "--client-cert: cannot read it"
    patient.examine()
    assert patient.told(FAILURE) == ["hosts: --client-cert: cannot read it"]


def test_a_host_that_is_lost(patient: Patient) -> None:
    patient[1].prepare_seconds = 50.0
    patient.time.after(20.0, lambda: patient.fleet.lose(patient[1]))
    patient.examine()
    assert patient.told(FAILURE) == ["hosts: its Dask worker is gone"]
    assert patient.named("client", OK).hosts == ("load-2", "load-3")


def test_a_process_that_dies(patient: Patient) -> None:
    patient[1].prepare_seconds = 50.0

    def die() -> None:
        assert patient[1].process is not None
        patient[1].process.die()

    patient.time.after(20.0, die)
    patient.examine()
    assert patient.told(FAILURE) == ["hosts: the host process was killed by SIGKILL"]


def test_an_answer_that_does_not_fit(patient: Patient) -> None:
    def ready(order: FirstOrder) -> Any:
        assert patient[1].process is not None
        from lib.hosts.protocol import Ready

        return Ready(header=Scene().header(patient[1].process.share), folder="/tmp")

    patient[1].find = ready
    patient.examine()
    (failed,) = patient.told(FAILURE)
    assert "what it sent does not fit" in failed


def test_the_scheduler_is_lost(patient: Patient) -> None:
    for host in patient:
        host.prepare_seconds = 50.0
    patient.time.after(20.0, patient.fleet.lose_scheduler)
    patient.examine()
    assert patient.told(FAILURE) == ["hosts: the scheduler is gone"]
    for host in patient:
        host.gone = True  # they cannot be told


def test_the_scheduler_is_lost_before(patient: Patient) -> None:
    """While the clocks are read."""
    patient.time.after(0.01, patient.fleet.lose_scheduler)
    patient.examine()
    assert "clocks" not in {each.name for each in patient.checks}
    (failed,) = patient.told(FAILURE)
    assert failed.startswith("hosts: lost the scheduler (connection refused)")


@pytest.mark.parametrize("seconds", [0.0001, 0.1, 20.0])
def test_a_signal_ends_it_in_order(patient: Patient, seconds: float) -> None:
    patient[1].prepare_seconds = 50.0
    patient.time.after(seconds, lambda: patient.stop.request(15))
    with pytest.raises(Stopped):
        patient.examine()


@pytest.mark.parametrize("error", [RunError("cannot reach it"), UsageError("install it")])
def test_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RunError | UsageError) -> None:
    def connect(*_: object) -> Any:
        raise error

    patient = Patient(tmp_path)
    monkeypatch.setattr(patient, "_connect", connect)
    patient.examine()
    assert patient.told(FAILURE) == [f"hosts: {error}"]

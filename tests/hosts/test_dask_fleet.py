"""The fleet of a real Dask cluster: a scheduler and workers as processes on loopback, with and without TLS."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lib.errors import RunError, Stopped, UsageError
from lib.hosts.fleet import Answered, Heard, Joined, Left, SchedulerLost
from lib.hosts.protocol import (
    Begun,
    Bye,
    ClockRead,
    Disarm,
    Done,
    Failed,
    Hello,
    HostFacts,
    Lease,
    Pass,
    ReadClock,
)
from lib.options.hosts import DEFAULTS, parse_hosts
from tests.doubles.certificates import Authority, self_signed
from tests.support.hosts import LOCK, Cluster, Ear, begin, cluster
from tests.support.paths import ROOT
from tests.support.ports import free_port, refused_port, taken_port
from tests.support.processes import alive, children, descendants, read_file
from tests.support.programs import needs
from tests.support.waiting import SECONDS, wait_until

pytest.importorskip("distributed")
from lib.hosts import dask_fleet
from lib.hosts.dask_fleet import DaskFleet, local_fleet, open_fleet

STAND_IN = (sys.executable, "-m", "tests.doubles.host_process")
NAMES = ("a", "b", "c")


def use_stand_in(command: Sequence[str]) -> None:
    """Runs on a worker."""
    from lib.hosts import agent

    agent.COMMAND = command


@contextmanager
def fleet_of(address: str, run: str = "r", **options: Any) -> Iterator[Ear]:
    """A fleet whose agents start stand-ins for host processes."""
    hosts = parse_hosts({**DEFAULTS, "hosts": address, **options})
    assert hosts is not None
    fleet = open_fleet(hosts, run)
    try:
        yield Ear(fleet)
    finally:
        fleet.close()


def stand_in(ear: Ear) -> None:
    fleet = ear.fleet
    assert isinstance(fleet, DaskFleet)

    async def tell() -> None:
        await fleet._client.run(use_stand_in, STAND_IN)

    fleet._wait(tell())


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with three workers, for tests that leave it as it is."""
    with cluster(tmp_path_factory.mktemp("dask"), NAMES) as made:
        yield made


@pytest.fixture
def ear(dask: Cluster) -> Iterator[Ear]:
    with fleet_of(dask.address) as ear:
        ear.workers(3)
        stand_in(ear)
        yield ear


def test_it_knows_who_is_there(ear: Ear) -> None:
    addresses = ear.workers(3)
    assert set(addresses) == set(NAMES)
    assert {ear.take(Joined).name for _ in NAMES} == set(NAMES)
    facts = [ear.answer(address, Hello()) for address in addresses.values()]
    assert all(isinstance(each, HostFacts) for each in facts)
    assert isinstance(ear.fleet, DaskFleet)
    assert {each.distributed for each in facts if isinstance(each, HostFacts)} == {ear.fleet.version}
    assert ear.fleet.scheduler_version == ear.fleet.version
    assert len({each.machine for each in facts if isinstance(each, HostFacts)}) == 1


def test_the_clock_is_read_between_sending_and_receiving(ear: Ear) -> None:
    address = ear.workers(3)["a"]
    answered = ear.ask(address, ReadClock())
    assert isinstance(answered.answer, ClockRead)
    assert answered.sent <= answered.answer.monotonic <= answered.received


def say(text: str, dask_worker: Any = None) -> None:
    """Runs on a worker."""
    dask_worker.log_event("print", text)
    dask_worker.log_event("warn", text)


def test_the_terminal_stays_free_of_the_words_of_workers(ear: Ear, capfd: pytest.CaptureFixture[str]) -> None:
    address = ear.workers(3)["b"]
    fleet = ear.fleet
    assert isinstance(fleet, DaskFleet)

    async def let_it_speak() -> None:
        await fleet._client.run(say, "hello", workers=[address])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fleet._wait(let_it_speak())
        assert isinstance(ear.answer(address, begin("r")), Begun)
        assert ear.hear(address)["line"] == "ready"  # an event that came after those
    assert ear.answer(address, Bye("r")) == Done()
    assert capfd.readouterr() == ("", "")


def test_two_runs_one_after_the_other(ear: Ear, dask: Cluster) -> None:
    addresses = ear.workers(3)
    for run in ("first", "second"):
        with fleet_of(dask.address, run) as other:
            for name, address in addresses.items():
                begun = other.answer(address, begin(run, lock=f"{LOCK}-{name}"))
                assert isinstance(begun, Begun)
                heard = other.take(Heard, address=address)
                assert heard.incarnation == begun.incarnation
                assert other.answer(address, Pass(run=run, order=Lease(acked=0))) == Done()
                assert '\\"lease\\"' in other.take(Heard, address=address).line
            for address in addresses.values():
                assert other.answer(address, Bye(run)) == Done()
    assert not [each for each in ear.kept if isinstance(each, Heard)]  # those were of other runs


def test_long_messages_pass(ear: Ear) -> None:
    address = ear.workers(3)["a"]
    assert isinstance(ear.answer(address, begin("r", {"line": 3 << 20})), Begun)
    assert ear.hear(address)["line"] == "ready"
    assert len(ear.hear(address)["text"]) == 3 << 20
    assert ear.answer(address, Bye("r")) == Done()


def test_a_stopped_worker_delays_only_itself(ear: Ear, dask: Cluster) -> None:
    addresses = ear.workers(3)
    os.kill(dask.workers["a"].pid, signal.SIGSTOP)
    try:
        token = ear.fleet.ask(addresses["a"], ReadClock(), 1.0)
        assert isinstance(ear.answer(addresses["b"], ReadClock()), ClockRead)
        assert ear.take(Answered, token=token).error.startswith("no answer within 1s")
    finally:
        os.kill(dask.workers["a"].pid, signal.SIGCONT)
    assert isinstance(ear.answer(addresses["a"], ReadClock()), ClockRead)


def test_a_killed_worker_is_reported_and_takes_its_host_process_along(tmp_path: Path) -> None:
    with cluster(tmp_path, ("a", "b")) as dask, fleet_of(dask.address) as ear:
        addresses = ear.workers(2)
        stand_in(ear)
        assert isinstance(ear.answer(addresses["a"], begin("r")), Begun)
        assert ear.hear(addresses["a"])["line"] == "ready"
        (host_process,) = children(dask.workers["a"].pid)
        dask.workers["a"].kill()
        assert ear.take(Left).address == addresses["a"]
        wait_until(lambda: not alive(host_process))
        assert [each.name for each in ear.fleet.workers()] == ["b"]
        assert ear.ask(addresses["a"], ReadClock(), 5.0).answer is None


@pytest.mark.parametrize("who", ["worker", "scheduler"])
def test_a_host_process_ends_with_an_orderly_end(who: str, tmp_path: Path) -> None:
    """A worker that is told to end, or whose scheduler is, ends in order: the host process reads the end of stdin."""
    with cluster(tmp_path, ("a",)) as dask, fleet_of(dask.address) as ear:
        address = ear.workers(1)["a"]
        stand_in(ear)
        ear.fleet.hold([address])
        assert isinstance(ear.answer(address, begin("r")), Begun)
        assert ear.hear(address)["line"] == "ready"
        worker = dask.workers["a"]
        (host_process,) = children(worker.pid)
        (worker if who == "worker" else dask.scheduler).terminate()
        wait_until(lambda: not alive(host_process))
        worker.wait(SECONDS)
    log = dask.log.read_text()
    assert "Fatal Python error" not in log
    assert log.count("Run out-of-band function 'answer'") <= 1


def test_a_scheduler_that_is_killed_is_reported(tmp_path: Path) -> None:
    with cluster(tmp_path, ("a",)) as dask, fleet_of(dask.address) as ear:
        addresses = ear.workers(1)
        dask.scheduler.kill()
        assert ear.take(SchedulerLost).reason == "connection refused"
        assert ear.ask(addresses["a"], ReadClock(), 5.0).error == "lost the scheduler: connection refused"


def test_a_scheduler_that_ends_in_order_is_reported_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words make Dask's client believe that the connection is well, and try for long to reach it."""
    monkeypatch.setattr(dask_fleet, "_LOOK_SECONDS", 10 * SECONDS)
    with cluster(tmp_path) as dask, fleet_of(dask.address) as ear:
        fleet = ear.fleet
        assert isinstance(fleet, DaskFleet)

        async def look() -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(fleet, "_look", look)
        dask.scheduler.terminate()
        assert ear.take(SchedulerLost).reason == "connection refused"


def test_a_stream_that_the_scheduler_has_closed_is_broken(ear: Ear) -> None:
    fleet = ear.fleet
    assert isinstance(fleet, DaskFleet)

    async def look() -> None:
        client = fleet._client
        client._handle_report_task.cancel()  # so it does not connect again
        await client.scheduler_comm.comm.close()
        assert client.status == "running"
        await fleet._look()

    with pytest.raises(OSError, match="the connection is broken"):
        fleet._wait(look())


def test_a_request_ends_with_the_worker(tmp_path: Path) -> None:
    """Dask would wait for the answer of a worker that has never answered."""
    with cluster(tmp_path, ("a",)) as dask, fleet_of(dask.address) as ear:
        address = ear.workers(1)["a"]
        os.killpg(dask.workers["a"].pid, signal.SIGSTOP)
        token = ear.fleet.ask(address, Hello(), 10 * SECONDS)
        os.killpg(dask.workers["a"].pid, signal.SIGKILL)
        assert ear.take(Answered, token=token).error == "its Dask worker is gone"


@pytest.mark.parametrize("local", [False, True])
def test_a_signal_is_heeded_while_the_fleet_connects(
    local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(dask_fleet, "_CONNECT_SECONDS", 10 * SECONDS)
    calls = iter(range(3))

    def heed() -> None:
        if next(calls, None) is None:
            raise Stopped

    with taken_port() as port:
        address = "local:2" if local else f"tcp://127.0.0.1:{port}"
        hosts = parse_hosts({**DEFAULTS, "hosts": address})
        assert hosts is not None
        with pytest.raises(Stopped):
            open_fleet(hosts, "r", heed)
    assert list(tmp_path.iterdir()) == []
    assert not [each for each in threading.enumerate() if each.name == "hosts"]


def test_another_scheduler_at_the_same_address_is_reported(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "other").mkdir()
    words = ("--port", str(port))
    with cluster(tmp_path, scheduler=words) as dask, fleet_of(dask.address) as ear:
        assert isinstance(ear.fleet, DaskFleet)
        dask.scheduler.kill()
        dask.scheduler.wait()
        with cluster(tmp_path / "other", scheduler=words):
            reason = ear.take(SchedulerLost).reason
    assert reason in (f"another scheduler answers at {dask.address}", "connection refused")


def test_a_connection_that_breaks_comes_back(tmp_path: Path) -> None:
    with cluster(tmp_path, ("a",)) as dask, fleet_of(dask.address) as ear:
        address = ear.workers(1)["a"]
        stand_in(ear)
        fleet = ear.fleet
        assert isinstance(fleet, DaskFleet)
        fleet.hold([address])
        wait_until(lambda: fleet._held.get(address) is not None)
        before, stream = fleet._held[address], fleet._stream
        fleet._loop.call_soon_threadsafe(fleet._client.scheduler_comm.comm.abort)
        wait_until(lambda: fleet._stream is not stream and fleet._held[address] is not before)
        assert isinstance(ear.answer(address, begin("r")), Begun)
        assert ear.hear(address)["line"] == "ready"
        assert ear.answer(address, Bye("r")) == Done()
        assert not [each for each in ear.kept if isinstance(each, (Left, SchedulerLost))]


def test_a_load_is_not_started_again_under_a_nanny_with_a_fixed_port(tmp_path: Path) -> None:
    counter, port = tmp_path / "counter", str(free_port())
    with cluster(tmp_path) as dask, fleet_of(dask.address) as ear:
        dask.add("a", "--worker-port", port, nanny=True)
        address = ear.take(Joined).address
        stand_in(ear)
        ear.fleet.hold([address])
        assert isinstance(ear.answer(address, begin("r", {"counter": str(counter)})), Begun)
        assert ear.hear(address)["line"] == "ready"
        nanny = dask.workers["a"].pid
        (worker,) = [pid for pid in descendants(nanny) if set(children(pid))]
        os.kill(worker, signal.SIGKILL)
        ear.take(Left)
        ear.take(Joined, address=address)
        given = ear.answer(address, Pass(run="r", order=Disarm()))
        assert isinstance(given, Failed)
        assert given.ended
        assert isinstance(ear.answer(address, Hello()), HostFacts)
    assert len(counter.read_text().splitlines()) == 1


def is_idle(dask_scheduler: Any = None) -> bool:
    """Runs on a scheduler."""
    return dask_scheduler.check_idle() is not None


def test_a_held_cluster_does_not_look_idle(dask: Cluster, ear: Ear) -> None:
    async def looks_idle() -> bool:
        assert isinstance(ear.fleet, DaskFleet)
        return bool(await ear.fleet._client.run_on_scheduler(is_idle))

    def idle() -> bool:
        assert isinstance(ear.fleet, DaskFleet)
        return ear.fleet._wait(looks_idle())

    wait_until(idle)
    with fleet_of(dask.address) as other:
        other.fleet.hold([other.workers(3)["a"]])
        wait_until(lambda: not idle() and not idle())  # what has just happened makes it look busy once
        assert not idle()
    wait_until(idle)


# ---- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with TLS and one worker."""
    host = authority.issue("host")
    words = ("--tls-ca-file", str(authority.path), "--tls-cert", str(host.path), "--tls-key", str(host.key))
    with cluster(tmp_path_factory.mktemp("secure"), ("a",), tls=words) as made:
        yield made


def files(authority: Authority, name: str = "me") -> dict[str, Any]:
    own = authority.issue(name)
    return {"hosts_ca_file": authority.path, "hosts_cert": own.path, "hosts_key": own.key}


@needs("openssl")
def test_tls(secure: Cluster, authority: Authority) -> None:
    assert secure.address.startswith("tls://")
    with fleet_of(secure.address, **files(authority)) as ear:
        assert isinstance(ear.answer(ear.workers(1)["a"], Hello()), HostFacts)


def refusal(address: str, **options: Any) -> str:
    with pytest.raises(RunError) as raised, fleet_of(address, **options):
        pass
    start = f"cannot reach the hosts' scheduler {address}: "
    assert str(raised.value).startswith(start)
    return str(raised.value).removeprefix(start)


@needs("openssl")
def test_a_scheduler_of_another_authority(secure: Cluster, authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    own = files(authority)
    assert refusal(secure.address, **{**own, "hosts_ca_file": other.path}).startswith(
        "certificate signed by unknown authority"
    )
    stranger = files(other)
    assert refusal(secure.address, **{**stranger, "hosts_ca_file": authority.path}).startswith(
        "it does not accept the certificate of --hosts-cert"
    )


@needs("openssl")
def test_the_wrong_protocol(secure: Cluster, dask: Cluster, authority: Authority) -> None:
    plain = secure.address.replace("tls://", "tcp://")
    assert refusal(plain).startswith("it wants TLS; give tls:// in place of tcp://")
    encrypted = dask.address.replace("tcp://", "tls://")
    assert refusal(encrypted, **files(authority)) == "it does not use TLS; give tcp:// in place of tls://"


@needs("openssl")
def test_files_that_cannot_be_used(secure: Cluster, authority: Authority, tmp_path: Path) -> None:
    own, garbage = files(authority), tmp_path / "garbage"
    garbage.write_text("garbage")
    other = self_signed(tmp_path, "other")

    def told(**changed: Path) -> str:
        with pytest.raises(UsageError) as raised, fleet_of(secure.address, **{**own, **changed}):
            pass
        return str(raised.value)

    assert told(hosts_ca_file=garbage) == f"--hosts-ca-file: {garbage} holds no certificate in PEM"
    assert told(hosts_cert=garbage).startswith(f"--hosts-cert: {garbage} and ")
    assert "does not belong to the certificate" in told(hosts_key=other.key)
    with (
        pytest.raises(UsageError, match="needs --hosts-ca-file, --hosts-cert and --hosts-key"),
        fleet_of(secure.address),
    ):
        pass


# ---- who does not answer


def test_nobody_listens() -> None:
    with refused_port() as address:
        assert refusal(f"tcp://{address}") == "connection refused"


def test_a_name_that_is_not_known() -> None:
    assert refusal("tcp://nobody.invalid:8786") == "the name nobody.invalid is not known"


def test_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.hosts.dask_fleet._CONNECT_SECONDS", 0.5)
    with taken_port() as port:
        assert refusal(f"tcp://127.0.0.1:{port}") == "it does not answer as a Dask scheduler does"


def test_a_host_without_this_package(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is asked for a function of a package that it does not have."""
    missing = ModuleType("missing_lib.hosts.agent")
    exec("async def answer(text, dask_worker=None): pass", missing.__dict__)
    monkeypatch.setitem(sys.modules, "missing_lib", ModuleType("missing_lib"))
    monkeypatch.setitem(sys.modules, "missing_lib.hosts", ModuleType("missing_lib.hosts"))
    monkeypatch.setitem(sys.modules, missing.__name__, missing)
    monkeypatch.setattr(dask_fleet, "answer", missing.answer)
    monkeypatch.setattr(dask_fleet, "PACKAGE", "missing_lib")
    address = ear.workers(3)["a"]
    told = "it has no ocidriver; install it there (see docs/distributed.md)"
    assert ear.ask(address, Hello()).error == told
    monkeypatch.setattr(dask_fleet, "DISTRIBUTION", "pytest")
    assert ear.ask(address, Hello()).error.endswith(
        " installed, but this is a checkout; run the installed ocidriver"
    )


# ---- hosts on this machine


def listening(pid: int) -> set[str]:
    """The addresses on which a process listens."""
    inodes = {
        os.readlink(each).removeprefix("socket:[").rstrip("]")
        for each in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(each).startswith("socket:")
    }
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in inodes:
                found.add(words[1].partition(":")[0])
    return found


def test_hosts_on_this_machine() -> None:
    fleet = local_fleet(2, "r")
    try:
        ear = Ear(fleet)
        addresses = ear.workers(2)
        assert set(addresses) == {"local-1", "local-2"}
        assert isinstance(ear.answer(addresses["local-1"], Hello()), HostFacts)
        assert fleet.cluster is not None
        pids = [*fleet.cluster.pids, fleet.cluster.scheduler_pid]
        loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
        assert set().union(*map(listening, pids)) == {loopback}
        assert all(os.getsid(pid) == pid for pid in pids)
    finally:
        fleet.close()
    assert not any(map(alive, pids))


def test_hosts_on_this_machine_leave_nothing_if_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fleet = local_fleet(1, "r")
    try:
        ear = Ear(fleet)
        address = ear.workers(1)["local-1"]
        stand_in(ear)
        assert isinstance(ear.answer(address, begin("r")), Begun)
        assert ear.hear(address)["line"] == "ready"
        assert fleet.cluster is not None
        (worker,) = fleet.cluster.pids
        (host_process,) = children(worker)
        os.kill(worker, signal.SIGKILL)
        ear.take(Left)
        wait_until(lambda: not alive(host_process))
    finally:
        fleet.close()
    assert list(tmp_path.iterdir()) == []


def test_hosts_on_this_machine_end_with_the_driver() -> None:
    program = (
        "import sys, time; from lib.hosts.dask_fleet import local_fleet\n"
        "cluster = local_fleet(1, 'r').cluster\n"
        "print(cluster.scheduler_pid, *cluster.pids, flush=True); time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    pids = [int(word) for word in driver.stdout.readline().split()]
    assert len(pids) == 2
    driver.kill()
    driver.communicate()
    wait_until(
        lambda: not any(map(alive, pids)), describe=lambda: [read_file(pid, "cmdline") for pid in pids]
    )


# ---- the package


def test_nothing_of_distributed_is_imported_without_hosts() -> None:
    program = (
        "import sys, lib.cli, lib.run, lib.hosts.agent, lib.hosts.fleet\n"
        "print(*[name for name in sys.modules if name.partition('.')[0] in ('distributed', 'dask')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_without_the_package_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['distributed'] = None\n"
        "from lib.errors import UsageError\n"
        "try:\n import lib.hosts.dask_fleet\n"
        "except UsageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    install = f"{sys.executable} -m pip install -r {ROOT}/requirements-distributed.txt"
    assert done.stdout == f"--hosts needs the package distributed; to install it, run {install}\n"

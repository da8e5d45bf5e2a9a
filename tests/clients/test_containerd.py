"""Whole runs with `--client ctr`: what they pull, what they leave in containerd and on this machine, how they stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lib.lab.populate import Population, populate
from lib.lab.servers import Server, crane_registry, docker_registry, lab_cache
from tests.support.containerd import (
    NOTHING,
    Daemon,
    check_nothing_left,
    containerd,
    home_of,
    processes_of,
    socket_of,
)
from tests.support.doctor import doctor, messages
from tests.support.driving import (
    Ended,
    command,
    drive,
    files,
    finish,
    read,
    start,
    wait_for_log,
    wait_for_outcomes,
)
from tests.support.images import push
from tests.support.processes import read_file
from tests.support.programs import needs, or_skip
from tests.support.running import run
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

pytestmark = needs("ctr", "containerd")
POPULATION = Population(groups=2, images=3, layers=2, layer_size=1024, seed=50)
MANIFEST = "/manifests/"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with containerd() as running:
        yield running


@pytest.fixture(scope="module")
def cache(upstream: Upstream) -> Iterator[Server]:
    with lab_cache(upstream.address) as server:
        yield server


@pytest.fixture(scope="module")
def hanging(upstream: Upstream) -> Iterator[Server]:
    """A cache that sends manifests, and no layer."""
    with lab_cache(upstream.address, "--fault=blob-hang") as server:
        yield server


def servers(cache: Server, upstream: Upstream) -> list[str]:
    return [f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--client=ctr"]


def test_a_run_pulls_everything_and_leaves_nothing(
    cache: Server, upstream: Upstream, temporary: dict[str, str], tmp_path: Path
) -> None:
    ended = drive(
        tmp_path,
        *servers(cache, upstream),
        "--patterns=-0001,-0002,-0003",
        "--passes=2",
        environment=temporary,
    )
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    ended.check_accounts()
    assert (ended.summary["pulled"], ended.summary["failed"], ended.summary["retried"]) == (24, 0, 0)
    assert ended.summary["client"]["name"] == "ctr"
    assert f"by mirror: ctr asks it as a mirror of '{upstream.address}'" in ended.log
    assert ended.summary["client_cpu_seconds"] > 0
    check_nothing_left(ended)


def test_containerd_lies_in_memory_unless_the_user_names_a_place(
    cache: Server, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    free = os.statvfs("/dev/shm")
    ended = drive(tmp_path, *servers(cache, upstream), "--patterns=-0001", "--passes=1")
    assert (ended.status, ended.stderr) == (0, "")
    memory = free.f_bavail * free.f_frsize >= 2 << 30
    assert home_of(ended.log).parent == Path("/dev/shm" if memory else "/tmp")
    check_nothing_left(ended)
    short = Path(run("mktemp", "-d").stdout.strip())
    (tmp_path / "own").mkdir()
    ended = drive(
        tmp_path / "own", *servers(cache, upstream), "--patterns=-0001", "--passes=1",
        environment={"TMPDIR": str(short)},
    )  # fmt: skip
    assert (ended.status, home_of(ended.log).parent) == (0, short)
    short.rmdir()


def test_a_temporary_folder_with_a_long_path(cache: Server, upstream: Upstream, tmp_path: Path) -> None:
    """The path of a socket may not be that long, so containerd lies elsewhere."""
    long = tmp_path / ("x" * 120)
    long.mkdir()
    ended = drive(
        tmp_path,
        *servers(cache, upstream),
        "--patterns=-0001",
        "--passes=1",
        environment={"TMPDIR": str(long)},
    )
    assert (ended.status, ended.stderr) == (0, "")
    assert home_of(ended.log).parent == Path("/tmp")
    check_nothing_left(ended)
    assert list(long.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_nobody_in_particular_can_run_it(cache: Server, upstream: Upstream, tmp_path: Path) -> None:
    anybodys = Path(run("mktemp", "-d").stdout.strip())
    anybodys.chmod(0o777)
    become = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    # it has to read the checkout, wherever that is
    may_read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    words = command(*files(anybodys), *servers(cache, upstream), "--patterns=-0001", "--passes=2")
    done = run(*become, *may_read, *words, environment={"HOME": "/nonexistent"})
    ended = read(anybodys, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.stderr) == (0, "")
    assert (ended.summary["pulled"], ended.summary["failed"]) == (8, 0)
    check_nothing_left(ended)
    run("rm", "-r", anybodys)


def stop(running: subprocess.Popen[str], folder: Path, numbers: tuple[signal.Signals, ...]) -> Ended:
    """Sends the signals, each when the log tells of the one before."""
    for number in numbers:
        running.send_signal(number)
        wait_until(lambda: "stop" in read(folder, 0, partial=True).log or running.poll() is not None)
    return finish(running, folder)


STOPS = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGTERM twice": (signal.SIGTERM, signal.SIGTERM),
}


def start_hanging(
    folder: Path, hanging: Server, upstream: Upstream, *options: str, **variables: str
) -> subprocess.Popen[str]:
    """A run whose clients are all in the middle of a pull."""
    running = start(
        folder, *servers(hanging, upstream), "--patterns=-0001,-0002", "--passes=1", "--grace=1", *options,
        environment=variables,
    )  # fmt: skip
    wait_for_log(folder, "start worker 1")
    socket = socket_of(wait_for_log(folder, "--address"))
    wait_until(lambda: len(namespaces_of(running, socket)) == 2)
    return running


def namespaces_of(running: subprocess.Popen[str], socket: str) -> set[str]:
    """Those in which the clients of this run have written something."""
    words = ("namespaces", "ls", "-q")
    return {
        name for name in run("ctr", "--address", socket, *words).stdout.split() if f"-{running.pid}-" in name
    }


@pytest.mark.parametrize("which", STOPS)
def test_a_stop_in_the_middle_of_a_pull_leaves_nothing(
    which: str, hanging: Server, upstream: Upstream, temporary: dict[str, str], tmp_path: Path
) -> None:
    running = start_hanging(tmp_path, hanging, upstream, **temporary)
    ended = stop(running, tmp_path, STOPS[which])
    assert ended.status == 128 + STOPS[which][0]
    ended.check_accounts()
    assert ended.summary["interrupted_pulls"] == 2
    assert ended.summary["failed"] == 0
    check_nothing_left(ended)


def test_the_guard_ends_containerd_when_the_driver_is_killed(
    hanging: Server, upstream: Upstream, temporary: dict[str, str], tmp_path: Path
) -> None:
    """And removes the folder of the run, and that of containerd."""
    running = start_hanging(tmp_path, hanging, upstream, **temporary)
    home = home_of((tmp_path / "log").read_text())
    assert len(processes_of(home)) == 3
    running.kill()
    running.communicate(timeout=60)
    wait_until(lambda: not processes_of(home))
    wait_until(lambda: not home.exists())
    wait_until(lambda: not list(Path(temporary["TMPDIR"]).iterdir()))


def test_a_cache_that_hangs_is_a_timeout_and_the_worker_goes_on(upstream: Upstream, tmp_path: Path) -> None:
    with lab_cache(upstream.address, "--fault=blob-hang:2x") as cache:
        ended = drive(
            tmp_path,
            *servers(cache, upstream),
            "--patterns=-0001",
            "--passes=3",
            "--pull-timeout=3",
            "--keep-going",
        )
    assert ended.status == 0
    ended.check_accounts()
    assert set(ended.summary["errors"]) == {"timeout"}
    assert ended.summary["pulled"] + ended.summary["failed"] == 12
    assert ended.outcomes()[-1] == "ok"
    check_nothing_left(ended)


def test_a_cache_that_is_killed_is_refused_and_the_upstream_is_not_asked(tmp_path: Path) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(or_skip(docker_registry()))
        asyncio.run(populate(upstream.url, POPULATION))
        cache = stack.enter_context(lab_cache(upstream.address))
        running = start(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", "--client=ctr",
            "--workers=1", "--iteration-seconds=60",
        )  # fmt: skip
        wait_for_outcomes(tmp_path, "ok", 12)
        os.kill(cache.pid, signal.SIGKILL)
        wait_for_outcomes(tmp_path, "failed", 1)
        asked = upstream.log_path.read_bytes().count(b'"GET /v2/') + upstream.log_path.read_bytes().count(
            b'"HEAD /v2/'
        )
        wait_for_outcomes(tmp_path, "failed", 8)
        running.send_signal(signal.SIGTERM)
        ended = finish(running, tmp_path)
        log = upstream.log_path.read_bytes()
        assert log.count(b'"GET /v2/') + log.count(b'"HEAD /v2/') == asked
    ended.check_accounts()
    assert ended.summary["errors"].keys() <= {"refused", "reset"}
    assert ended.summary["errors"]["refused"] >= 6
    assert b"containerd/" not in log
    check_nothing_left(ended)


def test_an_index_without_this_platform(upstream: Upstream, tmp_path: Path) -> None:
    """ctr itself ends well, with the index alone."""
    with crane_registry() as server:
        platforms = ("linux/amd64", "linux/arm64")
        asyncio.run(
            populate(
                server.url, Population(groups=1, images=2, layers=1, layer_size=1024, platforms=platforms)
            )
        )
        with lab_cache(server.address) as cache:
            words = [
                f"--pullthrough-url={cache.address}",
                f"--registry-url={server.address}",
                "--client=ctr",
                "--patterns=.",
            ]
            there = drive(tmp_path, *words, "--platform=linux/arm64", "--passes=2")
            (tmp_path / "absent").mkdir()
            absent = drive(
                tmp_path / "absent", *words, "--platform=linux/s390x", "--passes=2", "--keep-going"
            )
    assert (there.status, there.stderr, there.summary["pulled"]) == (0, "", 4)
    assert absent.summary["errors"] == {"no-platform": 4}
    absent.check_accounts()
    assert "the index has no image for this platform" in absent.log
    for ended in (there, absent):
        check_nothing_left(ended)


def test_an_image_of_many_layers_is_pulled_whole(upstream: Upstream, tmp_path: Path) -> None:
    """Each layer is asked for in each pass, although ctr writes more about it than the driver keeps."""
    with or_skip(docker_registry()) as server:
        pushed = push(server.address, "many/layers-0001", "v1", *(f"layer {k}".encode() for k in range(70)))
        since = server.log_path.stat().st_size
        ended = drive(
            tmp_path, f"--pullthrough-url={server.address}", f"--registry-url={server.address}", "--layout=direct",
            "--client=ctr", "--patterns=.", "--passes=2",
        )  # fmt: skip
        log = server.log_path.read_bytes()[since:].decode()
    assert (ended.status, ended.stderr) == (0, "")
    assert (ended.summary["pulled"], ended.summary["retried"]) == (2, 0)
    gets = Counter(
        line.split('"GET ')[1].split()[0]
        for line in log.splitlines()
        if '"GET /v2/many/layers-0001/blobs' in line
    )
    assert {path.rpartition("/")[2] for path in gets} == set(pushed.blobs)
    assert set(gets.values()) == {2}


# --- a containerd of the user's


def test_in_the_users_containerd_nothing_is_left(
    daemon: Daemon, cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    ended = drive(
        tmp_path, *servers(cache, upstream), f"--containerd-socket={daemon.socket}", "--patterns=-0001,-0002",
        "--passes=2",
    )  # fmt: skip
    assert (ended.status, ended.stderr, ended.summary["pulled"]) == (0, "", 16)
    ended.check_accounts()
    assert daemon.holds() == NOTHING
    assert daemon.process.poll() is None


@pytest.mark.parametrize("which", STOPS)
def test_nor_after_a_stop_in_the_middle_of_a_pull(
    which: str, daemon: Daemon, hanging: Server, upstream: Upstream, tmp_path: Path
) -> None:
    running = start_hanging(tmp_path, hanging, upstream, f"--containerd-socket={daemon.socket}")
    ended = stop(running, tmp_path, STOPS[which])
    assert ended.summary["interrupted_pulls"] == 2
    assert daemon.holds() == NOTHING


def test_the_user_is_warned_of_what_a_containerd_that_has_gone_may_keep(
    hanging: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with containerd() as daemon:
        running = start_hanging(tmp_path, hanging, upstream, f"--containerd-socket={daemon.socket}")
        daemon.process.kill()
        daemon.process.wait()
        for _ in range(2):
            running.send_signal(signal.SIGTERM)
        ended = finish(running, tmp_path)
    ended.check_accounts()
    assert ended.status == 143
    (warning,) = ended.stderr.splitlines()
    assert "does not remove the namespaces of this run; the next run on this machine removes them" in warning


def test_the_next_run_removes_what_a_killed_run_left_and_leaves_a_living_one_alone(
    daemon: Daemon, hanging: Server, cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("killed", "alive", "next")]
    for folder in folders:
        folder.mkdir()
    at = f"--containerd-socket={daemon.socket}"
    killed = start_hanging(folders[0], hanging, upstream, at)
    killed.kill()
    killed.communicate(timeout=60)
    dead = namespaces_of(killed, daemon.socket)
    assert len(dead) == 2
    daemon.run("namespaces", "create", "ocidriver-of-somebody-else")
    alive = start_hanging(folders[1], hanging, upstream, at)
    mine = namespaces_of(alive, daemon.socket)
    assert len(mine) == 2
    ended = drive(folders[2], *servers(cache, upstream), at, "--patterns=-0001", "--passes=1")
    assert (ended.status, ended.stderr) == (0, "")
    assert set(daemon.namespaces()) == {*mine, "ocidriver-of-somebody-else"}
    assert alive.poll() is None
    stop(alive, folders[1], (signal.SIGTERM, signal.SIGTERM))
    daemon.run("namespaces", "rm", "ocidriver-of-somebody-else")
    assert daemon.holds() == NOTHING


def test_a_containerd_that_shares_layers_is_told_once(
    cache: Server, upstream: Upstream, tmp_path: Path
) -> None:
    with containerd("shared") as node:
        for image in upstream.images:
            node.run("content", "fetch", "--plain-http", f"{upstream.address}/{image}", namespace="k8s.io")
        before = node.run("content", "ls", "-q", namespace="k8s.io")
        ended = drive(
            tmp_path, *servers(cache, upstream), f"--containerd-socket={node.socket}", "--patterns=-0001,-0002",
            "--passes=2",
        )  # fmt: skip
        assert node.namespaces() == ["k8s.io"]
        assert set(node.run("content", "ls", "-q", namespace="k8s.io")) == set(before)
    assert (ended.status, ended.summary["pulled"], ended.summary["failed"]) == (0, 16, 0)
    ended.check_accounts()
    assert ended.stderr.count("\n") == 1
    assert f"containerd at {node.socket} already holds layers, and does not pull them again" in ended.stderr
    assert 'content_sharing_policy = "isolated"' in ended.stderr


# --- what ends in one line


def one_line(folder: Path, *options: str, **environment: str) -> str:
    nobody = ("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--image-list=-", "--workers=1")
    (folder / "docker").mkdir(exist_ok=True)
    ended = drive(
        folder,
        *nobody,
        *options,
        environment={"DOCKER_CONFIG": str(folder / "docker"), **environment},
        stdin="a/b:v1\n",
    )
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.events == ()
    return ended.stderr


@pytest.fixture
def nobody_pings(upstream: Upstream) -> list[str]:
    """Options of a run whose servers answer."""
    return [f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}", "--layout=direct"]


def test_without_containerd(nobody_pings: list[str], ctr: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ctr").symlink_to(ctr)
    client = f"--client={tmp_path}/bin/ctr"
    told = one_line(tmp_path, *nobody_pings, client, PATH=str(tmp_path / "bin"))
    assert "ctr needs containerd, which was not found on PATH: install the package containerd" in told
    assert "--containerd-socket" in told


def test_a_containerd_that_does_not_start(nobody_pings: list[str], ctr: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ctr").symlink_to(ctr)
    (tmp_path / "bin" / "containerd").write_text(
        "#!/bin/sh\necho 'containerd: this does not work' >&2\nexit 3\n"
    )
    (tmp_path / "bin" / "containerd").chmod(0o755)
    told = one_line(tmp_path, *nobody_pings, f"--client={tmp_path}/bin/ctr")
    assert "containerd' ended with status 3: containerd: this does not work" in told


def test_a_socket_that_is_not_there_or_refuses(nobody_pings: list[str], tmp_path: Path) -> None:
    for name in ("absent", "file"):
        path = tmp_path / name
        if name == "file":
            path.touch()
        told = one_line(tmp_path, *nobody_pings, "--client=ctr", f"--containerd-socket={path}")
        assert f"--containerd-socket: containerd does not answer at {path} (" in told
        assert told.endswith("); start it, or leave out the option\n")


def test_options_that_do_not_fit(nobody_pings: list[str], crane: str, tmp_path: Path) -> None:
    told = one_line(tmp_path, *nobody_pings, "--client=ctr", "--batch=2")
    assert told == "ocidriver: --batch: ctr pulls one image per launch; leave out the option\n"
    told = one_line(tmp_path, *nobody_pings, f"--client={crane}", "--containerd-socket=/run/x.sock")
    assert told == (
        "ocidriver: --containerd-socket: crane does not use containerd; leave it out, or use --client ctr\n"
    )


# --- the other commands and loads


def test_doctor_with_ctr(upstream: Upstream) -> None:
    with lab_cache(upstream.address) as cache, tempfile.TemporaryDirectory(dir="/tmp") as own:
        status, checks, recommended = doctor(
            *servers(cache, upstream),
            "--patterns=-0001",
            "--prune",
            environment={**os.environ, "TMPDIR": own},
        )
        assert not processes_of(Path(own))
        assert not list(Path(own).iterdir())
    assert status == 0, checks
    told = messages(checks)
    assert "ctr" in told["client"]
    assert "was pruned by Ociregistry's admin API (/cmd/prune) and is gone" in told["prune"]
    assert "--client=ctr" in recommended


def test_calibrate_with_ctr_tries_one_image_per_launch_alone() -> None:
    done = run(*command("calibrate", "--client=ctr", "--seconds=1", "--workers=1"))
    assert done.returncode == 0, done.stderr
    assert "Recommended: --batch 1 (" in done.stdout
    assert done.stderr.count("--batch") == 1
    done = run(*command("calibrate", "--client=ctr", "--seconds=1", "--workers=1", "--batch=2,5"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "calibrate --batch: ctr pulls one image per launch; leave out the option" in done.stderr


def test_the_lab_with_ctr(tmp_path: Path) -> None:
    words = (
        "--groups=1",
        "--images=2",
        "--layers=1",
        "--layer-size=1KiB",
        "--",
        "--client=ctr",
        "--workers=1",
        "--passes=2",
    )
    done = run(*command("lab", *words, *files(tmp_path)))
    ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert ended.status == 0, done.stderr
    assert (ended.summary["pulled"], ended.summary["failed"]) == (4, 0)
    check_nothing_left(ended)


@pytest.mark.parametrize(
    "load",
    [
        ("--workers=3", "--iteration-seconds=0.3", "--passes=1"),
        ("--rate=5", "--iteration-seconds=0.5", "--workers=2"),
        ("--patterns=-0001,-0002", "--passes=1", "--shuffle"),
    ],
)
def test_other_loads(load: tuple[str, ...], cache: Server, upstream: Upstream, tmp_path: Path) -> None:
    ended = drive(tmp_path, *servers(cache, upstream), *load)
    assert (ended.status, ended.stderr, ended.summary["failed"]) == (0, "", 0)
    assert ended.summary["pulled"] > 0
    ended.check_accounts()
    check_nothing_left(ended)


# --- prunes


@pytest.mark.parametrize("way", ["Ociregistry's admin API (/cmd/prune)", "HTTP DELETE"])
def test_prunes(way: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(or_skip(docker_registry()))
        images = asyncio.run(populate(upstream.url, POPULATION))
        if way == "HTTP DELETE":
            server = stack.enter_context(or_skip(docker_registry()))
            asyncio.run(populate(server.url, POPULATION))
            layout, passes = ["--layout=distribution", "--keep-going"], 1
        else:
            server = stack.enter_context(lab_cache(upstream.address))
            layout, passes = [], 2
        ended = drive(
            tmp_path, f"--pullthrough-url={server.address}", f"--registry-url={upstream.address}", "--client=ctr",
            *layout, "--patterns=.", "--prune", f"--passes={passes}",
        )  # fmt: skip
        deletes = server.log_path.read_text().count('"DELETE /v2/')
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert f"prune by {way}" in ended.log
    assert ended.summary["pulled"] == ended.summary["pruned"] == passes * len(images)
    # the way is tried out before, with a name that does not exist
    assert (deletes >= len(images)) == (way == "HTTP DELETE")
    check_nothing_left(ended)


def test_a_containerd_that_ends_in_mid_run(cache: Server, upstream: Upstream, tmp_path: Path) -> None:
    """Each further pull fails by the client's fault; the run ends and leaves nothing.

    A ctr that is in the middle of some calls waits for containerd to come back, until its time is over.
    """
    running = start(
        tmp_path, *servers(cache, upstream), "--patterns=-0001", "--iteration-seconds=60", "--keep-going",
        "--pull-timeout=20",
    )  # fmt: skip
    wait_for_outcomes(tmp_path, "ok", 3)
    home = home_of((tmp_path / "log").read_text())
    (daemon,) = (pid for pid in processes_of(home) if b"--config" in read_file(pid, "cmdline"))
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: any(event["class"] == "client" for event in read(tmp_path, 0, partial=True).events))
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    ended.check_accounts()
    assert {"client"} <= set(ended.summary["errors"]) <= {"client", "timeout"}
    check_nothing_left(ended)

"""Faults of the machine that the driver runs on: told once, counting goes on where it can, the exit status says so.

The limits are the kernel's own, set by prlimit before the driver or the client starts.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lib.processes.limits import of_this_machine
from tests.doubles.fake_crane import install, open_gate, wait_for_launches
from tests.support.driving import (
    Ended,
    between_nobody,
    command,
    drive,
    files,
    finish,
    left_running,
    read,
    start,
    wait_for_outcomes,
)
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

NOBODY_ELSE = 64_999  # a user id without processes: the limit counts all that a user has
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
QUIET_CLIENT = '#!/bin/sh\n[ "$1" = version ] && echo v0.0.1\nexit 0\n'
FILES = ("metrics", "log", "events")


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that every user may write to; pytest's own are for one."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


def options(client: Path, *images: str, workers: int = 1, step: float = 0.4) -> list[str]:
    """A run over these images, with nobody listening at either end."""
    return [*between_nobody(client, images, step), f"--workers={workers}"]


def work(client: Path, *images: str, passes: int = 3) -> list[str]:
    """The same with one worker, which makes these passes."""
    return [*options(client, *images), f"--passes={passes}"]


def through(upstream: Upstream, client: object) -> list[str]:
    """A run of a real client, straight from the upstream, that pulls four images once."""
    return [
        "--pullthrough-url=127.0.0.1:1", f"--registry-url={upstream.url}", "--layout=direct", "--patterns=-0001",
        f"--client={client}", "--passes=1", "--tally-seconds=0.25", "--keep-going",
    ]  # fmt: skip


def limited(
    prefix: Sequence[str], folder: Path, words: Sequence[str], environment: Mapping[str, str]
) -> Ended:
    """Run it under the limits that the prefix sets, without `make coverage`, which would meet them as well."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [*prefix, *command(*files(folder), *words)],
        capture_output=True, text=True, timeout=2 * SECONDS, check=False, env={**env, **environment},
    )  # fmt: skip
    return read(folder, done.returncode, done.stdout, done.stderr)


def under(limit: str, client: str, folder: Path) -> Path:
    """The client, with its pulls under this limit."""
    return starved(f"prlimit {limit}", client, folder)


# --- no space


@pytest.mark.parametrize("full", FILES)
def test_a_full_disk_for_one_of_the_files(full: str, client: Path, tmp_path: Path) -> None:
    words = [word for word in files(tmp_path) if full not in word]
    done = subprocess.run(
        command(*work(client, "ok/app:1"), *words, f"--{full}-file=/dev/full"),
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    ended = read(tmp_path, done.returncode, done.stdout, done.stderr)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        f"ocidriver: warning: cannot write the {full} to /dev/full: No space left on device; "
        "the test goes on without it",
        f"ocidriver: not all output was written ({full}: No space left on device)",
    ]
    assert ended.summary["pulled"] == 3
    assert full == "events" or len(ended.events) == ended.summary["pulled"]


def test_a_full_disk_for_the_summary(client: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(*files(tmp_path)[:2], *work(client, "ok/app:1"), "--summary-file=/dev/full"),
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = "ocidriver: cannot write the summary to /dev/full: No space left on device\n"
    assert (done.stdout.count("tested "), done.stderr) == (1, told)


def test_a_full_disk_for_the_result(client: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*files(tmp_path), *work(client, "ok/app:1")),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    told = "ocidriver: not all output was written (result: No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_a_disk_that_fills_in_mid_run(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    client.write_text(QUIET_CLIENT)
    words = work(client, "ok/app:1", passes=200)
    ended = limited(["prlimit", "--fsize=20000"], tmp_path, words, temporary)
    assert ended.status == 1
    place = f"the events to {tmp_path}/events"
    assert ended.stderr.splitlines() == [
        f"ocidriver: warning: cannot write {place}: File too large; the test goes on without it",
        "ocidriver: not all output was written (events: File too large)",
    ]
    assert ended.summary["pulled"] == 200
    assert 50 < len(ended.events) < 200
    assert (tmp_path / "events").read_text().endswith("}\n")


def test_a_summary_larger_than_the_space_left(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    client.write_text(QUIET_CLIENT)
    (tmp_path / "summary.json").write_text("{}")
    ended = limited(["prlimit", "--fsize=2000"], tmp_path, work(client, "ok/app:1"), temporary)
    assert ended.status == 1
    assert f"cannot write the summary to {tmp_path}/summary.json: File too large\n" in ended.stderr
    assert ended.summary == {}  # the one that was there, and nothing beside it
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_no_space_for_a_clients_temporary_files(
    skopeo: str, upstream: Upstream, tmp_path: Path, temporary: dict[str, str]
) -> None:
    client = under("--fsize=100", skopeo, tmp_path)
    ended = drive(tmp_path, *through(upstream, client), environment=temporary)
    assert ended.status == 1
    ended.check_accounts()
    assert ended.summary["errors"] == {"disk": 4}
    assert "of them with disk; see the log" in ended.stderr
    assert "file too large" in ended.log


# --- places that cannot be written to, or are gone


@pytest.mark.parametrize("name", [*FILES, "summary", "report"])
def test_a_place_that_cannot_be_written_to(name: str, client: Path, tmp_path: Path) -> None:
    words = [word for word in files(tmp_path) if name not in word]
    done = subprocess.run(
        command(*words, *options(client, "ok/app:1"), f"--{name}-file={client}/below"),
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    told = f"ocidriver: --{name}-file: cannot write {client}/below: "
    advice = "name a file in a folder that you may write to\n"
    assert done.stderr in (f"{told}Not a directory; {advice}", f"{told}File exists; {advice}")
    assert not (client.parent / "launches").exists()


def test_no_place_for_temporary_files(client: Path, tmp_path: Path) -> None:
    """No file can grow, so none of the usual places will do."""
    ended = limited(["prlimit", "--fsize=0"], tmp_path, options(client, "ok/app:1"), {})
    assert ended.status == 1
    assert "ocidriver: cannot make a temporary folder: No usable temporary directory found" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_temporary_files_that_vanish(
    skopeo: str, upstream: Upstream, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """As where a machine tidies up; the driver's folder holds what the clients need. The first pull removes it."""
    client = tmp_path / "skopeo"
    client.write_text(
        f'#!/bin/sh\n{skopeo} "$@"\nstatus=$?\n'
        f'case "$*" in version|--version) ;; *) rm -rf {temporary["TMPDIR"]}/* ;; esac\nexit $status\n'
    )
    client.chmod(0o755)
    ended = drive(tmp_path, *through(upstream, client), environment=temporary)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert ended.outcomes() == ["ok", "failed", "failed", "failed"]
    assert ended.summary["errors"] == {"client": 3}


# --- limits


def test_too_few_descriptors_for_any_run(client: Path, tmp_path: Path) -> None:
    ended = limited(["prlimit", "--nofile=24"], tmp_path, options(client, "ok/app:1"), {})
    told = "only 24 open files are allowed, too few for a run; raise the limit (ulimit -n) to 32 or more"
    assert (ended.status, ended.stdout, ended.stderr) == (1, "", f"ocidriver: {told}\n")


def test_too_few_descriptors_for_all_workers(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    images = [f"slow/app-{number}:1" for number in range(20)]
    words = [*options(client, *images, workers=20, step=0.001), "--passes=3"]
    ended = limited(["prlimit", "--nofile=34"], tmp_path, words, temporary)
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    assert set(ended.summary["errors"]) == {"client"}
    assert (
        "client: cannot start the client: Too many open files; is a limit too low (ulimit -n)?" in ended.log
    )


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6, 8])
def test_too_few_processes(processes: int, anybodys: Path) -> None:
    """Counted are threads too. Wherever it stops, one line tells of the limit."""
    images = [f"ok/app-{number}:1" for number in range(6)]
    words = options(install(anybodys), *images, workers=6, step=0.1)
    ended = limited(few_processes(processes), anybodys, words, {"TMPDIR": str(anybodys)})
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1
    assert "ulimit -" in ended.stderr or "Resource temporarily unavailable" in ended.stderr
    assert "Traceback" not in ended.log
    ended.check_accounts()
    assert not [path for path in anybodys.iterdir() if path.is_dir()]
    assert left_running(anybodys) == []


def few_processes(count: int) -> list[str]:
    """root has no such limit, so another user runs it, who may read what root may."""
    if os.geteuid() != 0:
        mine = [path for path in Path("/proc").glob("[0-9]*/task/*") if _owner(path) == os.geteuid()]
        return ["prlimit", f"--nproc={len(mine) + count}"]
    return [
        *("setpriv", f"--reuid={NOBODY_ELSE}", "--clear-groups"),
        *("--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override", "prlimit", f"--nproc={count}"),
    ]


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def test_too_little_memory_for_the_driver(client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    """The stacks of threads do not fit."""
    images = [f"ok/app-{number}:1" for number in range(60)]
    words = options(client, *images, workers=60, step=0.05)
    ended = limited(["prlimit", f"--as={400 << 20}"], tmp_path, words, temporary)
    assert ended.status == 1
    assert ended.stderr.count("\n") == 1
    assert "can't start new thread; raise the limit" in ended.stderr
    ended.check_accounts()


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_too_little_memory_for_a_client(
    client: str, request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path
) -> None:
    path = under("--as=100000000", request.getfixturevalue(client), tmp_path)
    ended = drive(tmp_path, *through(upstream, path))
    assert ended.status == 1
    ended.check_accounts()
    assert ended.summary["errors"] == {"client": 4}
    assert re.search(
        r"failed: client: fatal error: .*; is a limit too low \(ulimit -v, memory.max\)\?", ended.log
    )


STARVED = {
    "open files": ("prlimit --nofile=5", "ulimit -n"),
    "memory": ("prlimit --as=100000000", "ulimit -v, memory.max"),
    "processes": (
        f"setpriv --reuid={NOBODY_ELSE} --clear-groups --inh-caps=-all,+dac_override --ambient-caps=+dac_override "
        "prlimit --nproc=3",
        "ulimit -u, pids.max",
    ),
}


@pytest.mark.parametrize("limit", STARVED)
@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_a_client_that_a_limit_starves(
    client: str, limit: str, request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path
) -> None:
    prefix, named = STARVED[limit]
    if "setpriv" in prefix and os.geteuid() != 0:
        pytest.skip("only root can be another user")
    ended = drive(tmp_path, *through(upstream, starved(prefix, request.getfixturevalue(client), tmp_path)))
    assert ended.status == 1
    ended.check_accounts()
    assert ended.summary["errors"] == {"client": 4}
    assert ended.log.count(f"; is a limit too low ({named})?\n") == 4


@pytest.fixture
def few_pids() -> Iterator[Path]:
    """A cgroup that allows three processes and threads."""
    folder = Path(f"/sys/fs/cgroup/pids/ocidriver-test-{os.getpid()}")
    try:
        folder.mkdir()
        (folder / "pids.max").write_text("3")
    except OSError as error:
        pytest.skip(f"no cgroups of version 1 here: {error}")
    yield folder
    wait_until(lambda: (folder / "tasks").read_text() == "")
    folder.rmdir()


@pytest.mark.parametrize("client", ["crane", "skopeo"])
def test_a_client_that_its_cgroup_starves(
    client: str, few_pids: Path, request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path
) -> None:
    prefix = f"sh -c 'echo $$ >{few_pids}/tasks; exec \"$@\"' sh"
    ended = drive(tmp_path, *through(upstream, starved(prefix, request.getfixturevalue(client), tmp_path)))
    assert ended.summary["errors"] == {"client": 4}
    assert ended.log.count("; is a limit too low (ulimit -u, pids.max)?\n") == 4


def starved(prefix: str, client: str, folder: Path) -> Path:
    """The client, with its pulls behind this prefix, which sets a limit."""
    path = folder / Path(client).name
    path.write_text(
        "#!/bin/sh\n"
        f'case "$*" in version|--version) exec {client} "$@" ;; esac\n'
        f'exec {prefix} {client} "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            r"Too many open files; is a limit too low \(ulimit -n\)",
        ),
        (OSError(errno.EIO, "Input/output error"), "Input/output error$"),
        (MemoryError(), "out of memory; free memory, or give fewer workers$"),
        (
            RuntimeError("can't start new thread"),
            r"no thread can be started; is a limit too low \(ulimit -u, -v\)",
        ),
        (RuntimeError("another"), None),
        (ValueError(), None),
    ],
)
def test_errors_that_are_the_machines(error: Exception, told: str | None) -> None:
    reason = of_this_machine(error)
    if told is None:
        assert reason is None
    else:
        assert reason is not None
        assert re.search(told, reason)


# --- clients


def test_a_client_that_is_killed_from_outside(
    client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    """As the kernel does where memory runs out."""
    driver = start(tmp_path, *options(client, "hang/app:1", step=60), "--grace=0", environment=temporary)
    for count in (1, 2):
        wait_for_launches(client, count=count)
        for pid in left_running(Path(temporary["TMPDIR"])):
            os.kill(pid, signal.SIGKILL)
        wait_for_outcomes(tmp_path, "failed", count)
    driver.send_signal(signal.SIGINT)
    ended = finish(driver, tmp_path)
    assert ended.status == 130
    ended.check_accounts()
    assert ended.summary["errors"] == {"killed": 2}


@pytest.mark.parametrize(
    ("content", "mode", "classes"),
    [
        ("no program", 0o755, {"client"}),
        (QUIET_CLIENT, 0o644, {"client"}),
        ("#!/bin/sh\nexit 7\n", 0o755, {"other"}),
    ],
)
def test_a_client_that_is_replaced_and_put_back(
    content: str, mode: int, classes: set[str], client: Path, tmp_path: Path, temporary: dict[str, str]
) -> None:
    good = client.with_name("good")
    shutil.copy2(client, good)
    bad = client.with_name("bad")
    bad.write_text(content)
    bad.chmod(mode)
    driver = start(tmp_path, *options(client, "gate/app:1", step=60), "--grace=100", environment=temporary)
    wait_for_launches(client)  # nothing starts while this one waits
    bad.replace(client)
    open_gate(client)
    wait_for_outcomes(tmp_path, "failed")
    good.replace(client)
    wait_for_outcomes(tmp_path, "ok", 2)
    driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert (ended.status, ended.stderr) == (143, "")
    ended.check_accounts()
    assert set(ended.summary["errors"]) == classes
    outcomes = ended.outcomes()
    assert (outcomes[:2], outcomes[-1]) == (["ok", "failed"], "ok")


# --- the clock


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed: apt-get install faketime")
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set(hours: int, client: Path, tmp_path: Path, temporary: dict[str, str]) -> None:
    """Times go on from the one reading at the start, and rates are by the monotonic clock."""
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    faked = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    began = datetime.now().astimezone()
    words = [*options(client, "ok/app:1", step=60), "--grace=100"]
    driver = start(tmp_path, *words, environment={**temporary, **faked})
    wait_for_outcomes(tmp_path, "ok")
    (tmp_path / "new").write_text(f"{3600 * hours:+}\n")
    (tmp_path / "new").replace(offset)  # whole at every moment
    jumped = subprocess.run(["date", "+%s"], env={**os.environ, **faked}, capture_output=True, check=True)
    assert abs(int(jumped.stdout) - began.timestamp() - 3600 * hours) < 600
    wait_for_outcomes(tmp_path, "ok", read(tmp_path, 0, partial=True).outcomes().count("ok") + 10)
    driver.send_signal(signal.SIGTERM)
    ended = finish(driver, tmp_path)
    assert (ended.status, ended.stderr) == (143, "")
    ended.check_accounts()
    seconds = [sample["seconds"] for sample in ended.summary["samples"]]
    assert all(0 < each < 60 for each in seconds)
    # the intervals end with the stop, the drain with the last pull
    drain, elapsed = ended.summary["drain"], ended.summary["elapsed_seconds"]
    assert sum(seconds) <= elapsed + 1e-6
    assert drain is None or sum(seconds) + drain["seconds"] == pytest.approx(elapsed, abs=1e-5)
    times = [datetime.fromisoformat(event["time"]) for event in ended.events]
    assert times == sorted(times)
    assert abs(times[-1] - began) < timedelta(minutes=10)

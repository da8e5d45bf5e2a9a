"""The limits of nested cgroups, of both versions, as made-up folders and as the kernel's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lib.processes.cgroup import Limits, Periods, limits, periods, throttled_share
from lib.processes.cpu import cores
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

V1_CPU = "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 31 0:31 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
V2 = "41 31 0:38 {root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
V2_ALL, V1_ALL = V2.format(root="/"), V1_CPU.format(root="/")
HALF = {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}
NO_QUOTA = {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}
CPU = "/sys/fs/cgroup/cpu,cpuacct"


def made(
    root: Path, cgroup: str, mountinfo: str, files: Mapping[str, Mapping[str, str]], usual: bool = False
) -> Path:
    """A root with these files of /proc, and these folders with their files."""
    own = root / "proc/self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text(cgroup)
    if not usual:
        (own / "mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mountinfo}\n")
    for folder, contents in files.items():
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name, text in contents.items():
            (root / folder.lstrip("/") / name).write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "quota"),
    [
        pytest.param("0::/a/b", V2_ALL, {"/sys/fs/cgroup/a/b": {"cpu.max": "50000 100000"}}, 0.5, id="own"),
        pytest.param(
            "0::/a/b", V2_ALL,
            {"/sys/fs/cgroup/a": {"cpu.max": "50000 100000"}, "/sys/fs/cgroup/a/b": {"cpu.max": "max 100000"}},
            0.5, id="above",
        ),
        pytest.param(
            "0::/a/b", V2_ALL,
            {"/sys/fs/cgroup/a": {"cpu.max": "150000 100000"}, "/sys/fs/cgroup/a/b": {"cpu.max": "20000 10000"}},
            1.5, id="the least",
        ),
        pytest.param("0::/a", V2_ALL, {"/sys/fs/cgroup/b": {"cpu.max": "1 100000"}}, None, id="a neighbour's"),
        pytest.param("0::/", V2_ALL, {"/sys/fs/cgroup": {"cpu.max": "25000 100000"}}, 0.25, id="namespace"),
        pytest.param(
            "0::/../../x", V2_ALL, {"/sys/fs/cgroup": {"cpu.max": "25000 100000"}}, 0.25,
            id="outside of the namespace",
        ),
        pytest.param("1:cpu,cpuacct:/a/b", V1_ALL, {f"{CPU}/a": HALF, f"{CPU}/a/b": NO_QUOTA}, 0.5, id="v1"),
        pytest.param(
            "1:cpu,cpuacct:/docker/1", V1_CPU.format(root="/docker/1"), {CPU: HALF}, 0.5, id="v1 in a container",
        ),
        pytest.param(
            "1:cpu,cpuacct:/docker/1/app", V1_CPU.format(root="/docker/1"), {CPU: NO_QUOTA, f"{CPU}/app": HALF}, 0.5,
            id="v1 below a container",
        ),
        pytest.param(
            "1:cpu,cpuacct:/docker/1", V1_ALL, {f"{CPU}/docker/1": HALF}, 0.5, id="v1 of the host",
        ),
        pytest.param(
            "1:cpu,cpuacct:/a\n0::/c", f"{HYBRID}\n{V1_ALL}",
            {f"{CPU}/a": HALF, "/sys/fs/cgroup/unified/c": {}}, 0.5, id="hybrid",
        ),
        pytest.param(
            "0::/a", V2_ALL.replace("/sys/fs/cgroup", "/with\\040blank"),
            {"/with blank/a": {"cpu.max": "50000 100000"}}, 0.5, id="a blank",
        ),
        pytest.param("0::/a", V2_ALL, {"/sys/fs/cgroup/a": {"cpu.max": "nonsense"}}, None, id="nonsense"),
        pytest.param("", "", {}, None, id="nothing"),
        pytest.param("nonsense\n\n0", "nonsense - cgroup\n", {}, None, id="nonsense of the kernel"),
    ],
)  # fmt: skip
def test_the_least_quota_on_the_way_up_counts(
    cgroup: str, mountinfo: str, files: Mapping[str, Mapping[str, str]], quota: float | None, tmp_path: Path
) -> None:
    root = made(tmp_path, cgroup, mountinfo, files)
    assert limits(root).cores == quota
    allowed = len(os.sched_getaffinity(0))
    assert cores(root) == (allowed if quota is None else min(allowed, quota))


@pytest.mark.parametrize(
    ("cgroup", "files"),
    [
        ("1:cpu:/a/b", {"/sys/fs/cgroup/cpu/a": HALF, "/sys/fs/cgroup/cpu/a/b": NO_QUOTA}),
        ("0::/a/b", {"/sys/fs/cgroup/a": {"cpu.max": "50000 100000"}}),
    ],
)
def test_the_usual_places_if_no_mounts_are_named(
    cgroup: str, files: Mapping[str, Mapping[str, str]], tmp_path: Path
) -> None:
    assert limits(made(tmp_path, cgroup, "", files, usual=True)).cores == 0.5


def test_memory_and_processes(tmp_path: Path) -> None:
    mounts = V2_ALL
    files = {
        "/sys/fs/cgroup/a": {"memory.max": "1000000", "pids.max": "max"},
        "/sys/fs/cgroup/a/b": {"memory.max": "max", "pids.max": "64", "cpu.max": "max 100000"},
    }
    assert limits(made(tmp_path, "0::/a/b", mounts, files)) == Limits(None, 1000000, 64)


def test_no_limit_on_memory_in_version_1(tmp_path: Path) -> None:
    files = {
        "/sys/fs/cgroup/memory": {"memory.limit_in_bytes": "9223372036854771712"},
        "/sys/fs/cgroup/memory/a": {"memory.limit_in_bytes": "9223372036854771712"},
    }
    root = made(tmp_path, "4:memory:/a", V1_MEMORY.format(root="/"), files)
    assert limits(root) == Limits(None, None, None)
    (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("2000\n")
    assert limits(root).memory == 2000


def test_how_often_it_was_throttled(tmp_path: Path) -> None:
    stat = "nr_periods 9\nnr_throttled {}\nthrottled_time 1"
    files = {
        "/sys/fs/cgroup/a": {"cpu.max": "50000 100000", "cpu.stat": stat.format(3)},
        "/sys/fs/cgroup/a/b": {"cpu.max": "90000 100000", "cpu.stat": stat.format(4)},
        "/sys/fs/cgroup/a/b/c": {"cpu.max": "max 100000", "cpu.stat": stat.format(0)},
    }
    root = made(tmp_path, "0::/a/b/c", V2_ALL, files)
    assert periods(root) == [Periods(9, 4), Periods(9, 3)]
    (root / "proc/self/cgroup").write_text("0::/")
    assert periods(root) == []


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ([(3, 1)], [(121, 116)], 115 / 118),
        ([(0, 0), (100, 50)], [(10, 5), (200, 60)], 0.5),
        ([(5, 1)], [(5, 1)], 0.0),
        ([(9, 9)], [(0, 0)], 0.0),
        ([], [], None),
        ([], [(1, 1)], None),
    ],
)
def test_the_share_of_throttled_periods(
    before: list[tuple[int, int]], after: list[tuple[int, int]], share: float | None
) -> None:
    readings = ([Periods(*each) for each in reading] for reading in (before, after))
    assert throttled_share(*readings) == share


# --- the kernel's own


@pytest.fixture
def nested() -> Iterator[Path]:
    """A cgroup of version 1 below one that has half a core."""
    outer = Path(f"/sys/fs/cgroup/cpu/ocidriver-test-{os.getpid()}")
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
        (outer / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no cgroups of version 1 here: {error}")
    try:
        yield inner
    finally:
        wait_until(lambda: (inner / "tasks").read_text() == "")
        inner.rmdir()
        outer.rmdir()


def test_a_quota_above_is_seen_by_a_process_below(nested: Path) -> None:
    program = (
        f"open('{nested}/tasks', 'w').write('0')\n"
        "import lib.processes.cgroup as c, lib.processes.cpu as p\n"
        "before = c.periods()\n"
        "while not c.throttled_share(before, c.periods()): sum(range(10000))\n"
        "print(c.limits().cores, p.cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "0.5 0.5\n"

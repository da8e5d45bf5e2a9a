"""The limits of this process's control groups (cgroups), versions 1 and 2: those of a container, a service or a pod.

A cgroup is limited by its own values and by those of all cgroups above it. Source: the kernel's admin guide, cgroup-v1
and cgroup-v2; proc(5) for /proc/PID/cgroup and /proc/PID/mountinfo. `root` is the folder that holds /proc and /sys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

N = TypeVar("N")
ROOT = Path("/")
_USUAL = PurePosixPath("/sys/fs/cgroup")
# Version 1 has no word for "no limit" on memory: it shows a number near 2 to the power of 63.
_NO_MEMORY_LIMIT = 1 << 60
_VERSION_2 = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The least limit of each kind on the way from this process's cgroup to the root; None without one.

    `cores`: CPU time per time. `memory` is in bytes. `pids`: processes and threads.
    """

    cores: float | None
    memory: int | None
    pids: int | None


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted hierarchy: `root`, a cgroup, is seen at `point`."""

    controllers: frozenset[str]
    root: PurePosixPath
    point: PurePosixPath


def limits(root: Path = ROOT) -> Limits:
    """Returns the limits of this process."""
    return Limits(
        cores=min(_values(root, "cpu", _cores), default=None),
        memory=min(_values(root, "memory", _memory), default=None),
        pids=min(_values(root, "pids", _pids), default=None),
    )


@dataclass(frozen=True, slots=True)
class Periods:
    """The periods so far of one CPU limit in which a process wanted to run, and those whose quota was used up."""

    counted: int
    throttled: int


def periods(root: Path = ROOT) -> list[Periods]:
    """Returns the periods of each CPU limit of this process, the nearest first; empty without such a limit.

    Source: `nr_periods` and `nr_throttled` of cpu.stat.
    """
    return list(_values(root, "cpu", _periods))


def throttled_share(before: Sequence[Periods], after: Sequence[Periods]) -> float | None:
    """Returns the share of the periods between two readings in which a CPU limit held up this process, from 0 to 1.

    If there are several limits, it is that of the one that did so most. None without a limit.
    """
    if not after or len(before) != len(after):
        return None
    return max(
        max(0, late.throttled - early.throttled) / max(1, late.counted - early.counted)
        for early, late in zip(before, after, strict=True)
    )


def _cores(folder: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return quota_us / int((folder / "cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    return None


def _memory(folder: Path) -> int | None:
    found = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    return found if found is not None and found < _NO_MEMORY_LIMIT else None


def _pids(folder: Path) -> int | None:
    return _number(folder / "pids.max")


def _periods(folder: Path) -> Periods | None:
    if _cores(folder) is None:
        return None
    with suppress(OSError, ValueError, KeyError):
        stat = dict(line.split(" ", 1) for line in (folder / "cpu.stat").read_text().splitlines())
        return Periods(int(stat["nr_periods"]), int(stat["nr_throttled"]))
    return None


def _number(path: Path) -> int | None:
    """Returns the number in a file; None if it is missing, or has a word such as `max`."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _values(root: Path, controller: str, read: Callable[[Path], N | None]) -> Iterator[N]:
    """Yields what `read` finds in the cgroups of this process that have the controller, and above them."""
    for folder in _folders(root, controller):
        value = read(folder)
        if value is not None:
            yield value


def _folders(root: Path, controller: str) -> Iterator[Path]:
    own = _own_cgroups(root)
    for mount in _mounts(root):
        name = controller if controller in mount.controllers else _VERSION_2
        if name in own and name in mount.controllers:
            for path in _upwards(own[name], mount):
                yield root / path.relative_to("/")


def _upwards(cgroup: PurePosixPath, mount: _Mount) -> Iterator[PurePosixPath]:
    """Yields where the cgroup and those above it are seen, as far as the mount shows them.

    With a cgroup namespace, or in a container without one, the cgroup may lie outside of what the mount shows. Then
    only the mount's own root is left.
    """
    try:
        parts = list(cgroup.relative_to(mount.root).parts)
    except ValueError:
        parts = []
    if ".." in parts:
        parts = []
    for length in range(len(parts), -1, -1):
        yield mount.point.joinpath(*parts[:length])


def _own_cgroups(root: Path) -> dict[str, PurePosixPath]:
    """Returns this process's cgroup for each controller of version 1, and for version 2 under `_VERSION_2`."""
    found = {}
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            for name in controllers.split(","):
                found[name] = PurePosixPath(path or "/")
    return found


def _mounts(root: Path) -> list[_Mount]:
    """Returns the mounted hierarchies; the usual places if /proc names none."""
    found = []
    with suppress(OSError):
        for line in (root / "proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            fields, kinds = before.split(" "), after.split(" ")
            if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
                continue
            controllers = {_VERSION_2} if kinds[0] == "cgroup2" else set(kinds[2].split(","))
            found.append(_Mount(frozenset(controllers), _plain(fields[3]), _plain(fields[4])))
    return found or _usual_mounts(root)


def _usual_mounts(root: Path) -> list[_Mount]:
    made = [_Mount(frozenset({_VERSION_2}), PurePosixPath("/"), _USUAL)]
    with suppress(OSError):
        for name in os.listdir(root / _USUAL.relative_to("/")):
            made.append(_Mount(frozenset(name.split(",")), PurePosixPath("/"), _USUAL / name))
    return made


def _plain(path: str) -> PurePosixPath:
    """Returns a path of mountinfo, where a blank is written as \\\\040."""
    return PurePosixPath(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path))

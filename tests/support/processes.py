"""The processes of this machine, as `/proc` shows them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.support.waiting import wait_until


def pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def read_file(pid: int, name: str) -> bytes:
    """A file of a process; nothing when the process is gone or another user's."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def exists(pid: int) -> bool:
    """Whether the process runs, or ended and waits to be reaped."""
    return Path("/proc", str(pid)).exists()


def alive(pid: int) -> bool:
    """Whether the process runs. One that ended and waits to be reaped does not."""
    return _state_and_parent(pid)[0] not in (b"Z", b"")


def children(pid: int) -> Iterator[int]:
    """Children that run."""
    for each in pids():
        state, parent = _state_and_parent(each)
        if parent == pid and state != b"Z":
            yield each


def descendants(pid: int) -> set[int]:
    """Its children that run, theirs, and so on."""
    found = set(children(pid))
    return found.union(*map(descendants, found))


def marked_or_children(mark: bytes, before: Collection[int]) -> dict[int, str]:
    """Command lines, by process id, of processes with this `NAME=value` in their environment, and of own children.

    Processes of `before` do not count.
    """
    marked = {pid for pid in pids() if mark in read_file(pid, "environ").split(b"\0")}
    return {
        pid: read_file(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        for pid in (marked | set(children(os.getpid()))) - set(before)
    }


def wait_until_gone(processes: Collection[int]) -> None:
    """Waits until all these have ended and are reaped."""
    wait_until(
        lambda: not any(map(exists, processes)),
        describe=lambda: {pid: read_file(pid, "cmdline") for pid in filter(exists, processes)},
    )


def peak_kib(pid: int | str = "self") -> int:
    """The most memory that the process has had."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal."""
    found = re.search(rb"^SigCgt:\s*(\w+)$", read_file(pid, "status"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Whether the signal was sent and has not reached the process yet."""
    masks = re.findall(rb"^(?:Sig|Shd)Pnd:\s*(\w+)$", read_file(pid, "status"), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def _state_and_parent(pid: int) -> tuple[bytes, int]:
    """The state is empty when the process is gone."""
    state, parent = (read_file(pid, "stat").rpartition(b")")[2].split() or [b"", b"0"])[:2]
    return state, int(parent)

"""CPU time used by processes, and the number of cores that this process may use."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

from .cgroup import ROOT, limits


def own_seconds() -> float:
    """Returns the CPU seconds of this process so far, without those of its clients."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def seconds_of(pid: int) -> float:
    """Returns the CPU seconds so far of another process and of the children it has waited for; 0 if it is gone.

    Source: utime, stime, cutime and cstime of /proc/PID/stat (proc(5)), in clock ticks.
    """
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def cores(root: Path = ROOT) -> float:
    """Returns the number of cores that this process may use: its CPU affinity, or the limit of its cgroups if lower."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota = limits(root).cores
    return min(allowed, quota) if quota else allowed

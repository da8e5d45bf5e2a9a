"""CPU time used by processes, and the number of cores that this process may use."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


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


def cores(cgroups: Path = _CGROUPS) -> float:
    """Returns the number of cores that this process may use: its CPU affinity, or the container's limit if lower."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota = _quota(cgroups)
    return min(allowed, quota) if quota else allowed


def _quota(cgroups: Path) -> float | None:
    """Returns the container's limit in cores; None if there is none.

    Source: the kernel's CFS bandwidth control, cpu.max (cgroup v2) or else cpu.cfs_quota_us (v1).
    """
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (cgroups / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((cgroups / "cpu/cpu.cfs_quota_us").read_text())
        return quota_us / int((cgroups / "cpu/cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    return None

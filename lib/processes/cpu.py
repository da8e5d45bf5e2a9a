"""How much CPU time this process has used, and how much there is of it: cores, or the share a container may use."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def own_seconds() -> float:
    """CPU seconds of this process so far, its clients' not included."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def seconds_of(pid: int) -> float:
    """CPU seconds of another process, and of those it has waited for, so far; 0 where it is gone.

    These are utime, stime, cutime and cstime in proc(5)'s stat, in clock ticks.
    """
    with suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def cores(cgroups: Path = _CGROUPS) -> float:
    """The cores that this process may run on, or less where its container is limited to less."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota = _quota(cgroups)
    return min(allowed, quota) if quota else allowed


def _quota(cgroups: Path) -> float | None:
    """Cores, from the kernel's bandwidth control: cpu.max (cgroup v2), else cpu.cfs_quota_us (v1)."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (cgroups / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((cgroups / "cpu/cpu.cfs_quota_us").read_text())
        return quota_us / int((cgroups / "cpu/cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    return None

"""How busy this machine is, whoever uses it, by the kernel's own counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .cgroup import ROOT, Periods, periods, throttled_share

# Columns of the first line of /proc/stat (see proc_stat(5)), in ticks: idle and iowait, and the time that a hypervisor
# took away. Guest time is a part of user time.
_IDLE, _STEAL, _COUNTED = (3, 4), 7, 8


@dataclass(frozen=True, slots=True)
class MachineUse:
    """Shares of the CPU time of all processors, from 0 to 1.

    `idle` includes the wait for disks. `steal`: the hypervisor gave it to other machines. `pressure` is the share of
    the time in which at least one process waited for a processor (pressure stall information); None if the kernel does
    not tell. `throttled` is the share of the periods of its CPU limit in which the kernel held up this process's
    cgroup; None without a limit.
    """

    idle: float
    steal: float
    pressure: float | None
    throttled: float | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    ticks: tuple[int, ...]
    stalled: float | None
    periods: list[Periods]


class MachineMeter:
    """Measures how busy the machine is between calls. `root` is the folder that holds /proc and /sys."""

    def __init__(self, at: float, root: Path = ROOT) -> None:
        self._root = root
        self._proc = root / "proc"
        self._last = self._read(at)

    def use(self, at: float) -> MachineUse | None:
        """Returns the use since the last call, or since the creation; None if this system has no such counters.

        `at` is monotonic, in seconds.
        """
        now, last = self._read(at), self._last
        self._last = now
        if now is None or last is None:
            return None
        spent = [max(0, after - before) for after, before in zip(now.ticks, last.ticks, strict=True)]
        total = sum(spent)
        if not total:
            return None
        pressure = None
        if now.stalled is not None and last.stalled is not None and now.at > last.at:
            pressure = min(1.0, max(0.0, (now.stalled - last.stalled) / (now.at - last.at)))
        return MachineUse(
            idle=sum(spent[k] for k in _IDLE) / total,
            steal=spent[_STEAL] / total,
            pressure=pressure,
            throttled=throttled_share(last.periods, now.periods),
        )

    def _read(self, at: float) -> _Reading | None:
        try:
            name, *ticks = (self._proc / "stat").read_text().partition("\n")[0].split()
            counted = tuple(map(int, ticks[:_COUNTED]))
        except (OSError, ValueError):
            return None
        if name != "cpu" or len(counted) != _COUNTED:
            return None
        return _Reading(at, counted, self._stalled(), periods(self._root))

    def _stalled(self) -> float | None:
        """Returns the seconds so far in which at least one process waited for a processor."""
        with suppress(OSError, ValueError, IndexError):
            line = (self._proc / "pressure" / "cpu").read_text().partition("\n")[0]
            if line.startswith("some "):
                return int(line.rpartition("total=")[2]) / 1e6
        return None


def mean_use(uses: Sequence[tuple[MachineUse | None, float]]) -> MachineUse | None:
    """Returns the mean of uses, each with its weight: cores or seconds. It is None if one of them is not known."""
    whole = sum(weight for _, weight in uses)
    if not whole or any(use is None for use, _ in uses):
        return None
    if len(uses) == 1:
        return uses[0][0]

    def mean(value: Callable[[MachineUse], float | None]) -> float | None:
        found = [(value(use), weight) for use, weight in uses if use is not None]
        if any(each is None for each, _ in found):
            return None
        return sum((each or 0.0) * weight for each, weight in found) / whole

    return MachineUse(
        idle=mean(lambda use: use.idle) or 0.0,
        steal=mean(lambda use: use.steal) or 0.0,
        pressure=mean(lambda use: use.pressure),
        throttled=mean(lambda use: use.throttled),
    )

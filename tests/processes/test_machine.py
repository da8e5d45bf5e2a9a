"""How busy the machine is, from the kernel's counters in a made-up /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.processes.machine import MachineMeter, MachineUse


def written(
    root: Path, ticks: str, *, stalled: int | None = None, periods: tuple[int, int] | None = None
) -> Path:
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/stat").write_text(f"cpu  {ticks}\ncpu0 1 2 3\n")
    if stalled is not None:
        (root / "proc/pressure").mkdir(exist_ok=True)
        line = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\n"
        (root / "proc/pressure/cpu").write_text(line.format(stalled) + line.replace("some", "full").format(0))
    if periods is not None:
        (root / "proc/self/cgroup").write_text("0::/a\n")
        folder = root / "sys/fs/cgroup/a"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text("50000 100000\n")
        (folder / "cpu.stat").write_text("nr_periods {}\nnr_throttled {}\n".format(*periods))
    return root


def test_what_all_programs_used_between_two_calls(tmp_path: Path) -> None:
    meter = MachineMeter(
        0.0, written(tmp_path, "100 0 50 800 50 0 0 0 0 0", stalled=1_000_000, periods=(3, 1))
    )
    written(tmp_path, "160 10 70 805 52 1 2 0 60 0", stalled=3_000_000, periods=(121, 116))
    assert meter.use(4.0) == MachineUse(idle=7 / 100, steal=0.0, pressure=0.5, throttled=115 / 118)
    written(tmp_path, "160 10 70 805 52 1 2 30 60 0", stalled=9_000_000, periods=(121, 116))
    assert meter.use(8.0) == MachineUse(idle=0.0, steal=1.0, pressure=1.0, throttled=0.0)


def test_what_the_kernel_does_not_tell(tmp_path: Path) -> None:
    meter = MachineMeter(0.0, written(tmp_path, "1 0 1 8 0 0 0 0"))
    assert meter.use(1.0) is None
    written(tmp_path, "2 0 2 16 0 0 0 0")
    assert meter.use(2.0) == MachineUse(idle=0.8, steal=0.0, pressure=None, throttled=None)


@pytest.mark.parametrize("ticks", ["", "1 2 3", "1 2 x 4 5 6 7 8"])
def test_counters_that_cannot_be_read(ticks: str, tmp_path: Path) -> None:
    assert MachineMeter(0.0, tmp_path).use(1.0) is None
    assert MachineMeter(0.0, written(tmp_path, ticks)).use(1.0) is None


def test_the_counters_of_this_machine() -> None:
    meter, use = MachineMeter(0.0), None
    while use is None:
        sum(range(10_000))
        use = meter.use(1.0)
    assert 0 <= use.idle <= 1
    assert 0 <= use.steal <= 1

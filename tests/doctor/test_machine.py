"""The limits of this machine that might starve clients: doctor names them, and what the workers need."""

from __future__ import annotations

import pytest

from lib.doctor import machine
from lib.processes.cgroup import Limits

MIB = 1 << 20


@pytest.mark.parametrize(
    ("workers", "user", "cgroup", "told"),
    [
        (1, (None, None), Limits(None, None, None), ["ok: enough processes and memory for 1 worker"]),
        (
            4,
            (None, None),
            Limits(0.5, 4096 * MIB, 4096),
            ["ok: enough processes and memory for 4 workers; the cgroup's quota is 0.5 cores"],
        ),
        (
            1,
            (500 * MIB, None),
            Limits(None, None, None),
            ["warning: a process may use 500 MiB of address space (ulimit -v), a client takes 1,024 MiB"],
        ),
        (
            9,
            (None, 100),
            Limits(None, None, None),
            ["warning: 100 processes and threads are allowed (ulimit -u), 9 workers may need 137"],
        ),
        (
            9,
            (None, None),
            Limits(None, None, 64),
            [
                "warning: 64 processes and threads are allowed (pids.max of the cgroup), 9 workers may need 137"
            ],
        ),
        (
            9,
            (None, None),
            Limits(None, 256 * MIB, None),
            ["warning: 256 MiB of memory are allowed (memory.max of the cgroup), 9 workers may need 488 MiB"],
        ),
        (
            9,
            (MIB, 9),
            Limits(None, MIB, 9),
            [
                "warning: a process",
                "warning: 9 processes",
                "warning: 9 processes",
                "warning: 1 MiB of memory",
            ],
        ),
    ],
)
def test_the_limits_are_named(
    workers: int,
    user: tuple[int | None, int | None],
    cgroup: Limits,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "user_limits", lambda: user)
    found = [f"{each.status}: {each.message}" for each in machine.limits(workers, cgroup)]
    assert len(found) == len(told)
    assert all(one.startswith(other) for one, other in zip(found, told, strict=True)), found

"""What limited a trial: judged over seconds, and not over the bursts in which clients start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.capacity.observed import Observed
from lib.capacity.trial import Trial
from lib.load.closed import Sample
from lib.load.tally import Tally
from lib.processes.machine import MachineUse


def a_trial(seconds: float, idle: list[float], cpu: float = 0.0) -> Trial:
    """With intervals of so many seconds, in each of which the machine was idle for this share."""
    tally = Tally(1, retries_known=True, on_sample=lambda _: None)
    tally.samples = [
        Sample(
            at=number * seconds, seconds=seconds, workers=1, pulled=10, failed=0, latency=None,
            client_cpu_seconds=cpu, cores=2.0, machine=MachineUse(each, 0.0, None),
        )
        for number, each in enumerate(idle, start=1)
    ]  # fmt: skip
    return Trial(Observed(10.0, seconds * len(idle), lasted=seconds * len(idle)), tally)


@pytest.mark.parametrize(
    ("seconds", "idle", "limit"),
    [
        (0.4, [0.05, 0.6] * 6, None),  # bursts
        (0.4, [0.05] * 12, "machine"),
        (0.4, [0.5] * 7 + [0.02] * 7, "machine"),
        (0.8, [0.05] * 4 + [0.9] * 8, "machine"),
        (2.5, [0.05, 0.05] + [0.9] * 10, "machine"),
        (2.5, [0.05] + [0.9] * 11, None),  # a twelfth of the time
        (0.4, [0.05], "machine"),  # a trial that ended at once
        (0.4, [0.3], None),
    ],
)
def test_a_busy_machine_limits_a_trial(seconds: float, idle: list[float], limit: str | None) -> None:
    assert a_trial(seconds, idle).limited_by == limit


@pytest.mark.parametrize(("cpu", "limit"), [(0.75, "client"), (0.6, None)])
def test_busy_clients_limit_a_trial(cpu: float, limit: str | None) -> None:
    assert a_trial(0.4, [0.3] * 12, cpu).limited_by == limit


def on_hosts(**trials: Trial) -> Trial:
    """A trial of hosts, each with its own part."""
    accounts = {name: each.tally for name, each in trials.items()}
    return Trial(Observed(10.0, 30.0, lasted=30.0), next(iter(accounts.values())), accounts)


def test_one_limited_host_limits_a_trial() -> None:
    good, busy, own = a_trial(2.5, [0.6] * 12), a_trial(2.5, [0.05] * 12), a_trial(2.5, [0.6] * 12, cpu=4.8)
    trial = on_hosts(a=good, b=good)
    assert (trial.limited_by, trial.limited_hosts) == (None, ())
    trial = on_hosts(a=good, b=busy, c=busy)
    assert (trial.limited_by, trial.limited_hosts) == ("machine", ("b", "c"))
    trial = on_hosts(a=good, b=busy, c=own)
    assert (trial.limited_by, trial.limited_hosts) == ("client", ("c",))


def test_the_late_pulls_of_one_host_limit_a_trial() -> None:
    good, late = a_trial(2.5, [0.6] * 12), a_trial(2.5, [0.6] * 12)
    for each, many in ((good, 0), (late, 20)):
        each.tally.totals.pulled, each.tally.totals.late_machine = 100, many
    trial = on_hosts(a=good, b=late)
    assert (trial.limited_by, trial.limited_hosts) == ("machine", ("b",))


def test_a_limit_is_judged_by_each_host_alone() -> None:
    """The intervals of a host's part name the limit of this part; joined ones must not keep that of the last."""
    part = a_trial(0.4, [0.6] * 11 + [0.05])
    part.tally.samples = [replace(each, limits=("machine",) if each is part.tally.samples[-1] else (), hosts=1)
                          for each in part.tally.samples]  # fmt: skip
    assert on_hosts(a=part).limited_by is None

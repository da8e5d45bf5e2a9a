"""What many hosts cost the controller and the scheduler: 10 and 100 simulated hosts, and 1,000 computed from these.

    python -m benchmarks.hosts_simulation [--seconds 60] [--rate 50] [--processes 4]

Scheduler, controller and messages are real. The hosts only count (`benchmarks.simulated_hosts`). CPU is that of the
time between the first and the last metrics line, so it includes leases and Dask's own heartbeats.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click

from benchmarks.scene import SCRIPT, machine, peak_memory
from benchmarks.simulated_hosts import boundaries
from lib.hosts.local_cluster import LocalCluster
from lib.hosts.package import environment
from lib.hosts.protocol import beat_of
from lib.processes.cpu import seconds_of

_WORKERS: Final = 20
_TALLY: Final = 15.0
# A second run with short intervals shows what a message costs.
_SHORT_TALLY: Final = 1.0
_COMPUTED: Final = 1000
_HEAD = """\
| hosts | messages/s | controller, of a core | scheduler, of a core | memory, controller and scheduler | begins after |
|---|---|---|---|---|---|"""


class Load(NamedTuple):
    """A load to measure."""

    hosts: int
    seconds: float
    tally: float
    rate: float

    def messages(self, start: float, end: float) -> int:
        """Returns how many pieces all hosts send in this span of the load."""
        every = boundaries(self.seconds, self.tally, beat_of(self.hosts))
        return self.hosts * sum(start < at <= end for at, _ in every)

    @property
    def pulled(self) -> int:
        """The number of pulls of all hosts."""
        return self.hosts * int(self.seconds * self.rate)


class Measured(NamedTuple):
    """Per second of the load: messages, and CPU seconds. Memory is in bytes; `before` is the time before the load."""

    messages: float
    controller: float
    scheduler: float
    controller_memory: int
    scheduler_memory: int
    before: float


@contextmanager
def simulated(scheduler: str, load: Load, processes: int) -> Iterator[None]:
    """Runs the hosts of this load, in so many processes. They have joined when the block begins."""
    running, first = list[subprocess.Popen[bytes]](), 0
    try:
        for number in range(processes):
            count = load.hosts // processes + (number < load.hosts % processes)
            words = [scheduler, str(first), str(count), str(load.rate)]
            argv = [sys.executable, "-m", "benchmarks.simulated_hosts", *words]
            running.append(
                subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            )
            first += count
        for each in running:
            assert each.stdout is not None
            each.stdout.readline()
        yield
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait()


def measure(load: Load, processes: int) -> Measured:
    """Carries out a load on simulated hosts. Raises ClickException if a pull is missing."""
    with tempfile.TemporaryDirectory() as folder, LocalCluster(0) as cluster:
        images, summary = Path(folder) / "images", Path(folder) / "summary.json"
        images.write_text("".join(f"app-{number:05}:v1\n" for number in range(_WORKERS * load.hosts)))
        argv = [
            *(sys.executable, str(SCRIPT), "--dry-run", f"--hosts={cluster.address}"),
            *(f"--min-hosts={load.hosts}", "--hosts-timeout=300", f"--workers={_WORKERS * load.hosts}"),
            *(f"--duration={load.seconds}", f"--tally-seconds={load.tally}", f"--image-list={images}"),
            *("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--log-file=/dev/null"),
            *(f"--summary-file={summary}", "--progress=never"),
        ]
        with simulated(cluster.address, load, processes):
            started = time.monotonic()
            with subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as controller:
                assert controller.stdout is not None
                pids = (controller.pid, cluster.scheduler_pid)
                moments, cpu = [], []
                memory = (0, 0)
                for _ in controller.stdout:
                    moments.append(time.monotonic())
                    cpu.append([seconds_of(pid) for pid in pids])
                    if len(moments) * load.tally < load.seconds - load.tally / 2:
                        memory = (peak_memory(pids[0]), peak_memory(pids[1]))
                assert controller.stderr is not None
                said = controller.stderr.read()
        if controller.returncode:
            raise click.ClickException(f"the run failed: {said}")
        check(json.loads(summary.read_text()), load)
    last = int(load.seconds / load.tally) - 2
    took = moments[last] - moments[0]
    messages = load.messages(load.tally, (last + 1) * load.tally)
    used = [(after - before) / took for before, after in zip(cpu[0], cpu[last], strict=True)]
    before_load = moments[0] - started - load.tally
    return Measured(messages / took, used[0], used[1], *memory, before_load)


def check(summary: dict[str, object], load: Load) -> None:
    """Raises ClickException if a pull is missing."""
    if summary["pulled"] != load.pulled or not summary["complete"]:
        raise click.ClickException(f"{summary['pulled']} of {load.pulled} pulls have arrived")


def row(hosts: str, measured: Measured) -> str:
    """Returns a row of the table."""
    return (
        f"| {hosts} | {measured.messages:.0f} | {measured.controller:.1%} | {measured.scheduler:.1%} "
        f"| {measured.controller_memory / 1e6:.0f} MB, {measured.scheduler_memory / 1e6:.0f} MB "
        f"| {measured.before:.0f} s |"
    )


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Length of each load.")
@click.option("--rate", default=50.0, show_default=True, help="Pulls per second of each host.")
@click.option("--processes", default=4, show_default=True, help="Processes that play the hosts.")
def main(seconds: float, rate: float, processes: int) -> None:
    """Print a table for docs/distributed.md."""
    click.echo(f"{machine()}\n\n{_HEAD}")
    few = measure(Load(10, seconds, _TALLY, rate), processes)
    click.echo(row("10", few))
    many = measure(Load(100, seconds, _TALLY, rate), processes)
    click.echo(row("100", many))
    often = measure(Load(100, seconds, _SHORT_TALLY, rate), processes)
    click.echo(row(f"100, intervals of {_SHORT_TALLY:.0f} s", often))
    wanted = Load(_COMPUTED, seconds, _TALLY, rate)
    messages = wanted.messages(0.0, seconds) / seconds
    click.echo(f"\nFor {_COMPUTED:,} hosts, {messages:.0f} messages/s are computed:")
    for name in ("controller", "scheduler"):
        fewer, more, most = (getattr(each, name) for each in (few, many, often))
        message = (most - more) / (often.messages - many.messages)
        host = ((more - fewer) - message * (many.messages - few.messages)) / 90
        rest = fewer - 10 * host - message * few.messages
        total = rest + _COMPUTED * host + message * messages
        click.echo(
            f"{name}: {1000 * message:.2f} ms for each message, {1000 * host:.2f} ms for each host and second, "
            f"{total:.0%} of a core"
        )


if __name__ == "__main__":
    main()

"""How exactly hosts begin, and what happens when parts of a load on many hosts die: measured with real processes.

    python -m benchmarks.hosts_faults [--runs 5] [WHAT…]

WHAT is clocks, worker, host, scheduler, controller, cut or long-cut; by default all of them. It needs root, because
each host has its own namespace of processes. In `clocks`, one host has a clock that is 1,000 s ahead. In the cuts, one
host has its own network namespace.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.scene import SCRIPT, Images, find, images_on_a_registry, machine
from benchmarks.separate_hosts import HERE, Host, cut, hosts, network, scheduler
from lib.hosts.package import environment

_AHEAD: Final = 1000.0
_HOSTS: Final = 3
_END_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Controller:
    """A run of the driver. `notes` is where it notes what it finds out, and `summary` its result."""

    process: subprocess.Popen[str]
    notes: Path
    summary: Path

    def noted(self, what: str) -> list[dict[str, Any]]:
        """Returns its notes of this kind."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [note for note in map(json.loads, lines) if note["what"] == what]

    def wait_for_load(self, seconds: float) -> None:
        """Waits until the load has gone on for so many seconds."""
        until_true(lambda: bool(self.noted("begin")) or self.process.poll() is not None)
        if not self.noted("begin"):
            raise click.ClickException(f"no load: {self.process.communicate()[1]}")
        time.sleep(max(0.0, self.noted("begin")[0]["moment"] + seconds - time.monotonic()))

    def end(self) -> dict[str, Any]:
        """Waits for its end, and returns the summary."""
        _, said = self.process.communicate()
        if not self.summary.exists():
            raise click.ClickException(f"no summary: {said}")
        summary: dict[str, Any] = json.loads(self.summary.read_text())
        return summary


@contextmanager
def controller(address: str, load: Sequence[str]) -> Iterator[Controller]:
    """Runs the driver with this load on the hosts."""
    with tempfile.TemporaryDirectory() as folder:
        notes, summary = Path(folder) / "notes", Path(folder) / "summary.json"
        argv = [
            *(sys.executable, "-m", "benchmarks.noting_controller", str(notes)),
            *(f"--hosts={address}", f"--min-hosts={_HOSTS}", f"--summary-file={summary}"),
            *("--metrics-file=/dev/null", "--log-file=/dev/null", "--progress=never", *load),
        ]
        process = subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE, text=True)
        try:
            yield Controller(process, notes, summary)
        finally:
            process.kill()
            process.wait()


@contextmanager
def scene(load: Sequence[str], where: str = "127.0.0.1", **kinds: Any) -> Iterator[Any]:
    """Runs a scheduler, hosts and a controller. Yields the scheduler's process, the hosts and the controller."""
    with ExitStack() as stack:
        process, address = stack.enter_context(scheduler(where))
        found = stack.enter_context(hosts(address, _HOSTS, **kinds))
        yield process, found, stack.enter_context(controller(address, load))


def until_true(condition: Callable[[], bool], seconds: float = _END_SECONDS) -> float:
    """Waits until the condition is true, and returns how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise click.ClickException(f"still not true after {seconds:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - began


def pulling(images: Images, seconds: float) -> list[str]:
    """Returns the options of a load that leaves the machine mostly idle."""
    servers = [f"--pullthrough-url={images.host}", f"--registry-url={images.host}", "--layout=direct"]
    client = f"--client={find('crane')}"
    return [*servers, client, "--workers=6", f"--duration={seconds}", "--rate=12", "--tally-seconds=2"]


def dry(folder: str, seconds: float) -> list[str]:
    """Returns the options of a load without servers."""
    images = Path(folder) / "images"
    images.write_text("".join(f"app-{number:02}:v1\n" for number in range(6)))
    servers = ["--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", f"--image-list={images}"]
    return ["--dry-run", *servers, "--workers=6", f"--duration={seconds}", "--rate=60", "--tally-seconds=2"]


def show(what: str, figure: str) -> None:
    """Prints a row of the table."""
    click.echo(f"| {what} | {figure} |")


def clocks(images: Images, runs: int) -> None:
    """Three hosts, of which one has a clock that is 1,000 s ahead."""
    errors, bounds, spreads, late = [], [], [], []
    for _ in range(runs):
        with scene(pulling(images, 4.0), ahead=_AHEAD) as (_, _, run):
            run.end()
            begun = []
            for note in run.noted("started"):
                true = _AHEAD if note["host"] == f"host-{_HOSTS}" else 0.0
                errors.append(abs(note["offset"] - true))
                bounds.append(note["bound"])
                late.append(note["error"])
                begun.append(note["began"] + note["error"] - true)
            spreads.append(max(begun) - min(begun))
    figures = f"{runs} runs of {_HOSTS} hosts"
    show("error of the comparison of clocks", f"{milliseconds(errors)}, {figures}")
    show("its bound, as reported", milliseconds(bounds))
    show("errors outside their bound", str(sum(e > b for e, b in zip(errors, bounds, strict=True))))
    show("a host begins late by", milliseconds(late))
    show("the hosts of a run begin within", milliseconds(spreads))


def milliseconds(seconds: Sequence[float]) -> str:
    """Returns the range of these times."""
    return f"{1000 * min(seconds):.2f} to {1000 * max(seconds):.2f} ms"


def killed(images: Images, word: str) -> None:
    """A process of the second host is killed: its Dask worker or its host process."""
    with scene([*pulling(images, 12.0), "--lost-hosts=1"]) as (_, found, run):
        run.wait_for_load(4.0)
        victim: Host = found[1]
        (pid, *_) = victim.pids(word)
        at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        ended = until_true(lambda: not victim.is_loading())
        summary = run.end()
        told = run.noted("lost")[0]["at"] - at
        what = {"dask": "Dask worker", "host_process": "host process"}[word]
        show(f"{what} killed: the controller knows after", f"{told:.2f} s")
        show(f"{what} killed: the host's load has ended after", f"{ended:.2f} s")
        show(f"{what} killed, --lost-hosts 1: exit status, complete", f"{status(run)}, {summary['complete']}")


def status(run: Controller) -> int:
    """Returns the exit status of the driver."""
    return run.process.wait()


def without_scheduler(images: Images) -> None:
    """The scheduler is killed."""
    with scene(pulling(images, 60.0)) as (process, found, run):
        run.wait_for_load(6.0)
        at = time.monotonic()
        process.kill()
        ended = until_true(lambda: not any(host.is_loading() for host in found))
        summary = run.end()
        told = run.noted("scheduler lost")[0]["at"] - at
        show("scheduler killed: the controller knows after", f"{told:.2f} s")
        show("scheduler killed: the loads of all hosts have ended after", f"{ended:.2f} s")
        show("scheduler killed: exit status, pulls in the summary", f"{status(run)}, {summary['pulled']}")


def without_controller(images: Images) -> None:
    """The controller is killed."""
    with scene(pulling(images, 90.0)) as (_, found, run):
        run.wait_for_load(6.0)
        run.process.kill()
        ended = until_true(lambda: not any(host.is_loading() for host in found))
        show("controller killed: the loads of all hosts have ended after", f"{ended:.1f} s")
        show("controller killed: ocidriver merge", merged(found))


def merged(found: Sequence[Host]) -> str:
    """Adds up what hosts have kept."""
    kept = [str(path) for host in found for path in host.folder.glob("*.pieces")]
    if not kept:
        return "no pieces were kept"
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        argv = [sys.executable, str(SCRIPT), "merge", *kept]
        done = subprocess.run(
            [*argv, f"--summary-file={summary}"], capture_output=True, text=True, check=False
        )
        pulled = json.loads(summary.read_text())["pulled"] if summary.exists() else done.stderr
    return f"{len(kept)} files, {pulled} pulls, exit status {done.returncode}"


def with_cut(seconds: float, *, lost: bool) -> None:
    """The network of one host is cut for so long."""
    with tempfile.TemporaryDirectory() as folder:
        load = [*dry(folder, seconds + 16.0), "--lost-hosts=1"]
        with network(), scene(load, HERE, apart=True) as (_, found, run):
            run.wait_for_load(5.0)
            at = time.monotonic()
            with cut():
                if lost:
                    ended = until_true(lambda: not found[-1].is_loading())
                    show(
                        f"network cut for {seconds:.0f} s: the host's load has ended after", f"{ended:.1f} s"
                    )
                time.sleep(max(0.0, at + seconds - time.monotonic()))
            summary = run.end()
            losses = run.noted("lost")
        own = sum(host["pulled"] for host in summary["hosts"])
        due = 60.0 * (seconds + 16.0)
        show(
            f"network cut for {seconds:.0f} s: lost hosts",
            f"{len({each['host'] for each in losses})}"
            + (f", after {losses[0]['at'] - at:.1f} s" if losses else ""),
        )
        show(
            f"network cut for {seconds:.0f} s: pulls",
            f"{summary['pulled']} of {due:.0f} due, {own} by the hosts' own sums, "
            f"complete: {summary['complete']}, exit status {status(run)}",
        )


def measurements(images: Images, runs: int) -> Mapping[str, Callable[[], None]]:
    """Returns what can be measured, by name."""
    return {
        "clocks": lambda: clocks(images, runs),
        "worker": lambda: killed(images, "dask"),
        "host": lambda: killed(images, "host_process"),
        "scheduler": lambda: without_scheduler(images),
        "controller": lambda: without_controller(images),
        "cut": lambda: with_cut(10.0, lost=False),
        "long-cut": lambda: with_cut(45.0, lost=True),
    }


@click.command()
@click.option("--runs", default=5, show_default=True, help="Runs of `clocks`.")
@click.argument("what", nargs=-1)
def main(runs: int, what: Sequence[str]) -> None:
    """Print a table for docs/distributed.md."""
    if os.geteuid() != 0:
        raise click.ClickException("this needs root, because each host has its own namespace of processes")
    click.echo(f"{machine()}\n\n| what | figure |\n|---|---|")
    with images_on_a_registry() as images:
        known = measurements(images, runs)
        for name in what or known:
            known[name]()


if __name__ == "__main__":
    main()

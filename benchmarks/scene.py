"""What the benchmarks share: cached images on a registry here, the driver's run, rivals, pairs in turn."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.clients.files import lean_environment
from lib.lab.populate import Population, populate
from lib.lab.servers import crane_registry

SCRIPT = Path(__file__).resolve().parent.parent / "ocidriver.py"
# four workers have whole batches of twenty
POPULATION = Population(groups=4, images=20)


@dataclass(frozen=True)
class Images:
    """Images on a registry: `host` is its host:port, `pid` its process, `names` are repository:tag."""

    host: str
    pid: int
    names: list[str]

    @property
    def references(self) -> list[str]:
        return [f"{self.host}/{name}" for name in self.names]


@contextmanager
def images_on_a_registry() -> Iterator[Images]:
    """In the memory of crane's registry."""
    with crane_registry() as server:
        names = asyncio.run(populate(server.url, POPULATION))
        yield Images(server.url.partition("://")[2], server.pid, names)


def find(program: str) -> str:
    """Its path, beside this interpreter too; a ClickException where there is none."""
    beside = os.pathsep.join([os.environ.get("PATH", ""), os.path.dirname(sys.executable)])
    path = shutil.which(program, path=beside)
    if path is None:
        raise click.ClickException(f"{program} is not on PATH")
    return path


def lean() -> dict[str, str]:
    """The environment that the driver gives crane, so that all rivals start the same client."""
    return {**os.environ, **lean_environment(lean=True, tries_tls_in_vain=True)}


def drive(server: str, *options: str, upstream: str | None = None) -> dict[str, Any]:
    """The summary of a run of the driver with crane; `peak_memory`, too, in bytes, is the driver's own."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        given = {
            "--pullthrough-url": server,
            "--registry-url": upstream or server,
            "--client": find("crane"),
            "--log-file": os.devnull,
            "--metrics-file": os.devnull,
            "--summary-file": summary,
        }
        words = [f"{name}={value}" for name, value in given.items()]
        argv = [sys.executable, str(SCRIPT), *words, *options]
        process, peak = subprocess.Popen(argv, env=lean()), 0
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.2)
        if process.returncode:
            raise click.ClickException(f"the driver ended with status {process.returncode}")
        found: dict[str, Any] = json.loads(summary.read_text())
        return found | {"peak_memory": peak}


def peak_memory(pid: int) -> int:
    """VmHWM of proc(5), in bytes: unlike rusage's it leaves out what its parent used before it was started."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def peak_rate(summary: Mapping[str, Any]) -> float:
    """Pulls a second of the steps with all workers."""
    most = max(step["workers"] for step in summary["steps"])
    steps = [step for step in summary["steps"] if step["workers"] == most]
    return float(sum(step["pulled"] for step in steps) / sum(step["seconds"] for step in steps))


def command_rate(pulls: int, argv: Sequence[str], words: str) -> float:
    """Pulls a second of a command that makes so many of what it reads."""
    started = time.monotonic()
    subprocess.run(argv, input=words, text=True, check=True, env=lean(), stdout=subprocess.DEVNULL)
    return pulls / (time.monotonic() - started)


def filling(seconds: float, references: Sequence[str], rate: Callable[[Sequence[str]], float]) -> float:
    """The rate of as many pulls as fill `seconds`, judged by a first short run."""
    short = rate(references)
    return rate(list(references) * max(1, round(seconds * short / len(references))))


@dataclass(frozen=True)
class Pairs:
    """Measurements of two contenders in turn; each ratio is of one pair."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def row(self, name: str) -> str:
        """A row of the table in docs/benchmarks.md."""
        ratios = self.ratios
        return (
            f"| {name} | {statistics.median(self.ours):.0f} | {statistics.median(self.theirs):.0f} "
            f"| **{statistics.median(ratios):.2f}** | {min(ratios):.2f}–{max(ratios):.2f} | {len(ratios)} |"
        )


def in_turn(pairs: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Pairs:
    """Which of the two begins changes from pair to pair."""
    found: tuple[list[float], list[float]] = ([], [])
    for pair in range(pairs):
        for contender in (0, 1) if pair % 2 == 0 else (1, 0):
            found[contender].append((ours, theirs)[contender]())
    return Pairs(*found)


HEAD = """\
| driver against | driver, pulls/s | rival, pulls/s | ratio (median) | ratios | pairs |
|---|---|---|---|---|---|"""


def machine() -> str:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine()
    )
    cores, kernel = len(os.sched_getaffinity(0)), platform.release().split("-")[0]
    return f"{cores} cores ({model}), Linux {kernel}, Python {platform.python_version()}"

"""The driver's pull rate against `xargs -P`: the same crane, the same cached images, pairs in turn.

    python -m benchmarks.against_xargs [--pairs 7] [--workers 4] [--seconds 4]

Each pair is one run of `xargs -P N -I{} crane pull {} /dev/null` for about `--seconds`, and one run of the driver,
of which the two steps with all N workers count. Also given: the driver's CPU time a launch.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from lib.lab.populate import Population, populate
from lib.lab.servers import crane_registry

SCRIPT = Path(__file__).resolve().parent.parent / "ocidriver.py"


def xargs_rate(crane: str, references: list[str], workers: int, seconds: float) -> float:
    """Pulls a second of as many pulls as fill `seconds`, judged by a first short run."""
    short = _xargs(crane, references, workers)
    repeats = max(1, round(seconds * short / len(references)))
    return _xargs(crane, references * repeats, workers)


def _xargs(crane: str, references: list[str], workers: int) -> float:
    started = time.monotonic()
    subprocess.run(
        ["xargs", "-P", str(workers), "-I{}", crane, "pull", "{}", "/dev/null"],
        input="\n".join(references).encode(),
        check=True,
    )
    return len(references) / (time.monotonic() - started)


def driver_rate(server: str, workers: int, seconds: float, folder: Path) -> tuple[float, float]:
    """(pulls/s with all workers running, driver CPU in ms a launch)."""
    summary_file = folder / "summary.json"
    options = {
        "--pullthrough-url": server,
        "--registry-url": server,
        "--layout": "distribution",
        "--client": "crane",
        "--workers": workers,
        "--iteration-seconds": seconds / 2,
        "--log-file": "/dev/null",
        "--metrics-file": "/dev/null",
        "--summary-file": summary_file,
    }
    subprocess.run(
        [sys.executable, SCRIPT, *(f"{name}={value}" for name, value in options.items())], check=True
    )
    summary = json.loads(summary_file.read_text())
    peak = [step for step in summary["steps"] if step["workers"] == workers]
    rate = sum(step["pulled"] for step in peak) / sum(step["seconds"] for step in peak)
    return rate, summary["driver_cpu_seconds"] / summary["pulled"] * 1000


@click.command()
@click.option("--pairs", default=7, show_default=True)
@click.option("--workers", default=4, show_default=True)
@click.option("--seconds", default=4.0, show_default=True, help="Length of each measurement.")
def main(pairs: int, workers: int, seconds: float) -> None:
    """Print each pair and the median ratio."""
    crane = shutil.which("crane")
    if crane is None:
        raise click.ClickException("crane is not on PATH")
    with crane_registry() as server, tempfile.TemporaryDirectory() as folder:
        names = asyncio.run(populate(server.url, Population(groups=4, images=25)))
        host = server.url.partition("://")[2]
        references = [f"{host}/{name}" for name in names]
        ratios, costs = [], []
        for pair in range(pairs):
            by_xargs = xargs_rate(crane, references, workers, seconds)
            by_driver, cost = driver_rate(host, workers, seconds, Path(folder))
            ratios.append(by_driver / by_xargs)
            costs.append(cost)
            click.echo(
                f"pair {pair + 1}: xargs {by_xargs:6.1f}/s, driver {by_driver:6.1f}/s, ratio {ratios[-1]:.3f}, "
                f"driver CPU {cost:.2f} ms a launch"
            )
    click.echo(
        f"median ratio {statistics.median(ratios):.3f}, driver CPU {statistics.median(costs):.2f} ms a launch"
    )


if __name__ == "__main__":
    main()

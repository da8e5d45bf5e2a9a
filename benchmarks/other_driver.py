"""The driver beside another that takes the same options, such as Ociregistry's own test driver, pairs in turn.

    python -m benchmarks.other_driver --other PATH --pullthrough-url HOST:PORT --registry-url HOST:PORT \\
        --patterns=-0001,-0002,-0003,-0004 [--prune] [--batch 20]

Both drive servers that run already, by the ramp of the same patterns. Of each the metrics lines with all workers count.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.scene import HEAD, SCRIPT, find, in_turn, machine


def rate(argv: list[str]) -> float:
    """The mean of the metrics lines (time, pulls a second, workers or threads …) with the most workers."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "metrics"
        words = [*argv, f"--metrics-file={metrics}", f"--log-file={folder}/log"]
        status = subprocess.run(words, stdout=subprocess.DEVNULL).returncode
        if status:
            raise click.ClickException(f"{Path(argv[0]).name} ended with status {status}")
        lines = [line.split("\t") for line in metrics.read_text().splitlines()]
    most = max(int(line[2]) for line in lines)
    return statistics.mean(float(line[1]) for line in lines if int(line[2]) == most)


@click.command()
@click.option("--other", required=True, help="The other driver's executable.")
@click.option("--pullthrough-url", required=True)
@click.option("--registry-url", required=True)
@click.option("--patterns", required=True)
@click.option("--prune", is_flag=True)
@click.option("--batch", default=1, show_default=True, help="Of this driver.")
@click.option("--pairs", default=7, show_default=True)
@click.option("--iteration-seconds", default=2, show_default=True)
def main(
    other: str,
    pullthrough_url: str,
    registry_url: str,
    patterns: str,
    prune: bool,
    batch: int,
    pairs: int,
    iteration_seconds: int,
) -> None:
    """Print a row of the table of docs/benchmarks.md."""
    workers = len(patterns.split(","))
    options = [
        f"--pullthrough-url={pullthrough_url}",
        f"--registry-url={registry_url}",
        f"--patterns={patterns}",
        f"--iteration-seconds={iteration_seconds}",
        "--tally-seconds=1",
        *(["--prune"] if prune else []),
    ]
    ours = [sys.executable, str(SCRIPT), *options, f"--batch={batch}", f"--client={find('crane')}"]
    found = in_turn(pairs, lambda: rate(ours), lambda: rate([other, *options]))
    name = f"{Path(other).name}, {workers} workers{', cold' if prune else ''}, --batch {batch}"
    click.echo(f"{machine()}\n\n{HEAD}\n{found.row(name)}")


if __name__ == "__main__":
    main()

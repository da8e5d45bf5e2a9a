"""Counts the verdicts of `compare` on pairs of equal runs against the lab's cache: there should be nearly none.

    python -m benchmarks.real_pairs [--pairs N] [--seconds S] [--latency MS]

Each pair is two load tests of S seconds, one after the other, against the same cache with the same images. Runs on a
busy machine differ, so use a quiet one. The cache delays each answer by MS milliseconds, so that the server is the
limit: without a delay, the clients use all of the machine, and the pairs show whatever else runs on it or beside it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

from benchmarks.scene import POPULATION, SCRIPT
from lib.lab.populate import populate
from lib.lab.scene import CRANE, EMBEDDED, Scene, cache_of, group_patterns, upstream_server

SILENT = ("same", "inconclusive")


@click.command()
@click.option("--pairs", default=20, show_default=True, help="Pairs of equal runs.")
@click.option("--seconds", default=20.0, show_default=True, help="Length of a run.")
@click.option(
    "--latency",
    default=20.0,
    show_default=True,
    help="Milliseconds before each answer of the cache; 0: none.",
)
@click.option("--events/--no-events", default=True, show_default=True, help="Compare with events.")
def main(pairs: int, seconds: float, latency: float, events: bool) -> None:
    """Print the rows of each pair that have a verdict, and how many pairs have any."""
    with upstream_server(CRANE) as upstream, tempfile.TemporaryDirectory() as folder:
        asyncio.run(populate(upstream.url, POPULATION))
        delay = [f"--latency={latency:g}"] if latency else []
        with cache_of(upstream, EMBEDDED, options=delay) as scene:
            _run(scene, seconds, Path(folder) / "first")  # fills the cache
            told = [_pair(scene, seconds, Path(folder) / str(number), events) for number in range(pairs)]
    rows = Counter(row for each in told for row in each)
    print(f"{sum(map(bool, told))} of {pairs} pairs have a verdict; by row: {dict(rows) or 'none'}")


def _pair(scene: Scene, seconds: float, folder: Path, events: bool) -> list[str]:
    """Returns the rows of one pair that have a verdict."""
    runs = [_run(scene, seconds, folder / name) for name in ("a", "b")]
    given = [f"--events={run / 'events.jsonl'}" for run in runs] if events else []
    words = [
        sys.executable,
        str(SCRIPT),
        "compare",
        "--format=json",
        *(str(run / "summary.json") for run in runs),
    ]
    done = subprocess.run([*words, *given], stdout=subprocess.PIPE, text=True, check=True)
    (comparison,) = json.loads(done.stdout)["comparisons"]
    quantities = comparison["quantities"]
    found = {name: each["verdict"] for name, each in quantities.items() if each["verdict"] not in SILENT}
    rate = quantities["rate"]
    print(
        f"rate {rate['a']:.1f} and {rate['b']:.1f} pulls/s, {rate['verdict']}; {found or 'no verdict'}",
        flush=True,
    )
    return list(found)


def _run(scene: Scene, seconds: float, folder: Path) -> Path:
    """Returns the folder with the summary and the events of a run of the ramp."""
    workers = 2
    words = [
        *(sys.executable, str(SCRIPT), *scene.arguments(group_patterns(POPULATION, workers))),
        *(f"--iteration-seconds={seconds / (2 * workers)}", f"--tally-seconds={seconds / 20}"),
        *(f"--metrics-file={os.devnull}", f"--log-file={os.devnull}"),
        *(f"--summary-file={folder / 'summary.json'}", f"--events-file={folder / 'events.jsonl'}"),
    ]
    subprocess.run(words, stderr=subprocess.DEVNULL, check=True)
    return folder


if __name__ == "__main__":
    main()

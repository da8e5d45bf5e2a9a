"""Many workers and many images: rate, the driver's CPU and its memory.

    python -m benchmarks.scale [--rounds 5] [--seconds 20] [--workers 4,16,500] [--catalog 10000]

Each number of workers in turn pulls cached images through a ramp of `--seconds`; the rate is that of the whole run, and
all CPU is that of driver, clients and registry. Then a catalog of so many repositories, 20 ms away, is listed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from statistics import median
from typing import NamedTuple

import click

from benchmarks.scene import SCRIPT, Images, drive, images_on_a_registry, machine
from lib.processes.cpu import seconds_of
from tests.doubles.catalog import Catalog, serving

_DELAY = 0.02
_HEAD = """\
| workers | pulls/s | of the first row's | driver's share of all CPU | driver's memory |
|---|---|---|---|---|"""


def _numbers(_: click.Context, __: click.Parameter, text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


async def listing_seconds(repositories: int) -> float:
    """A dry run of two steps of 0.1 s, of which all the rest is the listing and the start."""
    catalog = Catalog({f"team/app-{k:06}": ["v1"] for k in range(repositories)}, delay=_DELAY, greatest=1000)
    async with serving(catalog) as server:
        options = ["--workers=1", "--iteration-seconds=0.1", "--dry-run", f"--log-file={os.devnull}"]
        urls = [f"--pullthrough-url={server.host}", f"--registry-url={server.host}"]
        started = time.monotonic()
        argv = [sys.executable, str(SCRIPT), *urls, *options]
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
        if await process.wait():
            raise click.ClickException("the listing failed")
        return time.monotonic() - started


class Measured(NamedTuple):
    """Of one run: pulls a second, the driver's share of all CPU, its memory in bytes."""

    rate: float
    share: float
    memory: float


def measure(images: Images, workers: int, seconds: float) -> Measured:
    """Each worker has images of its own; more workers than images share them by an all-embracing pattern."""
    few = workers <= len(images.names)
    which = f"--workers={workers}" if few else f"--patterns={','.join(['.'] * workers)}"
    before = seconds_of(images.pid)
    summary = drive(images.host, which, "--layout=direct", f"--iteration-seconds={seconds / 2 / workers}")
    registry = seconds_of(images.pid) - before
    driver, clients = summary["driver_cpu_seconds"], summary["client_cpu_seconds"]
    return Measured(summary["rate"], driver / (driver + clients + registry), summary["peak_memory"])


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Length of each ramp.")
@click.option("--workers", default="4,16,500", show_default=True, callback=_numbers)
@click.option("--catalog", default=10_000, show_default=True, help="Repositories to list.")
def main(rounds: int, seconds: float, workers: list[int], catalog: int) -> None:
    """Print a table for docs/benchmarks.md: medians, of the ratio too."""
    click.echo(f"{machine()}\n\n{_HEAD}")
    with images_on_a_registry() as images:
        found = [[measure(images, many, seconds) for many in workers] for _ in range(rounds)]
    for k, many in enumerate(workers):
        rate, share, memory = (median(values) for values in zip(*(row[k] for row in found), strict=True))
        ratio = median(row[k].rate / row[0].rate for row in found)
        click.echo(f"| {many} | {rate:.0f} | {ratio:.2f} | {share:.1%} | {memory / 1e6:.0f} MB |")
    took = asyncio.run(listing_seconds(catalog))
    click.echo(f"\nA catalog of {catalog:,} repositories, {_DELAY * 1000:.0f} ms away: {took:.1f} s")


if __name__ == "__main__":
    main()

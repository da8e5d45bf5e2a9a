"""Many workers and many images: rate, the driver's CPU and its memory.

    python -m benchmarks.scale [--seconds 20] [--workers 16,500] [--catalog 10000]

Each number of workers pulls cached images through a ramp of `--seconds`; the rate is that of the whole run. Then a
catalog of so many repositories, 20 ms away, is listed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import click

from tests.doubles.catalog import Catalog, serving

from .scene import SCRIPT, drive, images_on_a_registry, machine

_DELAY = 0.02
_HEAD = """\
| workers | pulls/s | driver's share of its and the clients' CPU | driver's memory |
|---|---|---|---|"""


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


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="Length of each ramp.")
@click.option("--workers", default="16,500", show_default=True, callback=_numbers)
@click.option("--catalog", default=10_000, show_default=True, help="Repositories to list.")
def main(seconds: float, workers: list[int], catalog: int) -> None:
    """Print a table for docs/benchmarks.md."""
    click.echo(f"{machine()}\n\n{_HEAD}")
    with images_on_a_registry() as images:
        for many in workers:
            # each worker has images of its own; more workers than images share them by an all-embracing pattern
            which = (
                [f"--workers={many}"]
                if many <= len(images.names)
                else [f"--patterns={','.join(['.'] * many)}"]
            )
            summary = drive(
                images.host, *which, "--layout=direct", f"--iteration-seconds={seconds / 2 / many}"
            )
            cpu = summary["driver_cpu_seconds"] / (
                summary["driver_cpu_seconds"] + summary["client_cpu_seconds"]
            )
            click.echo(
                f"| {many} | {summary['rate']:.0f} | {cpu:.1%} | {summary['peak_memory'] / 1e6:.0f} MB |"
            )
    took = asyncio.run(listing_seconds(catalog))
    click.echo(f"\nA catalog of {catalog:,} repositories, {_DELAY * 1000:.0f} ms away: {took:.1f} s")


if __name__ == "__main__":
    main()

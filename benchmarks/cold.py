"""Cold pulls: the driver with --prune against `xargs -P` with the same prune between its passes, pairs in turn.

    python -m benchmarks.cold [--pairs 7] [--workers 4] [--seconds 6]

Both pull all images through the lab's cache, have it forget them by its admin API, and pull them again. The driver's
workers prune after their own passes, so that others go on pulling meanwhile.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Sequence

import click

from benchmarks.rivals import by_xargs
from benchmarks.scene import HEAD, Images, drive, images_on_a_registry, in_turn, machine, peak_rate
from lib.images import Image
from lib.lab.servers import lab_cache
from lib.servers.prune import partition


def prune(cache: str, upstream: Images) -> None:
    """All images, by the calls that the driver makes."""
    images = [Image(*name.rsplit(":", 1)) for name in upstream.names]
    for _, path in partition(images, {}, upstream.host, 7000):
        urllib.request.urlopen(urllib.request.Request(f"http://{cache}{path}", method="DELETE")).close()


def passes(cache: str, upstream: Images, references: Sequence[str], workers: int, seconds: float) -> float:
    """Pulls a second of passes of xargs with a prune after each, for about so long."""
    pull, pulled, started = by_xargs(workers), 0, time.monotonic()
    while time.monotonic() < started + seconds:
        pull(references)
        prune(cache, upstream)
        pulled += len(references)
    return pulled / (time.monotonic() - started)


@click.command()
@click.option("--pairs", default=7, show_default=True)
@click.option("--workers", default=4, show_default=True)
@click.option("--seconds", default=6.0, show_default=True, help="Length of each measurement.")
def main(pairs: int, workers: int, seconds: float) -> None:
    """Print a row of the table of docs/benchmarks.md."""
    with images_on_a_registry() as upstream, lab_cache(upstream.host) as cache:
        # a name without an upstream means the cache's only one
        references = [f"{cache.address}/{name}" for name in upstream.names]
        options = [f"--workers={workers}", f"--iteration-seconds={seconds / 2}", "--prune", "--prune-first"]

        def ours() -> float:
            return peak_rate(drive(cache.address, *options, upstream=upstream.host))

        prune(cache.address, upstream)
        found = in_turn(pairs, ours, lambda: passes(cache.address, upstream, references, workers, seconds))
        click.echo(f"{machine()}\n\n{HEAD}\n{found.row(f'cold: xargs -P {workers} with the same prune')}")


if __name__ == "__main__":
    main()

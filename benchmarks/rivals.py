"""The driver's pull rate against what people write by hand: the same crane, the same cached images, pairs in turn.

    python -m benchmarks.rivals [--pairs 7] [--seconds 10]

`xargs -P`, GNU parallel, the Python package `sh`; single launches and batches. All give crane the same environment.
`benchmarks.other_driver` is for drivers of their own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import click
import sh

from benchmarks.scene import (
    HEAD,
    Images,
    command_rate,
    drive,
    filling,
    find,
    images_on_a_registry,
    in_turn,
    lean,
    machine,
    peak_rate,
)


def by_xargs(workers: int, batch: int = 1) -> Callable[[Sequence[str]], float]:
    """`xargs -P workers -I{} crane pull {} /dev/null`; of a batch, a shell puts crane's path at the end."""
    crane, jobs = find("crane"), ["xargs", "-P", str(workers)]
    if batch == 1:
        pull = [*jobs, "-I{}", crane, "pull", "{}", "/dev/null"]
    else:
        pull = [*jobs, "-n", str(batch), "sh", "-c", 'exec "$0" pull "$@" /dev/null', crane]
    return lambda references: command_rate(len(references), pull, "\n".join(references))


def by_parallel(workers: int) -> Callable[[Sequence[str]], float]:
    """GNU parallel."""
    argv = [find("parallel"), "-j", str(workers), find("crane"), "pull", "{}", "/dev/null"]
    return lambda references: command_rate(len(references), argv, "\n".join(references))


def by_sh(workers: int) -> Callable[[Sequence[str]], float]:
    """The package `sh`, in threads."""
    crane = sh.Command(find("crane")).bake("pull", _tty_out=False, _env=lean())

    def rate(references: Sequence[str]) -> float:
        import time

        started = time.monotonic()
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(lambda reference: crane(reference, "/dev/null"), references))
        return len(references) / (time.monotonic() - started)

    return rate


def driver_rate(images: Images, workers: int, seconds: float, batch: int = 1) -> float:
    """Of a constant load of so many seconds."""
    options = [f"--workers={workers}", f"--batch={batch}", f"--duration={seconds}", "--layout=direct"]
    return peak_rate(drive(images.host, *options))


@click.command()
@click.option("--pairs", default=7, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of each measurement.")
@click.option("--only", default="", help="Just the rows whose name has this in it.")
def main(pairs: int, seconds: float, only: str) -> None:
    """Print the table of docs/benchmarks.md."""
    with images_on_a_registry() as images:

        def row(name: str, workers: int, batch: int, rival: Callable[[Sequence[str]], float]) -> None:
            if only in name:
                found = in_turn(
                    pairs,
                    lambda: driver_rate(images, workers, seconds, batch),
                    lambda: filling(seconds, images.references, rival),
                )
                click.echo(found.row(name))

        click.echo(f"{machine()}\n\n{HEAD}")
        row("xargs -P 4", 4, 1, by_xargs(4))
        row("xargs -P 16", 16, 1, by_xargs(16))
        if shutil.which("parallel"):
            row("GNU parallel -j 4", 4, 1, by_parallel(4))
        row("sh, 4 threads", 4, 1, by_sh(4))
        row("--batch 20 against xargs -P 4", 4, 20, by_xargs(4))
        row("--batch 20 against xargs -P 4 -n 20", 4, 20, by_xargs(4, 20))


if __name__ == "__main__":
    main()

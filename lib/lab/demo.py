"""The demonstration: a real load test of a cache on this machine, for half a minute.

    python -m lib.lab.demo [FOLDER]

Starts an upstream with new images and a cache: docker-registry as a proxy or, if that is not installed, the lab's own.
Runs ocidriver.py with three patterns. Stops everything that it started, also after a signal or an error.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from ..counted import counted
from ..latency import GROUPS, SHOWN_PERCENTILES, Latency, shown
from ..options.types import Seconds
from ..results.summary import Summary
from ..results.summary_file import read_summary
from .populate import Population, populate
from .scene import CRANE, DISTRIBUTION, EMBEDDED, Scene, cache_of, group_patterns, upstream_server
from .servers import ServerFailed, ServerMissing, die_with_parent, find_docker_registry

SCRIPT = Path(__file__).resolve().parents[2] / "ocidriver.py"
POPULATION = Population(groups=3, images=10)
STOP_SECONDS = 15.0
OUTPUTS = {
    "metrics": "metrics.tsv",
    "log": "ocidriver.log",
    "summary": "summary.json",
    "events": "events.jsonl",
}
HEADER = "\t".join(
    ("date time          ", "pulls/s", "workers", "failed", *(f"{name} ms" for name in SHOWN_PERCENTILES))
)


_HELP = """Run a load test of a cache on this machine. The files of the run go to FOLDER."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, help=_HELP)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-output"))
@click.option(
    "--iteration-seconds", type=Seconds(), default="5s", show_default=True, help="Length of a step."
)
@click.option(
    "--tally-seconds", type=Seconds(), default="3s", show_default=True, help="Time between two metrics lines."
)
def main(folder: Path, iteration_seconds: float, tally_seconds: float) -> None:
    """Runs the demonstration."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also if a script started it in the background
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        with _scene() as scene:
            options = [
                "--iteration-seconds",
                f"{iteration_seconds:g}",
                "--tally-seconds",
                f"{tally_seconds:g}",
            ]
            status = _drive(scene, folder, options)
    except (ServerMissing, ServerFailed) as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    sys.exit(status)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Handles a signal that would end Python at once: stops the servers and removes their folders first."""
    sys.exit(128 + number)


@contextmanager
def _scene() -> Iterator[Scene]:
    """Runs upstream and cache, with images, while the block lasts."""
    with upstream_server(CRANE) as upstream:
        names = asyncio.run(populate(upstream.url, POPULATION))
        click.echo(f"Upstream: crane registry serve on {upstream.address}, {len(names)} new images")
        kind, what = _available_cache()
        with cache_of(upstream, kind) as scene:
            click.echo(f"Cache:    {what} on {scene.pullthrough}, pulls through from the upstream")
            yield scene


def _available_cache() -> tuple[str, str]:
    """Returns (kind, description) of docker-registry if it is installed, else of the lab's own cache."""
    try:
        find_docker_registry()
    except ServerMissing as missing:
        return EMBEDDED, f"{missing};\n          using the lab's own cache"
    return DISTRIBUTION, "docker-registry"


def command_line(scene: Scene, folder: Path, options: list[str]) -> list[str]:
    """Returns the driver's arguments, as a user would type them."""
    files = (word for kind, name in OUTPUTS.items() for word in (f"--{kind}-file", str(folder / name)))
    return [*scene.arguments(group_patterns(POPULATION)), *options, *files]


def _drive(scene: Scene, folder: Path, options: list[str]) -> int:
    """Runs the driver, prints its metrics lines as they come and the result. Returns the driver's exit status."""
    arguments = command_line(scene, folder, options)
    click.echo(f"\n{shlex.join(['./ocidriver.py', *arguments])}\n\n{HEADER}")
    with suppress(OSError):  # the driver then says why
        folder.mkdir(parents=True, exist_ok=True)
    for name in OUTPUTS.values():
        (folder / name).unlink(missing_ok=True)
    with (
        _process([sys.executable, str(SCRIPT), *arguments]) as driver,
        _followed(folder / OUTPUTS["metrics"]),
    ):
        status = driver.wait()
    _tell(folder)
    return status


@contextmanager
def _process(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a child in its own process group. Stops it if the block ends early: SIGTERM, later SIGKILL."""
    process = subprocess.Popen(  # noqa: S603 - this project's own commands, no shell
        argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with_parent(signal.SIGTERM)
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _followed(path: Path) -> Iterator[None]:
    """Prints what is written to the file while the block lasts, and what is left at its end."""
    ended = threading.Event()
    follower = threading.Thread(target=_follow, args=(path, ended), daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()


def _follow(path: Path, ended: threading.Event) -> None:
    shown, last_turn = 0, False
    while not last_turn:
        last_turn = ended.wait(0.1)
        with suppress(FileNotFoundError):
            text = path.read_bytes()
            sys.stdout.write(text[shown:].decode(errors="replace"))
            sys.stdout.flush()
            shown = len(text)


def _tell(folder: Path) -> None:
    """Prints where the files are, and three lines on the result."""
    click.echo("")
    for kind, name in OUTPUTS.items():
        if (folder / name).exists():
            click.echo(f"{kind:8} {folder / name}")
    path = folder / OUTPUTS["summary"]
    if path.exists():
        click.echo("\n" + "\n".join(reading(read_summary(path))))


def reading(summary: Summary) -> list[str]:
    """Returns three lines on a summary: the totals, cold against warm pulls, and the rate by workers."""
    all_pulls, first, repeat = (summary.latency(group) for group in GROUPS)
    steps = [f"{workers}: {rate:.1f}" for workers, rate in rates_by_workers(summary)]
    limit = ". This machine was the limit, not the cache." if summary.limited_by else "."
    return [
        f"{counted(summary.pulled, 'pull')} in {summary.elapsed_seconds:.0f} s, {summary.failed} failed. Half of the"
        f" pulls took at most {_ms(all_pulls, 'p50')}, 99 % at most {_ms(all_pulls, 'p99')}.",
        f"First pulls of an image, which the cache had to fetch, took {_ms(first, 'p50')} (median);"
        f" all others {_ms(repeat, 'p50')}.",
        f"Pulls per second by workers: {', '.join(steps)}{limit}",
    ]


def rates_by_workers(summary: Summary) -> list[tuple[int, float]]:
    """Returns each number of workers with the rate of all its steps together, up and down."""
    pulls: defaultdict[int, float] = defaultdict(float)
    seconds: defaultdict[int, float] = defaultdict(float)
    for step in summary.steps:
        pulls[step.workers] += step.rate * step.seconds
        seconds[step.workers] += step.seconds
    return [(workers, pulls[workers] / time) for workers, time in sorted(seconds.items()) if time > 0]


def _ms(latency: Latency | None, percentile: str) -> str:
    return shown(latency, percentile, unit=" ms")


if __name__ == "__main__":
    main()

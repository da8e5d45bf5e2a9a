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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from ..figures import milliseconds
from ..latency import SHOWN_PERCENTILES
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
        told, _ = driver.communicate()
        status = driver.returncode
    click.echo(f"\n{told.decode(errors='replace')}")
    _tell(folder)
    return status


@contextmanager
def _process(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a child in its own process group, with a pipe as stdout.

    Stops it if the block ends early: SIGTERM, later SIGKILL.
    """
    process = subprocess.Popen(  # noqa: S603 - this project's own commands, no shell
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent(signal.SIGTERM),
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
    """Prints what the cache made of it: first pulls against all others."""
    path = folder / OUTPUTS["summary"]
    if path.exists():
        click.echo(first_and_repeat(read_summary(path)))


def first_and_repeat(summary: Summary) -> str:
    """Returns a line on the median latencies of first pulls, which the cache had to fetch, and of all others."""
    first, repeat = summary.first_latency_ms, summary.repeat_latency_ms
    if first is None or repeat is None:
        return "No image was pulled twice, so there is nothing to say about the cache."
    return (
        f"First pulls of an image, which the cache had to fetch, took {milliseconds(first.p50)} (median); "
        f"all others {milliseconds(repeat.p50)}."
    )


if __name__ == "__main__":
    main()

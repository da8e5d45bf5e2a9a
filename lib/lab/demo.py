"""A demonstration: the real load test against a cache on this machine, for half a minute.

    python -m lib.lab.demo [FOLDER]

Starts an upstream with freshly made images and a docker-registry in proxy mode, runs ocidriver.py with three patterns,
and ends everything it started, whatever ends it. Without docker-registry it measures the upstream itself.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from .populate import Population, populate
from .servers import ServerFailed, ServerMissing, crane_registry, die_with_parent, docker_registry_proxy

SCRIPT = Path(__file__).resolve().parents[2] / "ocidriver.py"
POPULATION = Population(groups=3, images=10)
PATTERNS = "-0001,-0002,-0003"
STOP_SECONDS = 15.0
OUTPUTS = {
    "metrics": "metrics.tsv",
    "log": "ocidriver.log",
    "summary": "summary.json",
    "events": "events.jsonl",
}
HEADER = "date time          \tpulls/s\tworkers\tfailed\tp50 ms\tp95 ms\tp99 ms"


@dataclass(frozen=True)
class Scene:
    """What the driver is to measure: addresses (`host:port`) and how the server under test names images."""

    upstream: str
    pullthrough: str
    layout: str


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-output"))
@click.option("--iteration-seconds", type=float, default=5.0, show_default=True, help="Length of a step.")
@click.option(
    "--tally-seconds", type=float, default=3.0, show_default=True, help="A metrics line every so often."
)
def main(folder: Path, iteration_seconds: float, tally_seconds: float) -> None:
    """Load-test a cache on this machine; the files of the run go to FOLDER."""
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
    """A signal that would end Python on the spot ends it in order: servers are stopped, folders removed."""
    sys.exit(128 + number)


@contextmanager
def _scene() -> Iterator[Scene]:
    """Upstream, images and cache, while the block lasts."""
    with crane_registry() as upstream:
        names = asyncio.run(populate(upstream.url, POPULATION))
        click.echo(f"Upstream: crane registry serve on {upstream.address}, {len(names)} fresh images")
        try:
            with docker_registry_proxy(upstream.url) as proxy:
                click.echo(f"Cache:    docker-registry on {proxy.address}, pulling through from the upstream")
                yield Scene(upstream.address, proxy.address, "distribution")
        except ServerMissing as missing:
            click.echo(
                f"Cache:    none, {missing}.\n          This run measures the upstream itself, without any cache."
            )
            yield Scene(upstream.address, upstream.address, "direct")


def command_line(scene: Scene, folder: Path, options: list[str]) -> list[str]:
    """The driver's arguments, as a user would type them."""
    return [
        *("--pullthrough-url", scene.pullthrough),
        *("--registry-url", scene.upstream),
        f"--patterns={PATTERNS}",
        *("--layout", scene.layout),
        *options,
        *(word for kind, name in OUTPUTS.items() for word in (f"--{kind}-file", str(folder / name))),
    ]


def _drive(scene: Scene, folder: Path, options: list[str]) -> int:
    """Runs the driver, shows its metrics lines as they come, then what to make of them. Gives its exit status."""
    arguments = command_line(scene, folder, options)
    click.echo(f"\n{shlex.join(['./ocidriver.py', *arguments])}\n\n{HEADER}")
    for name in OUTPUTS.values():
        (folder / name).unlink(missing_ok=True)
    with (
        _process([sys.executable, str(SCRIPT), *arguments]) as driver,
        _followed(folder / OUTPUTS["metrics"]),
    ):
        status = driver.wait()
    _tell(scene, folder)
    return status


@contextmanager
def _process(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, ended in order when the block is left early."""
    process = subprocess.Popen(
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
    """Prints what is written to the file while the block lasts, and the rest at its end."""
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


def _tell(scene: Scene, folder: Path) -> None:
    """Where the files are, and three lines on what they say."""
    click.echo("")
    for kind, name in OUTPUTS.items():
        if (folder / name).exists():
            click.echo(f"{kind:8} {folder / name}")
    with suppress(FileNotFoundError):
        summary = json.loads((folder / OUTPUTS["summary"]).read_text())
        click.echo("\n" + "\n".join(reading(summary, cached=scene.layout != "direct")))


def reading(summary: dict[str, Any], *, cached: bool) -> list[str]:
    """Three lines on a summary: how much, what a cold pull costs against a warm one, how the rate grew."""
    all_pulls, first, repeat = (summary[f"{which}latency_ms"] for which in ("", "first_", "repeat_"))
    steps = [f"{s['workers']}: {s['rate']:.1f}" for s in summary["steps"] if s["direction"] == "up"]
    why = "the cache had to fetch it" if cached else "no cache stands between"
    limit = ". The client's own work was the limit." if summary["limited_by"] == "client" else "."
    return [
        f"{summary['pulled']} pulls in {summary['elapsed_seconds']:.0f} s, {summary['failed']} failed; half of them"
        f" took up to {_ms(all_pulls, 'p50')}, 99 % up to {_ms(all_pulls, 'p99')}.",
        f"The first pull of an image took {_ms(first, 'p50')} (median; {why}), every other {_ms(repeat, 'p50')}.",
        f"Pulls a second by workers: {', '.join(steps)}{limit}",
    ]


def _ms(latency: dict[str, float | None] | None, quantile: str) -> str:
    value = latency and latency[quantile]
    return f"{value:.1f} ms" if value else "-"


if __name__ == "__main__":
    main()

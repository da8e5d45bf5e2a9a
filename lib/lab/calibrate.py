"""The command `ocidriver calibrate`: measures the most pulls per second that this machine can drive.

Runs the load test against a registry on loopback that answers from memory, once for each batch size. The ramp gives
the rate for each number of workers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import msgspec

from ..calibrated import BatchRate, Calibrated, place
from ..cli import carry_out
from ..clients.find import find_client
from ..counted import counted
from ..durations import spoken
from ..errors import RunError, UsageError
from ..figures import rate
from ..options.types import Seconds, Size, Whole
from ..processes.cpu import cores, seconds_of
from ..processes.scratch import Scratch
from ..results.summary import ClientInfo, Step, Summary
from ..results.summary_file import read_summary
from ..results.whole_file import write_whole
from ..streams import warn
from ..user_files import reason
from .servers import Server, ServerFailed, memory_registry

# The smallest batch whose best rate is at least this share of the overall best is recommended.
NEARLY = 0.9
_MOST_BYTES = 1 << 30
_IMAGES = 100
# The sizes of batches to try.
_SIZES = (1, 5, 20, 50)


@dataclass(frozen=True)
class Measured:
    """The result for one batch size: pulls per second by number of workers, and CPU milliseconds per pull."""

    batch: int
    rates: dict[int, float]
    client_ms: float
    driver_ms: float
    registry_ms: float

    @property
    def best(self) -> float:
        return max(self.rates.values())

    @property
    def best_workers(self) -> int:
        return max(self.rates, key=lambda workers: self.rates[workers])


@dataclass(frozen=True)
class Calibration:
    """The result of all batch sizes. `bound` is the rate that the cores could drive if the registry used no CPU."""

    client: str
    cores: float
    measured: tuple[Measured, ...]

    @property
    def best(self) -> Measured:
        return max(self.measured, key=lambda each: each.best)

    @property
    def recommended(self) -> Measured:
        return next(each for each in self.measured if each.best >= NEARLY * self.best.best)

    @property
    def bound(self) -> float:
        return max(1000 * self.cores / (each.client_ms + each.driver_ms) for each in self.measured)

    def as_json(self) -> dict[str, Any]:
        best, recommended = self.best, self.recommended
        return {
            "client": self.client,
            "cores": self.cores,
            "batches": [asdict(each) | {"best": each.best} for each in self.measured],
            "best": {"batch": best.batch, "workers": best.best_workers, "rate": best.best},
            "recommended": {
                "batch": recommended.batch,
                "workers": recommended.best_workers,
                "rate": recommended.best,
            },
            "bound": self.bound,
        }


def _batches(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    sizes = [word.strip() for word in text.split(",") if word.strip()]
    if not sizes or not all(word.isascii() and word.isdigit() and 1 <= int(word) <= 1000 for word in sizes):
        raise click.BadParameter(f"'{text}' is not a list of numbers from 1 to 1000, such as 1,5,20,50")
    return tuple(sorted({int(word) for word in sizes}))


_HELP = """Find the highest pull rate that this machine can drive.

For each batch size, calibrate runs one load test against a registry on this machine that answers from memory. If a
load test of your server reaches nearly the same rate, this machine may be the limit."""


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]}, help=_HELP)
@click.option(
    "--client",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="The client: see --client of the load test.",
)
@click.option(
    "--workers",
    type=Whole(1, 500),
    metavar="N",
    help="The ramp goes up to N workers.  [default: two per core]",
)
@click.option(
    "--batch",
    "batches",
    metavar="N,…",
    callback=_batches,
    help="Batch sizes to try.  [default: 1,5,20,50; only 1 with a client that pulls one image per launch]",
)
@click.option(
    "--seconds",
    type=Seconds(least=1, most=3600),
    default="10s",
    show_default=True,
    metavar="S",
    help="Length of the ramp for each batch size.",
)
@click.option(
    "--layers",
    type=Whole(1, 127),
    default=5,
    show_default=True,
    metavar="N",
    help="Layers in each image.",
)
@click.option(
    "--layer-size",
    type=Size(),
    default="2KiB",
    show_default=True,
    metavar="SIZE",
    help="Size of a layer. Use the size of the layers in your images.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def calibrate(
    client: str,
    workers: int | None,
    batches: tuple[int, ...] | None,
    seconds: float,
    layers: int,
    layer_size: int,
    as_json: bool,
) -> int:
    """Measures, and returns the exit status."""
    if layers * layer_size * _IMAGES > _MOST_BYTES:
        raise UsageError(
            f"calibrate: {_IMAGES} images, each of {counted(layers, 'layer')} of {layer_size} bytes, need more than "
            "1 GiB of memory; use smaller layers"
        )
    sizes = _sizes(client, batches)
    peak = workers or max(1, round(2 * cores()))
    measured: list[Measured] = []
    try:
        with Scratch() as scratch, memory_registry(_IMAGES, layers, layer_size) as server:
            for batch in sizes:
                click.echo(
                    f"--batch {batch}: {spoken(seconds)} with up to {counted(peak, 'worker')} …", err=True
                )
                summary = scratch.path / "summary.json"
                before = seconds_of(server.pid)
                status = carry_out(
                    _run(server, client, batch, peak, seconds / (2 * peak), summary), show=False
                )
                if status:
                    return status
                found = read_summary(summary)
                measured.append(_measure(found, batch, seconds_of(server.pid) - before))
    except ServerFailed as error:
        raise RunError(str(error)) from None
    calibration = Calibration(str(found.client), cores(), tuple(measured))
    if found.client is not None:
        _remember(calibration, found.client, layers, layer_size)
    click.echo(
        json.dumps(calibration.as_json(), indent=2)
        if as_json
        else "\n".join(_table(calibration, layers, layer_size))
    )
    return 0


def remember(found: Calibrated) -> None:
    """Writes a result to the user's cache folder. Raises `OSError` if it cannot be written."""
    path = place(found.client)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")


def _remember(calibration: Calibration, client: ClientInfo, layers: int, layer_size: int) -> None:
    """Keeps the result for later runs. A cache folder that cannot be written is no reason to fail."""
    batches = [
        BatchRate(batch=each.batch, rate=round(each.best, 3), workers=each.best_workers)
        for each in calibration.measured
    ]
    result = Calibrated(
        client=client.name,
        version=client.version,
        cores=calibration.cores,
        layers=layers,
        layer_bytes=layer_size,
        measured=date.today().isoformat(),
        batches=tuple(batches),
    )
    try:
        remember(result)
    except OSError as error:
        warn(f"later runs cannot use this result: cannot write {place(client.name)}: {reason(error)}")


def _sizes(client: str, batches: tuple[int, ...] | None) -> tuple[int, ...]:
    """The sizes that this client can do. Raises UsageError if the user asks for others."""
    kind = find_client(client, os.environ).kind
    if kind.abilities.takes_several:
        return batches or _SIZES
    if batches is not None and max(batches) > 1:
        raise UsageError(f"calibrate --batch: {kind.name} pulls one image per launch; leave out the option")
    return (1,)


def _run(server: Server, client: str, batch: int, workers: int, step: float, summary: Path) -> list[str]:
    options = {
        "--pullthrough-url": server.address,
        "--registry-url": server.address,
        "--layout": "direct",
        "--client": client,
        "--workers": workers,
        "--batch": batch,
        "--iteration-seconds": f"{step:.6f}",
        "--tally-seconds": 1,
        "--metrics-file": os.devnull,
        "--log-file": os.devnull,
        "--progress": "never",
        "--annotations": "none",
        "--summary-file": summary,
    }
    return [f"{name}={value}" for name, value in options.items()]


def _measure(summary: Summary, batch: int, registry_seconds: float) -> Measured:
    """Combines the steps with the same number of workers: the one on the way up and the one on the way down."""
    by_workers: dict[int, list[Step]] = {}
    for step in summary.steps:
        by_workers.setdefault(step.workers, []).append(step)
    rates = {
        workers: sum(step.pulled for step in steps) / sum(step.seconds for step in steps)
        for workers, steps in sorted(by_workers.items())
    }
    a_pull = 1000 / summary.pulled
    return Measured(
        batch=batch,
        rates=rates,
        client_ms=summary.client_cpu_seconds * a_pull,
        driver_ms=summary.driver_cpu_seconds * a_pull,
        registry_ms=registry_seconds * a_pull,
    )


def _table(calibration: Calibration, layers: int, layer_size: int) -> Iterator[str]:
    cores_shown = f"{calibration.cores:g} core{'s' * (calibration.cores != 1)}"
    yield f"{calibration.client}, {cores_shown}, images of {counted(layers, 'layer')} of {layer_size:,} bytes"
    yield ""
    shown = _columns(list(calibration.measured[0].rates))
    yield f"{'':6} {'pulls/s with workers':{7 * len(shown)}}  CPU ms per pull"
    yield f"{'batch':6}" + "".join(f"{workers:7}" for workers in shown) + "   client  driver  registry"
    for each in calibration.measured:
        rates = "".join(f"{each.rates[workers]:7.0f}" for workers in shown)
        yield f"{each.batch:<6}{rates}   {each.client_ms:6.2f}  {each.driver_ms:6.2f}  {each.registry_ms:8.2f}"
    yield ""
    best, recommended = calibration.best, calibration.recommended
    yield f"Highest rate: {rate(best.best)}, with --batch {best.batch} and {counted(best.best_workers, 'worker')}."
    yield f"With the registry on another machine, an estimate is {rate(calibration.bound)}."
    workers = counted(recommended.best_workers, "worker")
    recommendation = f"Recommended: --batch {recommended.batch} ({rate(recommended.best)} with {workers})"
    if len(calibration.measured) == 1:
        yield f"{recommendation}."
    else:
        yield f"{recommendation}, the smallest batch that reaches {NEARLY:.0%} of that rate."
        yield f"From now on, --batch auto on this machine means --batch {best.batch}, the fastest."
        yield "With batches, a latency is that of a launch of several images. To measure latencies, use --batch 1."


def _columns(workers: Sequence[int], most: int = 8) -> list[int]:
    """Returns at most `most` of the numbers of workers, evenly spaced, with the first and the last."""
    if len(workers) <= most:
        return list(workers)
    return [workers[round(k * (len(workers) - 1) / (most - 1))] for k in range(most)]

"""The command `python -m lib.lab.cache`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ..fault_names import Fault
from .faults import REPERTOIRE
from .server import Behaviour, LabCache, check_loopback


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.lab.cache",
        description="Run a pull-through cache for the lab, on loopback only.",
    )
    add = parser.add_argument
    add(
        "--listen",
        metavar="HOST:PORT",
        default="127.0.0.1:0",
        help="listen on this loopback address; port 0 takes a free port",
    )
    add(
        "--upstream", metavar="HOST:PORT", required=True, help="pull from this registry; give a URL for https"
    )
    add(
        "--name",
        metavar="NAME",
        action="append",
        default=[],
        help="accept this name for the upstream, too; repeatable",
    )
    add("--no-plain", action="store_true", help="refuse image names without an upstream")
    add(
        "--allow-delete",
        action="store_true",
        help="allow OCI deletes; without this, answer 405 as Ociregistry does",
    )
    add("--latency", metavar="MS", type=_positive, default=0.0, help="delay each answer by this time")
    add("--bandwidth", metavar="BYTES/S", type=_positive, help="limit the bandwidth of all clients together")
    add(
        "--fault",
        metavar="NAME[:RATE]",
        type=_fault,
        action="append",
        default=[],
        help=REPERTOIRE.usage.replace("%", "%%"),
    )
    add(
        "--max-concurrent",
        metavar="C",
        type=_at_least_one,
        help="serve at most C requests at a time; others wait",
    )
    add(
        "--no-coalescing",
        action="store_true",
        help="fetch a missing image once for each client that waits for it, not once for all",
    )
    add(
        "--access-log",
        metavar="FILE",
        type=Path,
        help="write a line per request: method, path, status, bytes",
    )
    add("--data-dir", metavar="DIR", type=Path, help="create the temporary folder in this folder")
    add("--seed", metavar="N", type=int, default=0, help="seed of the faults")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _fault(text: str) -> Fault:
    try:
        return REPERTOIRE.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _behaviour(options: argparse.Namespace) -> Behaviour:
    return Behaviour(
        plain=not options.no_plain,
        allow_delete=options.allow_delete,
        latency=options.latency / 1000,
        bandwidth=options.bandwidth,
        faults=tuple(options.fault),
        max_concurrent=options.max_concurrent,
        coalescing=not options.no_coalescing,
        seed=options.seed,
    )


def split_listen(text: str) -> tuple[str, int]:
    """Splits HOST:PORT. Raises `ValueError` if it is not valid or the host is not loopback."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    check_loopback(host)
    return host, int(port)


@contextlib.contextmanager
def _log_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with path.open("w", buffering=1, encoding="utf-8", errors="backslashreplace") as file:
        yield file


async def _run(options: argparse.Namespace, host: str, port: int, folder: str, log: TextIO | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    cache = LabCache(
        options.upstream, data_dir=folder, names=options.name, behaviour=_behaviour(options), access_log=log
    )
    port = await cache.start(host, port)
    try:
        print(f"listening on {f'[{host}]' if ':' in host else host}:{port}", flush=True)
        await stopped.wait()
    finally:
        await cache.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        host, port = split_listen(options.listen)
    except ValueError as error:
        parser.error(str(error))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lab-cache-", dir=options.data_dir) as folder,
            _log_file(options.access_log) as log,
        ):
            asyncio.run(_run(options, host, port, folder, log))
    except OSError as error:
        print(f"lab cache: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

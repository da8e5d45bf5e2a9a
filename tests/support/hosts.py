"""A Dask cluster for tests, on loopback; and the requests of a controller."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lib.hosts.fleet import Answered, Fleet, Heard, Input
from lib.hosts.protocol import Answer, Begin, Chunk, FirstOrder, Request
from tests.support.paths import ROOT
from tests.support.waiting import SECONDS, wait_until

I = TypeVar("I", bound=Input)  # noqa: E741
LOCK = f"test-{os.getpid()}"
"""The lock of this process's tests: other processes test at the same time, and the temporary folder is the same."""
ON_LOOPBACK = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1")


@dataclass
class Cluster:
    """A scheduler at `address` and its workers, by name. `log` holds what all of them wrote."""

    address: str
    log: Path
    scheduler: subprocess.Popen[bytes]
    words: Sequence[str]
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def add(self, name: str, *words: str, nanny: bool = False) -> None:
        """Starts a worker."""
        guarded = () if nanny else ("--no-nanny",)
        self.workers[name] = dask(
            self.log, "worker", self.address, *ON_LOOPBACK, "--name", name, "--nthreads", "1", *guarded,
            "--memory-limit", "0", "--local-directory", str(self.log.parent), *self.words, *words,
        )  # fmt: skip


def dask(log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Starts `dask` with these words, in a session of its own; workers find the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True,
        )  # fmt: skip


@contextmanager
def cluster(
    folder: Path, names: Sequence[str] = (), *, scheduler: Sequence[str] = (), tls: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A scheduler with workers of these names, who may still be joining. `tls`: words for all of them."""
    known, log = folder / "scheduler.json", folder / "dask.log"
    words = ("--protocol", "tls", *tls) if tls else ()
    process = dask(
        log, "scheduler", *ON_LOOPBACK, "--port", "0", "--scheduler-file", str(known), *words, *scheduler
    )
    made = Cluster("", log, process, tls)
    try:
        wait_until(lambda: known.exists() and known.read_text().strip().endswith("}"), describe=log.read_text)
        made.address = json.loads(known.read_text())["address"]
        for name in names:
            made.add(name)
        yield made
    finally:
        for each in (*made.workers.values(), process):
            end(each)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all of its session that is still in its process group."""
    for number in (signal.SIGCONT, signal.SIGTERM):
        if process.poll() is None:
            os.killpg(process.pid, number)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(SECONDS)


class Ear:
    """Reads the inbox of a fleet: what a test does not wait for is kept for later."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.kept: list[Input] = []

    def take(self, kind: type[I], seconds: float = SECONDS, **wanted: object) -> I:
        """Returns the next input of this kind with these values."""

        def fits(each: Input) -> bool:
            return isinstance(each, kind) and all(
                getattr(each, name) == value for name, value in wanted.items()
            )

        for each in self.kept:
            if fits(each):
                self.kept.remove(each)
                return each  # type: ignore[return-value]
        while True:
            try:
                each = self.fleet.inbox.get(timeout=seconds)
            except queue.Empty:
                raise AssertionError(f"no {kind.__name__} {wanted} came; but {self.kept}") from None
            if fits(each):
                return each  # type: ignore[return-value]
            self.kept.append(each)

    def ask(self, address: str, request: Request, seconds: float = SECONDS) -> Answered:
        """Returns what became of a request."""
        return self.take(Answered, 2 * seconds, token=self.fleet.ask(address, request, seconds))

    def answer(self, address: str, request: Request) -> Answer:
        """Returns the answer to a request."""
        answered = self.ask(address, request)
        assert answered.answer is not None, answered.error
        return answered.answer

    def hear(self, address: str) -> dict[str, Any]:
        """Returns the next message of the host process of this worker."""
        body = json.loads(self.take(Heard, address=address).line)["body"]
        assert isinstance(body, dict)
        return body

    def workers(self, number: int) -> dict[str, str]:
        """Returns the addresses of the workers by name, once there are so many."""
        wait_until(lambda: len(self.fleet.workers()) == number, describe=self.fleet.workers)
        return {each.name: each.address for each in self.fleet.workers()}


def begin(run: str, options: Mapping[str, Any] | None = None, lock: str = LOCK) -> Begin:
    """A request to begin a run."""
    order = FirstOrder(
        run=run,
        host="a",
        share="1/1",
        options=dict(options or {}),
        selection="",
        ca_pem=None,
        beat_seconds=2.0,
    )
    return Begin(by="tester", lock=lock, order=order)


def content(chunk: Answer) -> bytes:
    assert isinstance(chunk, Chunk), chunk
    return zlib.decompress(base64.b64decode(chunk.data))

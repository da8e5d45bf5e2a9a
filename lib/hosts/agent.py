"""The agent of a host: what runs inside a Dask worker. It answers the controller, and starts the host process.

The controller calls `answer` by reference, outside Dask's scheduling: Dask runs a task again whose worker is lost, and
a load must never run again. Nothing here imports distributed, as the worker has done that.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import msgspec

from ..user_files import named
from .child import Child
from .facts import host_facts
from .kept import keep
from .machine_lock import LockHeld, handed_on, remove, take
from .package import PACKAGE, environment
from .protocol import (
    TOPIC,
    Answer,
    Begin,
    Begun,
    Bye,
    Chunk,
    ClockRead,
    Done,
    Driving,
    Failed,
    Fetch,
    Hello,
    Keep,
    Kept,
    Leave,
    Pass,
    ReadClock,
    Request,
    decode_request,
    encode,
)
from .waiting import until

# The command of the host process.
COMMAND: Sequence[str] = (sys.executable, "-m", f"{PACKAGE}.host_process")
# Bytes of a file in one answer, uncompressed.
_CHUNK: Final = 1 << 20
_FILES: Final = {"events": "events.jsonl", "log": "log"}
# Time for a host process to end after `Leave`, before it is killed, and for what it has started to end then.
_LEAVE_SECONDS: Final = 10.0
_LEFT_SECONDS: Final = 5.0
# A host is held for so many seconds after the last request.
_HOLD_SECONDS: Final = 60.0


class Worker(Protocol):
    """What the agent needs of the Dask worker. `log_event` is for the worker's event loop."""

    def log_event(self, topic: str, msg: dict[str, str]) -> None:
        """Sends an event to the subscribers of a topic. The scheduler adds the worker's address."""
        ...


@dataclass(slots=True)
class _Run:
    """A run that this host has begun. `folder` is known when its host process is ready."""

    driving: Driving
    host: str
    lock: str
    incarnation: str
    child: Child | None = None
    folder: Path | None = None
    leaving: asyncio.Lock = field(default_factory=asyncio.Lock)


class Agent:
    """The agent of one worker process. It begins each run at most once."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._begun: set[str] = set()
        self.asked = monotonic()

    async def answer(self, request: Request, worker: Worker) -> Answer:
        """Carries out a request."""
        self.asked = monotonic()
        match request:
            case Hello():
                return host_facts(self._driving())
            case ReadClock():
                return ClockRead(monotonic())
            case Begin():
                return self._begin(request, worker)
            case Pass():
                return await self._pass(request)
            case Fetch():
                return await self._fetch(request)
            case Keep():
                return await self._keep(request.run)
            case Bye():
                return await self._bye(request.run)

    def _driving(self) -> Driving | None:
        for run in self._runs.values():
            if run.child is not None and not run.child.has_ended():
                return run.driving
        return None

    def _begin(self, request: Begin, worker: Worker) -> Answer:
        name = request.order.run
        if name in self._begun:
            return Failed("this host has begun this run before, and does so only once")
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        run = _Run(
            Driving(run=name, since=since, by=request.by),
            request.order.host,
            request.lock,
            secrets.token_hex(8),
        )
        try:
            lock = take(request.lock, run.driving)
        except LockHeld as held:
            return Failed(str(held), driving=held.driving)
        except OSError as error:
            return Failed(f"cannot lock this machine: {named(error)}")
        try:
            variables = {**environment(), **handed_on(lock, request.lock)}
            run.child = Child(COMMAND, variables, lock, self._sender(run, worker))
        except OSError as error:
            os.close(lock)
            remove(request.lock)
            return Failed(f"cannot start the host process: {named(error)}")
        os.close(lock)
        self._begun.add(name)
        self._runs[name] = run
        run.child.order(encode(request.order))
        return Begun(run.incarnation)

    @staticmethod
    def _sender(run: _Run, worker: Worker) -> Callable[[bytes], None]:
        """Returns what sends a line of the host process to the controller. It is called in a thread."""
        loop = asyncio.get_running_loop()

        def send(line: bytes) -> None:
            if b'"line":"ready"' in line[:200]:
                run.folder = _folder(line)
            event = {
                "run": run.driving.run,
                "incarnation": run.incarnation,
                "line": line.decode(errors="replace"),
            }
            with suppress(RuntimeError):  # the worker ends
                loop.call_soon_threadsafe(worker.log_event, TOPIC, event)

        return send

    def _child(self, name: str) -> Child | None:
        run = self._runs.get(name)
        return run.child if run is not None else None

    async def _pass(self, request: Pass) -> Answer:
        child = self._child(request.run)
        if child is None:
            return Failed("this host does not know the run: its Dask worker was started again", ended=True)
        if child.has_ended():
            return Failed(await child.how_it_ended(), ended=True)
        child.order(encode(request.order))
        return Done()

    async def _fetch(self, request: Fetch) -> Answer:
        run = self._runs.get(request.run)
        if run is None or run.folder is None:
            return Failed("this host has no files of the run", ended=run is None)
        try:
            return await asyncio.to_thread(_read, run.folder / _FILES[request.what], request.offset)
        except OSError as error:
            return Failed(f"cannot read {named(error)}")

    async def _keep(self, name: str) -> Answer:
        run = self._runs.get(name)
        if run is None or run.folder is None:
            return Failed("this host has no files of the run", ended=run is None)
        events = run.folder / _FILES["events"]
        path = await asyncio.to_thread(keep, events, name, run.host, "events.jsonl")
        return (
            Kept(str(path))
            if path is not None
            else Failed("they fit neither into its working folder nor into its temporary folder")
        )

    async def _bye(self, name: str) -> Answer:
        run = self._runs.get(name)
        if run is None or run.child is None:
            return Done()
        async with run.leaving:
            run.child.order(encode(Leave()))
            await run.child.end(_LEAVE_SECONDS)
            await until(lambda: remove(run.lock), _LEFT_SECONDS)
            self._runs.pop(name, None)
        return Done()


_agent: Final = Agent()
_released: Final[dict[str, asyncio.Event]] = {}


async def answer(text: str, dask_worker: Any = None) -> str:
    """Answers the request in `text`, which is a `Request` as JSON, by an `Answer` as JSON. `dask_worker` is Dask's.

    It raises nothing: what goes wrong is `Failed`.
    """
    _quiet()
    try:
        given = await _agent.answer(decode_request(text), dask_worker)
    except msgspec.DecodeError as error:
        given = Failed(f"cannot read the request, which may come from another version of ocidriver: {error}")
    except Exception as error:
        given = Failed(f"{type(error).__name__}: {error}"[:4096])
    return encode(given).decode()


async def idle(name: str) -> None:
    """Holds the worker's slot until `release` is called with this name, or until nobody has asked for a minute.

    As a coroutine it does not delay the end of the worker. If Dask runs it again elsewhere, it does no harm.
    """
    released = _released.setdefault(name, asyncio.Event())
    held_since = monotonic()
    try:
        while (left := max(_agent.asked, held_since) + _HOLD_SECONDS - monotonic()) > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(released.wait(), left)
                return
    finally:
        _released.pop(name, None)


async def release(name: str) -> None:
    """Ends the `idle` with this name."""
    if name in _released:
        _released[name].set()


class _Body(msgspec.Struct):
    folder: str


class _Ready(msgspec.Struct):
    """Of a `Message` with `Ready`, what the agent needs."""

    body: _Body


def _folder(line: bytes) -> Path | None:
    with suppress(msgspec.DecodeError):
        return Path(msgspec.json.decode(line, type=_Ready).body.folder)
    return None


def _read(path: Path, offset: int) -> Chunk:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(_CHUNK)
        size = os.fstat(file.fileno()).st_size
    packed = base64.b64encode(zlib.compress(data)).decode()
    return Chunk(data=packed, next=offset + len(data), size=max(size, offset + len(data)))


class _NoCalls(logging.Filter):
    """Keeps the log of the worker free of a line for each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Run out-of-band function 'answer'")


_no_calls: Final = _NoCalls()


def _quiet() -> None:
    for name in ("distributed.worker", "distributed.core"):
        logging.getLogger(name).addFilter(_no_calls)  # adds it once

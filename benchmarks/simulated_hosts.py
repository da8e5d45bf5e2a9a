"""Hosts that only count: so many Dask workers in one process, whose pieces come from real tallies.

    python -m benchmarks.simulated_hosts SCHEDULER FIRST COUNT PULLS_PER_SECOND

They answer the controller as the agent of a host does. Everything but the pulls is real: the header comes from a real
host process, each host counts its own pulls, and its pieces go through `log_event` of its own worker.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import msgspec

from lib.hosts import agent
from lib.hosts.facts import host_facts
from lib.hosts.package import environment
from lib.hosts.protocol import (
    TOPIC,
    Answer,
    Arm,
    Armed,
    Begin,
    Begun,
    Body,
    Bye,
    ClockRead,
    Done,
    Failed,
    FirstOrder,
    Hello,
    Leave,
    Message,
    Pass,
    ReadClock,
    Ready,
    Request,
    Started,
    decode_message,
    decode_request,
    encode,
)
from lib.hosts.selected import unpack
from lib.images import Image
from lib.load.event import PULL, Event
from lib.load.piece import IntervalEnd, Piece, Place
from lib.load.plan import Step
from lib.load.tally import Tally
from lib.outcomes import OK
from lib.pieces.wire import End, Header, counts_line, piece_line, set_lines

_LONGEST_LINE: Final = 32 << 20
# Two boundaries that are closer than this are one.
_ROUNDING: Final = 1e-6


async def real_header(order: FirstOrder) -> Header:
    """Returns the header that a real host process has for this order."""
    process = await asyncio.create_subprocess_exec(
        *agent.COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
        limit=_LONGEST_LINE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode(order) + b"\n")
    while line := await process.stdout.readline():
        body = decode_message(line).body
        if isinstance(body, Ready):
            process.stdin.write(encode(Leave()) + b"\n")
            await process.communicate()
            return body.header
    raise RuntimeError("the host process did not become ready")


class SimulatedHost:
    """One host: its worker, and the load that it carries out. It pulls `rate` images per second."""

    headers: Mapping[str, asyncio.Task[Header]] = {}

    def __init__(self, worker: Any, rate: float) -> None:
        self._worker = worker
        self._rate = rate
        self._number = 0
        self._header: Header | None = None
        self._order: FirstOrder | None = None
        self._load: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Answer:
        """Answers as the agent of a host does."""
        match request:
            case Hello():
                facts = host_facts(None)
                return msgspec.structs.replace(
                    facts, machine=self._worker.address, node=str(self._worker.name)
                )
            case ReadClock():
                return ClockRead(monotonic())
            case Begin():
                self._order = request.order
                self._load = asyncio.create_task(self._prepare(request.order))
                return Begun("simulated")
            case Pass():
                if isinstance(request.order, Arm):
                    self._send(Armed(request.order.at))
                    self._load = asyncio.create_task(self._carry_out(request.order))
                return Done()
            case Bye():
                return Done()
        return Failed("a simulated host has no files")

    def _send(self, body: Body) -> None:
        line = encode(Message(self._number, body)).decode()
        self._number += 1
        assert self._order is not None
        event = {"run": self._order.run, "incarnation": "simulated", "line": line}
        self._worker.log_event(TOPIC, event)

    async def _prepare(self, order: FirstOrder) -> None:
        if order.run not in SimulatedHost.headers:
            SimulatedHost.headers = {order.run: asyncio.create_task(real_header(order))}
        selection = unpack(order.selection)
        self._header = msgspec.structs.replace(
            await SimulatedHost.headers[order.run],
            host=order.host,
            share=order.share,
            image_sets=[(each.pattern, len(each.images)) for each in selection.image_sets],
        )
        self._send(Ready(header=self._header, folder="/nonexistent"))

    async def _carry_out(self, arm: Arm) -> None:
        assert self._header is not None
        assert self._order is not None
        header = msgspec.structs.replace(self._header, began=arm.at, clock_offset=arm.clock_offset)
        await asyncio.sleep(arm.at - monotonic())
        self._send(Started(header=header, error_seconds=max(0.0, monotonic() - arm.at)))
        workers = len(header.image_sets)
        tally = Tally(workers, retries_known=header.retries_known, on_sample=lambda _: None)
        tally.on_piece = self._send_piece
        step = header.steps[0]
        assert step.end is not None
        cut = 0.0
        for at, is_beat in boundaries(step.end, header.settings["tally_seconds"], self._order.beat_seconds):
            await asyncio.sleep(arm.at + at - monotonic())
            for event in pulls(cut, at, self._rate, workers):
                tally.add(event)
            cut = at
            if is_beat:
                tally.beat(at)
            else:
                tally.close_sample(at, workers)
        tally.close_step(step.end, Step(step.workers, "hold", 0.0, step.end))
        tally.end(step.end, 0)
        self._send(
            End(
                pieces=tally.pieces,
                totals=counts_line(tally.totals),
                elapsed=step.end,
                interrupted=False,
                reason=None,
                unstarted=0,
                first_pulls="unknown",
                passes=[1] * workers,
                image_sets=set_lines(tally.image_sets),
                working=None,
                herds=None,
                driver_cpu_seconds=0.0,
            )
        )

    def _send_piece(self, piece: Piece, place: Place, interval: IntervalEnd | None) -> None:
        self._send(piece_line(piece, place, interval))


def boundaries(end: float, tally_seconds: float, beat_seconds: float) -> list[tuple[float, bool]]:
    """Returns when pieces end in a load of one step, and whether only a beat ends there."""
    intervals = [k * tally_seconds for k in range(1, int(end / tally_seconds + 1)) if k * tally_seconds < end]
    intervals.append(end)
    beats = [k * beat_seconds for k in range(1, int(end / beat_seconds + 1))]
    alone = [at for at in beats if all(abs(at - other) > _ROUNDING for other in intervals)]
    return sorted([(at, False) for at in intervals] + [(at, True) for at in alone if at < end])


def pulls(start: float, end: float, rate: float, workers: int) -> list[Event]:
    """Returns the pulls that end in this span."""
    return [
        Event(
            PULL,
            number % workers,
            1,
            Image("app", "v1"),
            OK,
            ended=number / rate,
            seconds=random.lognormvariate(-3.0, 0.5),
            began=number / rate,
        )
        for number in range(int(start * rate), int(end * rate))
    ]


async def main(scheduler: str, first: int, count: int, rate: float) -> None:
    """Runs so many hosts until the scheduler goes. Writes a line to stdout when all have joined."""
    import dask.config
    from distributed import Worker

    dask.config.set({"distributed.worker.profile.enabled": False})
    hosts: dict[str, SimulatedHost] = {}

    async def answer(text: str, dask_worker: Any = None) -> str:
        host = hosts.setdefault(dask_worker.address, SimulatedHost(dask_worker, rate))
        return encode(await host.answer(decode_request(text))).decode()

    agent.answer = answer
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        workers = [
            await stack.enter_async_context(
                Worker(
                    scheduler,
                    name=f"simulated-{number:04d}",
                    nthreads=1,
                    memory_limit=0,
                    host="127.0.0.1",
                    dashboard=False,
                    dashboard_address="127.0.0.1:0",
                    local_directory=folder,
                )
            )
            for number in range(first, first + count)
        ]
        print("joined", flush=True)
        await asyncio.gather(*(each.finished() for each in workers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))

"""A misbehaving registry on loopback: one small good image under every name, and a fault in the way to it.

The first part of the repository names the fault, so one server serves all faults at once:
``127.0.0.1:PORT/manifest-503/app:v1``, ``127.0.0.1:PORT/blob-truncated/app:v1``. Any other name is served
well. A fault of the whole server (its ping, its TLS, its death) has a port of its own;
`FaultyRegistry.reference` knows which::

    with FaultyRegistry() as registry:
        subprocess.run(["crane", "pull", registry.reference("manifest-503-json"), "/dev/null"])

``python -m tests.doubles.faulty --listen 127.0.0.1:PORT [--fault NAME]`` serves in the foreground; with
`--fault` every repository has it.

`lib.lab.fault_names` describes the names. A fault is ``PLACE-KIND[-xN]`` or ``PLACE-STATUS[-BODY][-after][-xN]``.
A PLACE is one of `PLACES`; blob means the layers. A BODY is a key of `BODIES`, a KIND a key of `KINDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from lib.lab.fault_names import Fault, Repertoire
from tests.doubles.answers import BODIES, KINDS, Answer, serve_well, status_answer
from tests.doubles.exchange import PLACES, Exchange, Request, parse_request
from tests.support.waiting import SECONDS

CERTIFICATES: Final = {
    "tls": Path(__file__).parent / "tls" / "loopback.pem",
    "tls-name": Path(__file__).parent / "tls" / "registry.test.pem",
}
"""Self-signed, with their keys: one for 127.0.0.1, one for another name. SSL_CERT_FILE makes a client trust one."""

REPERTOIRE: Final = Repertoire(
    usage="PLACE-KIND[-xN] or PLACE-STATUS[-BODY][-after][-xN], as tests/doubles/faulty.py describes",
    places=PLACES,
    kinds=KINDS,
    alone=CERTIFICATES,
    bodies=BODIES,
)


@dataclass(frozen=True)
class Plan:
    """How to carry a fault out: at which places, with which answer, and how often for each repository (0: always)."""

    places: Collection[str]
    answer: Answer
    times: int = 0
    own_port: bool = False
    certificate: Path | None = None


def plan(fault: Fault) -> Plan:
    """How to carry it out."""
    if fault.place is None:
        return Plan((), serve_well, own_port=True, certificate=CERTIFICATES[fault.what])
    if fault.place == "token" and fault.status is not None:
        return _token(fault)
    answer = KINDS[fault.what] if fault.status is None else status_answer(fault)
    own_port = fault.place == "ping" or fault.what in ("killed", "died")
    return Plan((fault.place,), answer, fault.first or 0, own_port=own_port)


def _token(fault: Fault) -> Plan:
    """The ping, or the manifest where a client sends no ping, names a token service; that answers with the status."""
    refuse = status_answer(Fault(fault.what, "blob", body=fault.body))
    send_away = status_answer(Fault("401", "token"))

    async def answer(exchange: Exchange) -> bool:
        return await (refuse if exchange.request.place == "token" else send_away)(exchange)

    return Plan(("ping", "manifest", "token"), answer, own_port=True)


def _plan_of(name: str) -> Plan | None:
    """None where the name is not a fault."""
    try:
        return plan(REPERTOIRE.parse(name))
    except ValueError:
        return None


class Listener:
    """A listening socket; with `fixed`, every request there meets that fault."""

    def __init__(self, fixed: Plan | None = None) -> None:
        self.fixed = fixed
        self.address = ("127.0.0.1", 0)
        self.requests: Counter[tuple[str, str]] = Counter()
        """How often each (method, path) was asked for."""
        self._failed: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        context = None
        if self.fixed is not None and self.fixed.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.fixed.certificate)
        self._server = await asyncio.start_server(self._connection, host, port, ssl=context)
        self.address = self._server.sockets[0].getsockname()[:2]

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    def drop_connections(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has left, or does not speak HTTP
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first = await reader.read(1)
        if first == b"\x16":  # a TLS hello: clients that wait for an answer to it lose seconds
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        if not first:
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path = head.split(" ", 2)[:2]
        request = parse_request(method, path)
        self.requests[method, request.path] += 1
        return await self._answer(request)(Exchange(request, reader, writer, self))

    def _answer(self, request: Request) -> Answer:
        plan = self.fixed or _plan_of(request.repository.partition("/")[0])
        if plan is None or request.place not in plan.places:
            return serve_well
        if plan.times:
            self._failed[request.repository] += 1
            if self._failed[request.repository] > plan.times:
                return serve_well
        return plan.answer


@final
class FaultyRegistry:
    """All faults at once, served by a thread of its own while the context lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-registry", daemon=True)
        self._shared = Listener()
        self._listeners: list[Listener] = []

    def __enter__(self) -> FaultyRegistry:
        self._thread.start()
        self._start(self._shared)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    @property
    def address(self) -> str:
        """`host:port` of the server that serves every fault but those that need a port of their own."""
        return _join(self._shared.address)

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """How often each (method, path) was asked for at `address`."""
        return self._shared.requests

    def reference(self, fault: str, name: str = "app:v1") -> str:
        """The reference of an image behind that fault; a port of its own for each call where the fault
        needs one. Raises ValueError for a name that is not a fault."""
        known = plan(REPERTOIRE.parse(fault))
        listener = self._start(Listener(known)) if known.own_port else self._shared
        return f"{_join(listener.address)}/{fault}/{name}"

    def _start(self, listener: Listener) -> Listener:
        asyncio.run_coroutine_threadsafe(listener.start(), self._loop).result(SECONDS)
        self._listeners.append(listener)
        return listener

    async def _stop(self) -> None:
        for listener in self._listeners:
            listener.stop_accepting()
            listener.drop_connections()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _join(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


async def _serve(listen: str, fault: Plan | None) -> None:
    host, _, port = listen.rpartition(":")
    listener = Listener(fault)
    await listener.start(host or "127.0.0.1", int(port))
    print(f"listening on {_join(listener.address)}", flush=True)
    await asyncio.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.doubles.faulty", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--fault", metavar="NAME", help="every repository has this fault")
    options = parser.parse_args()
    try:
        fault = plan(REPERTOIRE.parse(options.fault)) if options.fault else None
    except ValueError as error:
        parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(options.listen, fault))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The fleet of a Dask cluster. This module imports distributed: import it only if a run has hosts.

The Dask client lives in a thread with a loop of its own. It calls the agents by reference with `Client.run`, one worker
at a time, and never as tasks. The messages of the host processes arrive as events of one topic.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import threading
import warnings
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import wait
from contextlib import suppress
from importlib.metadata import version
from itertools import count
from queue import SimpleQueue
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from ..clean import clean
from ..durations import spoken
from ..errors import RunError, UsageError
from ..options.hosts import Hosts
from .agent import answer, idle, release
from .fleet import Answered, Heard, Input, Joined, Left, SchedulerLost
from .local_cluster import LocalCluster
from .package import PACKAGE, installing
from .protocol import TOPIC, Request, decode_answer, encode
from .reach import REFUSED, obstacle

try:
    import distributed
    from distributed.security import Security
    from distributed.versions import VersionMismatchWarning
except ImportError as error:
    raise UsageError(
        f"--hosts needs the package distributed; to install it, {installing()}"
        if (error.name or "").partition(".")[0] in ("distributed", "dask")
        else f"--hosts: the package distributed cannot be imported: {error}"
    ) from None

T = TypeVar("T")
# The name of the package for pip.
DISTRIBUTION: Final = "ocidriver"
# Time for the scheduler to answer, and for one look at its workers, in seconds.
_CONNECT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 5.0
# How often the fleet looks who is there, in seconds. After a look of so long, it looks whether anybody listens.
_LOOK_EVERY: Final = 0.5
_SLOW_LOOK: Final = 1.0
# A scheduler that refuses connections, or that does not answer, is lost after so many seconds.
_REFUSED_SECONDS: Final = 2.0
_SILENT_SECONDS: Final = 20.0
_OBSTACLE_SECONDS: Final = 3.0
# Topics of Dask: what any client or worker prints, which a client would show; and what the scheduler says of workers.
_TO_THE_TERMINAL: Final = ("print", "warn")
_OF_THE_SCHEDULER: Final = "all"
# So many requests are on their way at most; each takes a connection to the scheduler.
_MOST_AT_ONCE: Final = 256
# The probe event is sent again after so many seconds.
_PROBE_EVERY: Final = 0.25
_CLOSE_SECONDS: Final = 10.0
_RELEASE_SECONDS: Final = 2.0
# How often the fleet looks whether a worker that cannot be reached is gone, in seconds.
_GONE_EVERY: Final = 0.05
# While the fleet connects, a signal is heeded within so many seconds.
_HEED_EVERY: Final = 0.1
_LIBRARIES: Final = ("distributed", "dask", "tornado", "asyncio", "bokeh")


def check_files(hosts: Hosts) -> None:
    """Raises `UsageError` if the files for TLS cannot be used."""
    if hosts.local is None:
        _security(hosts)


def open_fleet(hosts: Hosts, run: str, heed: Callable[[], None] = lambda: None) -> DaskFleet:
    """Returns the fleet that `--hosts` names, connected. `run` is the name of this run, which no other run has.

    For `local:N` it starts the hosts, which end when the fleet is closed. `heed` is called several times per second;
    what it raises ends the attempt. Raises `UsageError` or `RunError`.
    """
    if hosts.local is not None:
        return local_fleet(hosts.local, run, heed)
    return DaskFleet(hosts.address, run, _security(hosts), heed=heed)


def local_fleet(hosts: int, run: str, heed: Callable[[], None] = lambda: None) -> DaskFleet:
    """Starts so many hosts on this machine, and returns their fleet. Raises `RunError`."""
    cluster = LocalCluster(hosts, heed)
    cluster.__enter__()
    try:
        return DaskFleet(cluster.address, run, Security(require_encryption=False), cluster=cluster, heed=heed)
    except BaseException:
        cluster.__exit__()
        raise


class _OtherSchedulerError(Exception):
    """Another scheduler answers at the address."""


class DaskFleet:
    """The workers of the scheduler at `address`. Implements `Fleet`.

    It hears the messages of this `run` only. Raises `RunError` if the scheduler cannot be reached. `cluster` is closed
    with the fleet. While it connects, it calls `heed` several times per second.
    """

    def __init__(
        self,
        address: str,
        run: str,
        security: Security,
        *,
        cluster: LocalCluster | None = None,
        heed: Callable[[], None] = lambda: None,
    ) -> None:
        _silence()
        self.inbox: SimpleQueue[Input] = SimpleQueue()
        self.cluster = cluster
        self.address = address
        self.version = version("distributed")
        self.scheduler_version = ""
        self._run = run
        self._security = security
        self._context: ssl.SSLContext | None = security.get_connection_args("client").get("ssl_context")
        self._client: Any = None
        self._stream: Any = None
        self._scheduler_id = ""
        self._lost: str | None = None
        self._closing = False
        self._members: dict[str, Joined] = {}
        self._answered: set[str] = set()
        self._held: dict[str, Any] = {}
        self._tokens = count(1)
        self._probes: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # the calls of workers that have no answer yet, by address
        self._calls: dict[str, set[asyncio.Future[Any]]] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # what matters is reported to the inbox
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        self._thread = threading.Thread(target=self._loop.run_forever, name="hosts", daemon=True)
        self._thread.start()
        try:
            self._connect_heeding(heed)
        except BaseException:
            self._close_client()
            raise

    # ---- what the controller calls

    def workers(self) -> Sequence[Joined]:
        """Returns the workers that are there now."""
        return list(self._members.values())

    def ask(self, address: str, request: Request, seconds: float) -> int:
        """Sends a request, and returns its token at once. Its `Answered` comes into `inbox` within `seconds`."""
        token = next(self._tokens)
        self._loop.call_soon_threadsafe(self._begin, self._ask(token, address, request, seconds))
        return token

    def hold(self, addresses: Sequence[str]) -> None:
        """Keeps these workers busy with a task that does nothing, so that the cluster does not look idle."""
        self._loop.call_soon_threadsafe(self._hold, tuple(addresses))

    def close(self) -> None:
        """Lets the workers go, and disconnects. Ends the hosts of `local:N`."""
        self._close_client()
        if self.cluster is not None:
            self.cluster.__exit__()

    # ---- the loop

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _connect_heeding(self, heed: Callable[[], None]) -> None:
        connecting = asyncio.run_coroutine_threadsafe(self._connect(), self._loop)
        try:
            while not wait([connecting], _HEED_EVERY).done:
                heed()
        except BaseException:
            connecting.cancel()
            raise
        connecting.result()

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close_client(self) -> None:
        if self._loop.is_closed():
            return
        with suppress(asyncio.TimeoutError):
            self._wait(asyncio.wait_for(self._disconnect(), _CLOSE_SECONDS))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _disconnect(self) -> None:
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        client = self._client
        if client is None:
            return
        if self._lost is None:
            there = {
                each: held for each, held in self._held.items() if each in self._members and held is not None
            }
            freeing = [
                asyncio.wait_for(client.run(release, held.key, workers=[each]), _RELEASE_SECONDS)
                for each, held in there.items()
            ]
            await asyncio.gather(*freeing, return_exceptions=True)
            with suppress(Exception):
                await client.cancel([held for held in self._held.values() if held is not None])
        self._held.clear()
        reports = getattr(client, "_handle_report_task", None)
        if self._lost is not None and reports is not None:
            reports.cancel()  # Dask would wait for its last words
        with suppress(Exception):
            await client.close()

    # ---- the connection

    async def _connect(self) -> None:
        reason = await self._obstacle(_CONNECT_SECONDS)
        if reason is not None:
            raise RunError(self._unreachable(reason))
        client: Any = distributed.Client(
            self.address,
            asynchronous=True,
            security=self._security,
            timeout=_CONNECT_SECONDS,
            set_as_default=False,
            name="ocidriver",
        )
        self._client = client
        try:
            await client
            identity = await client.scheduler.identity()
            self._scheduler_id = identity["id"]
            self.scheduler_version = await self._version_there()
            await asyncio.wait_for(self._subscribe(), _CONNECT_SECONDS)
            self._note_members(identity["workers"])
        except (asyncio.TimeoutError, OSError, ImportError, KeyError) as error:
            text = "no answer" if isinstance(error, asyncio.TimeoutError) else clean(str(error))
            raise RunError(self._unreachable(text)) from None
        self._begin(self._watch())

    def _unreachable(self, reason: str) -> str:
        return f"cannot reach the hosts' scheduler {self.address}: {reason}"

    async def _obstacle(self, seconds: float) -> str | None:
        parts = urlsplit(self.address)
        return await obstacle(parts.hostname or "", parts.port or 0, self._context, seconds)

    async def _version_there(self) -> str:
        found = await self._client.scheduler.versions()
        return str(dict(found["packages"]).get("distributed", ""))

    async def _subscribe(self) -> None:
        """Subscribes to the topic, and waits until an event of its own has come back.

        Dask only queues the wish for a subscription, so events may overtake it.
        """
        self._stream = self._client.scheduler_comm
        probe = secrets.token_hex(8)
        back = self._probes[probe] = asyncio.Event()
        for topic in _TO_THE_TERMINAL:
            self._client.unsubscribe_topic(topic)
        self._client.subscribe_topic(_OF_THE_SCHEDULER, self._hear_of_workers)
        self._client.subscribe_topic(TOPIC, self._hear)
        try:
            while not back.is_set():
                await self._client.log_event(TOPIC, {"probe": probe})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(back.wait(), _PROBE_EVERY)
        finally:
            del self._probes[probe]

    def _hear(self, event: object) -> None:
        """Takes an event of the topic."""
        message = _message(event)
        if message.get("run") == self._run:
            words = [str(message.get(name, "")) for name in ("worker", "incarnation", "line")]
            self.inbox.put(Heard(*words))
        elif (back := self._probes.get(str(message.get("probe")))) is not None:
            back.set()

    def _hear_of_workers(self, event: object) -> None:
        """Takes an event of the scheduler. A look now and then would miss a worker that comes back at once."""
        message = _message(event)
        if message.get("action") == "remove-worker":
            self._note_gone(str(message.get("worker")))

    # ---- who is there

    async def _watch(self) -> None:
        """Reports who joins and who leaves, until the scheduler is lost."""
        since: float | None = None
        while self._lost is None and not self._closing:
            await asyncio.sleep(_LOOK_EVERY)
            began = monotonic()
            try:
                await self._look_in_time()
                since = None
            except _OtherSchedulerError:
                self._lose(f"another scheduler answers at {self.address}")
            except (
                Exception,
                asyncio.CancelledError,
            ) as error:  # Dask cancels calls when a connection breaks
                since = began if since is None else since
                reason = await self._obstacle(_OBSTACLE_SECONDS)
                patience = _REFUSED_SECONDS if reason == REFUSED else _SILENT_SECONDS
                if monotonic() - since > patience:
                    self._lose(reason or clean(str(error)) or f"no answer within {spoken(_LOOK_SECONDS)}")

    async def _look_in_time(self) -> None:
        """Looks who is there. Raises an error after a time, and earlier if nobody listens at the address any more.

        Dask tries to connect for long then.
        """
        looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait([looking], timeout=_SLOW_LOOK)
            if not looking.done() and await self._obstacle(_OBSTACLE_SECONDS) == REFUSED:
                raise OSError(REFUSED)
            await asyncio.wait_for(looking, _LOOK_SECONDS)
        finally:
            looking.cancel()

    async def _look(self) -> None:
        client = self._client
        scheduler = client.scheduler
        if client.status != "running" or client.scheduler_comm.comm.closed():
            raise OSError("the connection is broken")
        identity = await scheduler.identity(n_workers=0)
        if identity["id"] != self._scheduler_id:
            raise _OtherSchedulerError
        if client.scheduler_comm is not self._stream:
            await self._subscribe()
        there = await scheduler.ncores()
        if any(address not in self._members for address in there):
            self._note_members((await scheduler.identity(n_workers=-1))["workers"])
        for address in [each for each in self._members if each not in there]:
            self._note_gone(address)
        self._hold_again()

    def _note_gone(self, address: str) -> None:
        if self._members.pop(address, None) is not None:
            self.inbox.put(Left(address, "its Dask worker is gone"))
            for call in self._calls.pop(address, ()):  # Dask would try for long to reach it
                call.cancel()

    def _note_members(self, found: dict[str, Any]) -> None:
        for address, worker in found.items():
            if address not in self._members:
                joined = Joined(address, clean(str(worker.get("name", address)), 200))
                self._members[address] = joined
                self.inbox.put(joined)

    def _lose(self, reason: str) -> None:
        self._lost = reason
        self.inbox.put(SchedulerLost(reason))

    # ---- requests

    async def _ask(self, token: int, address: str, request: Request, seconds: float) -> None:
        sent, given, error = monotonic(), None, ""
        deadline = sent + seconds
        try:
            if self._lost is not None:
                raise OSError(self._lost)
            if address not in self._members:
                raise KeyError(address)
            await asyncio.wait_for(self._turns.acquire(), seconds)
            try:
                sent = monotonic()
                text = await asyncio.wait_for(self._call(address, request), deadline - sent)
            finally:
                self._turns.release()
            received = monotonic()
            given = decode_answer(text)
            self._answered.add(address)
        except (Exception, asyncio.CancelledError) as raised:
            if self._closing:
                raise
            received = monotonic()
            error = await self._why(raised, address, seconds)
        answered = Answered(token=token, answer=given, error=error, sent=sent, received=received)
        self.inbox.put(answered)

    async def _call(self, address: str, request: Request) -> str:
        """Returns the answer of a worker. It is cancelled when the worker goes."""
        call = asyncio.ensure_future(self._client.run(answer, encode(request).decode(), workers=[address]))
        self._calls.setdefault(address, set()).add(call)
        try:
            return str((await call)[address])
        finally:
            call.cancel()
            self._calls.get(address, set()).discard(call)

    async def _why(self, error: BaseException, address: str, seconds: float) -> str:
        """Returns in words why there is no answer."""
        if f"No module named '{PACKAGE}" in str(error):  # Dask may have made another exception of it
            return await self._without_package(address)
        if self._lost is None and (address not in self._members or await self._has_gone(error, address)):
            return "its Dask worker is gone"
        match error:
            case asyncio.TimeoutError():
                more = "" if address in self._answered else f"; can the scheduler reach it at {address}?"
                return f"no answer within {spoken(seconds)}{more}"
            case msgspec.DecodeError():
                return "its answer cannot be read; install the same version of ocidriver there"
            case OSError() if self._lost is not None:
                return f"lost the scheduler: {self._lost}"
            case OSError() if self._client.status != "running":
                return "the connection to the scheduler is broken"
            case OSError():
                return f"the scheduler cannot reach it at {address}"
            case KeyError() | asyncio.CancelledError():
                return "its Dask worker is gone"
        return clean(f"{type(error).__name__}: {error}")

    async def _has_gone(self, error: BaseException, address: str) -> bool:
        """Returns whether a connection has broken because the worker is gone. The scheduler may tell so a bit later."""
        if isinstance(error, OSError) and not isinstance(error, asyncio.TimeoutError):
            until = monotonic() + _SLOW_LOOK
            while self._lost is None and monotonic() < until:
                if address not in self._members:
                    return True
                await asyncio.sleep(_GONE_EVERY)
        return False

    async def _without_package(self, address: str) -> str:
        """Returns what is wrong with a host that does not find this package."""
        found = None
        with suppress(Exception):
            asked = self._client.run(version, DISTRIBUTION, workers=[address])
            found = str((await asyncio.wait_for(asked, _LOOK_SECONDS))[address])
        if found is None:
            return "it has no ocidriver; install it there (see docs/distributed.md)"
        if PACKAGE != "ocidriver_lib":
            return f"it has ocidriver {found} installed, but this is a checkout; run the installed ocidriver"
        return f"it has ocidriver {found}, which cannot be a host; install the same version there"

    # ---- holding workers

    def _hold(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            self._held.setdefault(address, None)
        self._hold_again()

    def _hold_again(self) -> None:
        """Gives each held worker its task, and again one whose task has ended or was cancelled by a new connection."""
        if self._client.status != "running":
            return
        for address, held in list(self._held.items()):
            if address not in self._members or (held is not None and held.status == "pending"):
                continue
            if held is not None and held.status == "error":
                del self._held[address]
                continue
            name = f"ocidriver-{self._run}-{secrets.token_hex(4)}"
            self._held[address] = self._client.submit(
                idle, name, key=name, pure=False, workers=[address], allow_other_workers=False
            )


def _message(event: object) -> dict[Any, Any]:
    """Returns the message of an event, which also has the time when it came to the scheduler. Empty if it has none."""
    message = event[1] if isinstance(event, (tuple, list)) and len(event) == 2 else None
    return message if isinstance(message, dict) else {}


def _security(hosts: Hosts) -> Security:
    """Returns what Dask needs for TLS. Without the options, it is Dask's own configuration."""
    if not hosts.is_encrypted:
        return Security(require_encryption=False)
    given: dict[str, Any] = {}
    if hosts.ca_file is not None:
        given["tls_ca_file"] = str(hosts.ca_file)
    if hosts.cert is not None:
        given["tls_client_cert"] = str(hosts.cert)
        given["tls_client_key"] = str(hosts.key or hosts.cert)
    security = Security(require_encryption=True, **given)
    _check(security)
    return security


def _check(security: Security) -> None:
    """Raises `UsageError` if the files for TLS cannot be used. Dask would ask for a passphrase at the terminal."""
    files = security.get_tls_config_for_role("client")
    ca, cert, key = (files.get(name) for name in ("ca_file", "cert", "key"))
    if not ca or not cert:
        raise UsageError("--hosts tls://… needs --hosts-ca-file, --hosts-cert and --hosts-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if "\n" in ca:
            context.load_verify_locations(cadata=ca)
        else:
            context.load_verify_locations(cafile=ca)
    except (OSError, ValueError):
        raise UsageError(f"--hosts-ca-file: {_shown(ca)} holds no certificate in PEM") from None
    if "\n" in cert:
        return
    try:
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise UsageError(
            f"--hosts-cert: the key in {_shown(key or cert)} does not belong to the certificate; give its key with "
            "--hosts-key"
            if error.reason == "KEY_VALUES_MISMATCH"
            else f"--hosts-cert: {_shown(cert)} and {_shown(key or cert)} must hold a certificate and its key in PEM, "
            "the key without a passphrase"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--hosts-cert: cannot read {_shown(cert)} or its key: {error}") from None


def _shown(path: str) -> str:
    return "the given text" if "\n" in path else path


def _silence() -> None:
    """Keeps the words of these libraries off the user's terminal: distributed gives its loggers handlers for stderr."""
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)
    for name in [*_LIBRARIES, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _LIBRARIES:
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.propagate = False

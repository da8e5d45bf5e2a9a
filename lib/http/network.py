"""The one thread that speaks HTTP: the listing, the probes, Ociregistry's admin calls and the gateway run in its loop.

Workers and the driver hand it coroutines and wait; a stop ends the wait at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from ..errors import Stopped
from ..processes.signals import Stop
from ..streams import warn

T = TypeVar("T")


class Network:
    """An asyncio loop in a thread of its own. Use as a context manager."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_tell)
        _silence()
        self._killed = False
        self._running: set[Future[Any]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def __enter__(self) -> Network:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, whatever happens meanwhile."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run_until_kill(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; CancelledError once `kill_all` was called, also before."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._running.add(future)
        try:
            if self._killed:
                future.cancel()
            return future.result()
        finally:
            self._running.discard(future)

    def kill_all(self) -> None:
        """End what `run_until_kill` waits for, now and from now on."""
        self._killed = True
        for future in list(self._running):
            future.cancel()

    def run_until_stop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result; a signal cancels it and raises Stopped."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        with self.stop.calling(future.cancel):
            try:
                return future.result()
            except CancelledError:
                self.run(_ended(coroutine))
                raise Stopped from None


async def _ended(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for the end of a task that was cancelled: what it uses may be closed then, and its errors are nobody's."""
    await asyncio.gather(
        *(task for task in asyncio.all_tasks() if task.get_coro() is coroutine), return_exceptions=True
    )


def _silence() -> None:
    """Where nobody has set up logging, libraries tell stderr what strangers send, in tracebacks."""
    for library in ("aiohttp", "asyncio"):
        logger = logging.getLogger(library)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio has nobody else to tell, such as that no descriptor is left for a connection."""
    error = context.get("exception")
    warn(f"network: {context['message']}" + (f": {error!r}" if error is not None else ""))

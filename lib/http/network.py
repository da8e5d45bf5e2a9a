"""The network thread: the listing, the probes, Ociregistry's admin calls and the gateway run in its asyncio loop.

Other threads submit coroutines and wait for them. A stop ends the wait at once.
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
    """An asyncio loop in its own thread. Use it as a context manager."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_warn_of)
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
        """Returns the coroutine's result. Neither a signal nor `kill_all` ends the wait."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run_until_kill(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns the coroutine's result. Raises CancelledError after `kill_all`, called now or earlier."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._running.add(future)
        try:
            if self._killed:
                future.cancel()
            return future.result()
        finally:
            self._running.discard(future)

    def run_for(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """Returns the coroutine's result; None after `seconds`, a signal or `kill_all`, which cancel it."""
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, seconds), self._loop)
        self._running.add(future)
        try:
            with self.stop.calling(future.cancel):
                if self._killed:
                    future.cancel()
                return future.result()
        except (CancelledError, asyncio.TimeoutError):
            return None
        finally:
            self._running.discard(future)

    def kill_all(self) -> None:
        """Cancels every current and later coroutine of `run_until_kill` and `run_for`."""
        self._killed = True
        for future in list(self._running):
            future.cancel()

    def run_until_stop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns the coroutine's result. A signal cancels the coroutine; then this raises Stopped."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        with self.stop.calling(future.cancel):
            try:
                return future.result()
            except CancelledError:
                self.run(_ended(coroutine))
                raise Stopped from None


async def _ended(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Waits for the end of a cancelled task and drops its errors. Then the caller may close what the task used."""
    await asyncio.gather(
        *(task for task in asyncio.all_tasks() if task.get_coro() is coroutine), return_exceptions=True
    )


def _silence() -> None:
    """Silences the loggers of libraries. Without handlers they write tracebacks about hostile requests to stderr."""
    for library in ("aiohttp", "asyncio"):
        logger = logging.getLogger(library)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())


def _warn_of(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Warns of an error that asyncio cannot raise anywhere, such as no free descriptor for a connection."""
    error = context.get("exception")
    warn(f"network: {context['message']}" + (f": {error!r}" if error is not None else ""))

"""A host process as its agent has it: orders go to its stdin, messages come from its stdout, its last words are kept.

Threads read and write the pipes, so a host process that does not read its orders delays nobody. The threads end with
the worker process. The host process then reads the end of its stdin.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from ..clean import clean
from ..streams import write_line
from .waiting import until
from .worker_stderr import inherited

# The longest message of a host process, in bytes: the header of a large load has megabytes.
LONGEST_LINE: Final = 32 << 20
# Of its stderr, so many lines are kept.
_LAST_WORDS: Final = 3
_LONGEST_WORD: Final = 16 * 1024
# Time for the rest of its output after its end.
_REST_SECONDS: Final = 2.0


class Child:
    """Starts a host process in a session of its own. It inherits the descriptor `lock`. Raises `OSError`.

    `heard` is called with each line of its stdout, in a thread.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], lock: int, heard: Callable[[bytes], None]
    ) -> None:
        with inherited() as (words, variable):
            self._process = subprocess.Popen(  # noqa: S603
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, **variable},
                pass_fds=(lock, words),
                start_new_session=True,
            )
        self._heard = heard
        self._orders: SimpleQueue[bytes | None] = SimpleQueue()
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        try:
            self._readers = [self._start(self._read_messages), self._start(self._read_words)]
            self._start(self._write_orders)
        except RuntimeError as error:
            self._process.kill()
            raise OSError(errno.EAGAIN, str(error)) from None

    @staticmethod
    def _start(work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name="host process", daemon=True)
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def order(self, line: bytes) -> None:
        """Sends an order, a line without its end."""
        self._orders.put(line + b"\n")

    async def end(self, seconds: float) -> None:
        """Waits for the end of the process and of its output. Kills it if it still runs after so many seconds."""
        if not await until(self.has_ended, seconds):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await until(self.has_ended, _REST_SECONDS)
        self._orders.put(None)
        await until(self._is_read, _REST_SECONDS)

    async def how_it_ended(self) -> str:
        """Returns in words how the process ended, with the last lines of its stderr."""
        await until(self._is_read, _REST_SECONDS)
        status = self._process.poll()
        if status is None:
            return "the host process runs"
        words = "; ".join(self._last_words)
        return f"the host process {_ending(status)}" + (f": {words}" if words else "")

    def _is_read(self) -> bool:
        return not any(thread.is_alive() for thread in self._readers)

    def _read_messages(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(LONGEST_LINE):
                if not line.endswith(b"\n") and len(line) >= LONGEST_LINE:
                    self._last_words.append(f"it sent a message of more than {LONGEST_LINE >> 20} MiB")
                    self._process.kill()
                    return
                self._heard(line.rstrip(b"\n"))

    def _read_words(self) -> None:
        """Passes its stderr on to that of the worker, and keeps the last lines."""
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while line := stream.readline(_LONGEST_WORD):
                text = line.decode(errors="replace").rstrip()
                write_line(text)
                if text:
                    self._last_words.append(clean(text))

    def _write_orders(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as stream:
            while (line := self._orders.get()) is not None:
                stream.write(line)
                stream.flush()


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"

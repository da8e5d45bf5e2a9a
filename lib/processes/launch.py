"""Starts timed client processes, and ends them at their timeout or at a stop.

A launch costs little: posix_spawn and a pidfd to wait on, no thread and no shell. Each client is its own process group.
So Ctrl-C at the terminal does not reach the client, and its child processes are killed with it. A separate session
would do the same, but Linux divides the CPU among sessions (autogroup), which costs 5 % of the pulls with many workers.
Only the thread that launched a client signals it, so a pid is never signalled after it was reaped.

Clients start in turns: at any time, half as many as there are cores (at least one) are starting. A client that starts
needs nothing but CPU. If hundreds start at once, they take it from one another, from running clients and from the
driver, and the pull rate falls. The number of running clients has no limit. Turns are not a fair queue: any waiting
thread may take a free one.

A launch releases the GIL only while it waits for its turn, starts the client and waits for its end. With hundreds of
workers, dozens of threads may wait for the GIL, so each further release would cost time.
"""

from __future__ import annotations

import ctypes
import os
import queue
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from .cpu import cores, seconds_of
from .posix_spawn import Spawner
from .signals import SIGNALS

# Bytes of stderr kept: `KEPT_HEAD` from the start, `KEPT_STDERR` from the end. The client's own words are there; a
# server can make the part in between as long as it likes.
KEPT_STDERR = 64 * 1024
KEPT_HEAD = 16 * 1024
# The longest timeout that poll(2) accepts, in milliseconds.
_LONGEST_POLL = 2**31 - 1
# The C library, called with the GIL held. Only for calls that do not block.
_libc = ctypes.PyDLL(None, use_errno=True)
_close = _libc.close
_Pair = ctypes.c_int * 2
# struct rusage of getrusage(2): seconds and microseconds of user time and of system time, then 14 more fields
_Usage = ctypes.c_long * 18
# The CPU time of a running client is read only after it has run for this many seconds.
_WORTH_ASKING = 0.25
# A client that dies of a signal within this many seconds of the driver's own counts as interrupted.
_SAME_SIGNAL = 0.5
# Signals that clients start with at their default action. Python ignores the first two; nohup and background shells
# ignore the others, and a client would inherit that.
_DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


class Outcome(NamedTuple):
    """The result of a launch.

    `returncode` is the exit status, or the negative number of the signal that ended the client. `stderr` is its start
    and its end (see `KEPT_STDERR`). `started` is monotonic; `seconds` is the time from the start to the exit.
    `timed_out`: the driver killed the client at its timeout. `interrupted`: a stop, or the signal that caused it, ended
    the client. `dropped`: the client was not started, since a stop had come. `error`: the client could not be started.
    """

    returncode: int
    stderr: str
    started: float
    seconds: float
    cpu_seconds: float = 0.0
    timed_out: bool = False
    interrupted: bool = False
    dropped: bool = False
    error: OSError | None = None


class Launcher:
    """Starts clients with one environment. `kill_all` ends every running launch and every later one.

    `stopped(seconds)` waits for at most this long and returns whether the driver was asked to stop. A signal to the
    driver's process group also reaches a client that has just been started and is still in that group.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        stopped: Callable[[float], bool] = lambda _: False,
    ) -> None:
        self._spawner = Spawner(environment, _DEFAULTED)
        self._terminals: dict[int, int] = {}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._killed, self._killer = os.pipe()
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(max(1, int(cores() / 2))):
            self._turns.put(None)
        self._running: dict[int, float] = {}
        self._stopped = stopped
        _keep_descriptors_to_ourselves()

    def kill_all(self) -> None:
        """Ends all running clients. Any thread may call this, and more than once."""
        os.write(self._killer, b"x")

    def running_cpu_seconds(self) -> float:
        """Returns the CPU seconds so far of the clients that run now. Any thread may call this."""
        before = monotonic() - _WORTH_ASKING
        running = list(self._running.items())
        return sum((seconds_of(pid) for pid, started in running if started < before), 0.0)

    def close(self) -> None:
        """Closes the launcher's descriptors. No client may run any more."""
        for descriptor in (self._null, self._killed, self._killer):
            os.close(descriptor)

    def run(
        self,
        argv: list[str],
        timeout: float,
        unwanted: Callable[[], bool] = lambda: False,
        answer: bytes = b"",
    ) -> Outcome:
        """Waits for a turn to start, then runs argv[0] (an absolute path) to its end. Never raises OSError.

        The client is killed `timeout` seconds after its start. It is not started if `unwanted` returns True when its
        turn has come. `answer` is typed into the terminal of a client that asks for a password; if it is empty, stdin
        is /dev/null.
        """
        self._turns.get()
        started = monotonic()
        try:
            try:
                if unwanted():
                    return Outcome(127, "", started, 0.0, dropped=True)
                pid, reader = self._start(argv, answer)
            finally:
                self._turns.put(None)
            return self._watch(pid, reader, started, started + timeout)
        except OSError as error:
            return _not_started(error, started)

    def _start(self, argv: list[str], answer: bytes) -> tuple[int, int]:
        """Starts a client; returns its pid and the descriptor to read its stderr from."""
        reader, writer = _pipe()
        try:
            if answer:
                return self._start_at_terminal(argv, answer, writer, reader), reader
            return self._spawner.start(argv, (self._null, self._null, writer)), reader
        except BaseException:
            _close(reader)
            raise
        finally:
            _close(writer)

    def _start_at_terminal(self, argv: list[str], answer: bytes, writer: int, reader: int) -> int:
        """Starts a client whose stdin is a terminal with the answer typed into it; returns its pid.

        `self._terminals` keeps the terminal under the number of `reader`, which is unique until `reader` is closed.
        """
        terminal, stdin = os.openpty()
        try:
            os.write(terminal, answer + b"\n")
            pid = self._spawner.start(argv, (stdin, self._null, writer))
        except BaseException:
            _close(terminal)
            raise
        finally:
            _close(stdin)
        self._terminals[reader] = terminal
        return pid

    def _watch(self, pid: int, reader: int, started: float, deadline: float) -> Outcome:
        try:
            pidfd = os.pidfd_open(pid)
            self._running[pid] = started
            try:
                return self._wait(pid, pidfd, reader, started, deadline)
            finally:
                del self._running[pid]
                _close(pidfd)
        except BaseException:
            # for example, no descriptor is left for the pidfd: a client must not run unwatched
            _end(pid)
            raise
        finally:
            terminal = self._terminals.pop(reader, None)
            if terminal is not None:
                _close(terminal)
            _close(reader)

    def _wait(self, pid: int, pidfd: int, reader: int, started: float, deadline: float) -> Outcome:
        watch = select.poll()
        for descriptor in (pidfd, reader, self._killed):
            watch.register(descriptor, select.POLLIN)
        kept, timed_out, interrupted = bytearray(), False, False
        while True:
            left = deadline - monotonic()
            ready = dict(
                watch.poll(
                    None if timed_out or interrupted else min(max(left, 0.0) * 1000 + 1, _LONGEST_POLL)
                )
            )
            if pidfd in ready:
                break
            if left <= 0 and not timed_out:
                timed_out = True
                os.killpg(pid, signal.SIGKILL)
            if self._killed in ready:
                interrupted = True
                watch.unregister(self._killed)
                os.killpg(pid, signal.SIGKILL)
            if reader in ready and not _read_into(kept, reader):
                watch.unregister(reader)
        ended = monotonic()
        os.killpg(pid, signal.SIGKILL)  # child processes that the client left, such as a credential helper
        if ready.get(reader, 0) & select.POLLIN:
            _drain(kept, reader)
        returncode, cpu_seconds = _reap(pid)
        if -returncode in SIGNALS:
            interrupted |= self._stopped(_SAME_SIGNAL)
        return Outcome(
            returncode=returncode,
            stderr=kept.decode("utf-8", "replace"),
            started=started,
            seconds=ended - started,
            cpu_seconds=cpu_seconds,
            timed_out=timed_out and returncode != 0,
            interrupted=interrupted and returncode != 0,
        )


def _not_started(error: OSError, started: float) -> Outcome:
    return Outcome(
        127, f"cannot start the client: {error.strerror}", started, monotonic() - started, error=error
    )


def _pipe() -> tuple[int, int]:
    """Returns both ends of a new pipe, the reader first. Raises OSError if no descriptor is left."""
    ends = _Pair()
    if _libc.pipe2(ends, os.O_CLOEXEC):
        raise _last_error()
    return ends[0], ends[1]


def _reap(pid: int) -> tuple[int, float]:
    """Reaps a client that has ended. Returns its exit status (negative for a signal) and its CPU seconds."""
    status, usage = ctypes.c_int(), _Usage()
    if _libc.wait4(pid, ctypes.byref(status), 0, usage) != pid:
        raise _last_error()
    seconds = usage[0] + usage[2] + (usage[1] + usage[3]) / 1e6
    return os.waitstatus_to_exitcode(status.value), seconds


def _last_error() -> OSError:
    """Returns the error of the last call to the C library."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _drain(kept: bytearray, reader: int) -> None:
    """Reads what is left in the pipe. It does not wait for end of file, as another process may hold the other end."""
    os.set_blocking(reader, False)
    for _ in range(4):
        if not _read_into(kept, reader):
            break


def _read_into(kept: bytearray, reader: int) -> bool:
    """Appends a chunk from the pipe and keeps the start and end of the text. Returns False if there was nothing.

    That is the case at end of file, and for a non-blocking `reader` with no data. A blocking `reader` does not wait if
    poll reported data.
    """
    try:
        chunk = os.read(reader, KEPT_STDERR)
    except BlockingIOError:
        return False
    kept += chunk
    if len(kept) > 2 * KEPT_STDERR:
        del kept[KEPT_HEAD:-KEPT_STDERR]
    return bool(chunk)


def _end(pid: int) -> None:
    """Kills and reaps a client, unless it has been reaped already."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _keep_descriptors_to_ourselves() -> None:
    """Marks all inherited descriptors above 2 as close-on-exec. posix_spawn would pass them on to the clients."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the descriptor of the listing itself, closed by now

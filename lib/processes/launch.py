"""The one place where a timed client process starts, is timed out, and dies.

A launch is lean: posix_spawn, a pidfd to wait on, no thread and no shell. Each client is a process group of its own, so
that a terminal's Ctrl-C does not reach it and so that whatever it started dies with it. A session of its own would do
that too, but Linux shares out the CPU among sessions (autogroup): with many workers a twentieth of the pulls is lost.
Only the thread that launched a client ends it, so a pid is never signalled after it was reaped.

Clients start in turns, half as many at a time as there are cores, at least one. What starts needs nothing but CPU:
hundreds at once take it from each other, from those that pull and from the driver, and fewer pulls come of it. Once
started they run at the same time, all of them where they wait for the server. Who is there when a turn is given back
takes it, whoever came first. (`xargs -P` starts one after the other, too.)

A launch lets go of the interpreter to wait for its turn, to start the client and to wait for its end, and for nothing
in between: with hundreds of workers there may be dozens of threads in line for it.
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

# Of a client's stderr so much is kept, from its end and from its beginning: its own words stand there, while a server
# can make what is between them as long as it likes.
KEPT_STDERR = 64 * 1024
KEPT_HEAD = 16 * 1024
# What poll takes at most, in milliseconds.
_LONGEST_POLL = 2**31 - 1
# The C library without letting go of the interpreter, for calls that do not wait.
_libc = ctypes.PyDLL(None, use_errno=True)
_close = _libc.close
_Pair = ctypes.c_int * 2
# struct rusage of getrusage(2): seconds and microseconds of user and system time, then fourteen more
_Usage = ctypes.c_long * 18
# A client that has run for less, in seconds, is not asked for its CPU time before it ends.
_WORTH_ASKING = 0.25
# A client that dies by a signal so many seconds before the driver hears of it was meant by the same.
_SAME_SIGNAL = 0.5
# Signals whose "ignored" would be inherited: Python ignores the first two, nohup and background shells the rest.
_DEFAULTED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


class Outcome(NamedTuple):
    """What came of a launch: its start (monotonic), seconds from launch to exit, CPU seconds and the end of its stderr.

    `returncode` is negative for a signal. `timed_out` and `interrupted` tell that the driver killed it, or that
    what stopped the driver did; `dropped` that it was not started, as nobody wanted it any more; `error` that it
    could not be.
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
    """Starts clients with one environment. `kill_all` ends every running and every later launch, for good.

    `stopped` says whether the driver was told to stop, or is within so many seconds: a signal to its process group
    reaches a client, too, that is just being born into it. `answer` is what a client reads that asks at its terminal
    for a password; without one its stdin is /dev/null.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        stopped: Callable[[float], bool] = lambda _: False,
        answer: bytes = b"",
    ) -> None:
        self._spawner = Spawner(environment, _DEFAULTED)
        self._answer = answer
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
        """End all running clients. May be called from a signal handler, and more than once."""
        os.write(self._killer, b"x")

    def running_cpu_seconds(self) -> float:
        """What the clients that run now have used so far; any thread may ask."""
        before = monotonic() - _WORTH_ASKING
        running = list(self._running.items())
        return sum((seconds_of(pid) for pid, started in running if started < before), 0.0)

    def close(self) -> None:
        for descriptor in (self._null, self._killed, self._killer):
            os.close(descriptor)

    def run(self, argv: list[str], timeout: float, unwanted: Callable[[], bool] = lambda: False) -> Outcome:
        """Run argv[0] (an absolute path) to its end, when its turn to start has come; never raises OSError.

        It is killed `timeout` seconds after its start, and does not start where it is `unwanted` by then.
        """
        self._turns.get()
        started = monotonic()
        try:
            try:
                if unwanted():
                    return Outcome(127, "", started, 0.0, dropped=True)
                pid, reader = self._start(argv)
            finally:
                self._turns.put(None)
            return self._watch(pid, reader, started, started + timeout)
        except OSError as error:
            return _not_started(error, started)

    def _start(self, argv: list[str]) -> tuple[int, int]:
        """A client's pid, and the descriptor from which its stderr is read."""
        reader, writer = _pipe()
        try:
            if self._answer:
                return self._start_at_terminal(argv, writer, reader), reader
            return self._spawner.start(argv, (self._null, self._null, writer)), reader
        except BaseException:
            _close(reader)
            raise
        finally:
            _close(writer)

    def _start_at_terminal(self, argv: list[str], writer: int, reader: int) -> int:
        """The pid of a client whose stdin is a terminal with the answer typed into it.

        The terminal is kept under the number of `reader`, which is nobody else's until it is closed.
        """
        terminal, stdin = os.openpty()
        try:
            os.write(terminal, self._answer + b"\n")
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
            # no descriptor left to wait on it, say: it must not go on unwatched
            _end(pid)
            raise
        finally:
            if self._answer:
                _close(self._terminals.pop(reader))
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
        os.killpg(pid, signal.SIGKILL)  # what the client started and left: a credential helper, say
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
    """Both ends, reader first; OSError where no descriptor is left."""
    ends = _Pair()
    if _libc.pipe2(ends, os.O_CLOEXEC):
        raise _last_error()
    return ends[0], ends[1]


def _reap(pid: int) -> tuple[int, float]:
    """Of a client that has ended: its exit status, negative for a signal, and its CPU seconds."""
    status, usage = ctypes.c_int(), _Usage()
    if _libc.wait4(pid, ctypes.byref(status), 0, usage) != pid:
        raise _last_error()
    seconds = usage[0] + usage[2] + (usage[1] + usage[3]) / 1e6
    return os.waitstatus_to_exitcode(status.value), seconds


def _last_error() -> OSError:
    """Of the C library's last call."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _drain(kept: bytearray, reader: int) -> None:
    """Read what is left in the pipe, which is bounded, whoever else may still hold its other end."""
    os.set_blocking(reader, False)
    for _ in range(4):
        if not _read_into(kept, reader):
            break


def _read_into(kept: bytearray, reader: int) -> bool:
    """Append what is there, keeping both ends only; False at the end of file and when there is nothing now.

    It does not wait where poll has said that there is something.
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
    """Kill and reap a client, unless it has been reaped already."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _keep_descriptors_to_ourselves() -> None:
    """Descriptors that the driver was started with must not reach the clients; posix_spawn closes none."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                continue  # the folder's own descriptor, closed by now

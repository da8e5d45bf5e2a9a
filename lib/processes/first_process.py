"""The first process of a container (PID 1): passes signals on to ocidriver, and reaps the orphans of the clients.

The kernel makes every orphan a child of PID 1, and hides from PID 1 all signals that it does not handle. So ocidriver
itself runs in a child, as any other program does.
"""

from __future__ import annotations

import os
import signal
from time import monotonic

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_AWAITED = frozenset((*_PASSED_ON, signal.SIGCHLD))
# What the kernel itself sends, such as the terminal's Ctrl-C, reaches the child as well (SI_KERNEL of sigaction(2)).
_FROM_THE_KERNEL = 0x80


def stand_in_as_first_process(rest_seconds: float = 0.0) -> int | None:
    """Forks. Returns None in the child, which goes on. In the parent, returns the exit status when the child has ended.

    No other thread may run yet. `rest_seconds`: after the end of the child, its orphans have at most this time to end
    too. The kernel kills them when the parent ends. The second signal ends the wait.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before - _AWAITED)
        return None
    status, signals = _pass_signals_on(child)
    _wait_for_orphans(rest_seconds, signals)
    return status


def _pass_signals_on(child: int) -> tuple[int, int]:
    """Waits for the child's end. Returns its exit status, and how many signals came."""
    signals = 0
    while True:
        received = signal.sigwaitinfo(_AWAITED)
        if received.si_signo != signal.SIGCHLD:
            signals += 1
            if received.si_code != _FROM_THE_KERNEL:
                os.kill(child, received.si_signo)
            continue
        for pid, status in _reaped()[0]:
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return (code if code >= 0 else 128 - code), signals


def _wait_for_orphans(seconds: float, signals: int) -> None:
    """Waits until there is no other process, at most so many seconds, and until the second signal of all."""
    end = monotonic() + seconds
    while _reaped()[1] and (left := end - monotonic()) > 0:
        received = signal.sigtimedwait(_AWAITED, left)
        signals += received is not None and received.si_signo != signal.SIGCHLD
        if signals > 1:
            return


def _reaped() -> tuple[list[tuple[int, int]], bool]:
    """Reaps all children that have ended. Returns their pids and wait statuses, and whether other children remain."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found, False
        if pid == 0:
            return found, True
        found.append((pid, status))

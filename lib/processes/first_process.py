"""The first process of a container (PID 1): passes signals on to ocidriver, and reaps the orphans of the clients.

The kernel makes every orphan a child of PID 1, and hides from PID 1 all signals that it does not handle. So ocidriver
itself runs in a child, as any other program does.
"""

from __future__ import annotations

import os
import signal

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
# What the kernel itself sends, such as the terminal's Ctrl-C, reaches the child as well (SI_KERNEL of sigaction(2)).
_FROM_THE_KERNEL = 0x80


def stand_in_as_first_process() -> int | None:
    """Forks. Returns None in the child, which goes on. In the parent, returns the exit status when the child has ended.

    No other thread may run yet.
    """
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before - awaited)
        return None
    while True:
        received = signal.sigwaitinfo(awaited)
        if received.si_signo != signal.SIGCHLD:
            if received.si_code != _FROM_THE_KERNEL:
                os.kill(child, received.si_signo)
            continue
        for pid, status in _reaped():
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _reaped() -> list[tuple[int, int]]:
    """Reaps all children that have ended. Returns their pids and wait statuses."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, status))

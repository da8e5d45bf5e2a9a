"""The guard: a small process that kills what the clients leave behind, even if the driver was ended by SIGKILL.

The guard reads a pipe from the driver. It acts when the driver says goodbye, or at end of file if the driver died: it
kills every process that has the run's mark in its environment. It runs this file as a script and imports nothing from
this package, so that it starts fast and stays small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

MARK = "OCIDRIVER_RUN"
# The file in a run's folder that lists the run's folders in other places, one path per line.
ELSEWHERE = "elsewhere"
_GOODBYE = b"goodbye"
# At most this many searches for marked processes.
_ROUNDS = 10


class Guard:
    """Starts the guard for a run's folder, and ends it. Use it as a context manager around all launches of clients."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._pipe = -1
        self._pid = 0

    def __enter__(self) -> Guard:
        reader, self._pipe = os.pipe()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", __file__, self._folder],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, new, old) for new, old in ((reader, 0), (null, 1), (null, 2))
                ],
                setsid=True,
                setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
                setsigmask=(),
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(reader)
            os.close(null)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the guard may have been killed
            os.write(self._pipe, _GOODBYE)
        os.close(self._pipe)
        os.waitpid(self._pid, 0)


def marked(folder: str) -> list[int]:
    """Returns the pids of the other processes that have the run's mark in their environment."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue  # the process has ended, or belongs to another user
    return found


def main(folder: str) -> None:
    """Waits for the driver's end, then kills the processes with the run's mark until none is left.

    After a goodbye, only processes that a client started in their own session are left, and the driver removes the
    folder. Without a goodbye, the guard removes it.
    """
    goodbye = os.read(0, len(_GOODBYE)) == _GOODBYE
    # without a goodbye the driver may have been starting a client, whose mark appears a moment later
    looks_left = 1 if goodbye else 2
    for _ in range(_ROUNDS):
        pids = marked(folder)
        looks_left -= not pids
        if not looks_left:
            break
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    if not goodbye:
        import shutil

        remove_elsewhere(folder)
        shutil.rmtree(folder, ignore_errors=True)


def remove_elsewhere(folder: str) -> None:
    """Removes the folders that this run has in other places."""
    import shutil

    with suppress(OSError), open(os.path.join(folder, ELSEWHERE)) as listed:
        for path in listed.read().splitlines():
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])

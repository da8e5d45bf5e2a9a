"""The guard: a small process that ends what the clients left, also where the driver itself was killed by SIGKILL.

It holds the reading end of a pipe from the driver. At the driver's goodbye, and at the end of file without one when the
driver is gone, every process that carries the run's mark in its environment is killed.
Runs as a script of its own (no imports from this package), so that it starts fast and stays small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

MARK = "OCIDRIVER_RUN"
# The file in the folder of a run that lists its folders in other places, one path per line.
ELSEWHERE = "elsewhere"
_GOODBYE = b"goodbye"
_ROUNDS = 10


class Guard:
    """Starts the guard for a run's folder; use as a context manager around everything that launches clients."""

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
        with suppress(OSError):  # somebody may have ended the guard
            os.write(self._pipe, _GOODBYE)
        os.close(self._pipe)
        os.waitpid(self._pid, 0)


def marked(folder: str) -> list[int]:
    """The processes, but for this one, whose environment carries the run's mark."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue  # ended meanwhile, or another user's
    return found


def main(folder: str) -> None:
    """Wait for the driver's end; then kill what carries its mark until nothing does.

    After a goodbye that is what a client started in a session of its own, and the folder is the driver's to remove.
    """
    goodbye = os.read(0, len(_GOODBYE)) == _GOODBYE
    looks_left = (
        1 if goodbye else 2
    )  # a client that the driver was just about to start shows its mark a moment later
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
    """Removes the folders of this run in other places, if it has any."""
    import shutil

    with suppress(OSError), open(os.path.join(folder, ELSEWHERE)) as listed:
        for path in listed.read().splitlines():
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])

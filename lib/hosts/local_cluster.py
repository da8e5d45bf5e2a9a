"""A Dask cluster on this machine: a scheduler and workers as processes, which listen on 127.0.0.1 only.

They run in sessions of their own, so Ctrl-C at the terminal does not reach them. They end with this process, however
that ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..clean import clean
from ..durations import spoken
from ..errors import RunError
from ..processes.scratch import PREFIX, Scratch
from .machine_lock import sweep
from .package import PACKAGE, environment

_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0
_LOOK: Final = 0.05
# Without a dashboard Dask still listens for HTTP: on loopback only, then.
_QUIET: Final = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", "127.0.0.1")
_WORKER: Final = (
    "--nworkers",
    "1",
    "--nthreads",
    "1",
    "--no-nanny",
    "--memory-limit",
    "0",
    "--death-timeout",
    "60",
)


class LocalCluster:
    """A scheduler at `address` and this many workers, named local-1 and so on. Use it as a context manager.

    While the scheduler starts, `heed` is called several times per second. Raises what that raises, and `RunError` if
    the scheduler does not start.
    """

    def __init__(self, count: int, heed: Callable[[], None] = lambda: None) -> None:
        self.address = ""
        self._heed = heed
        self._count = count
        self._scratch = Scratch(f"{PREFIX}hosts-")
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of the workers."""
        return [each.pid for each in self._workers]

    @property
    def scheduler_pid(self) -> int:
        """The process id of the scheduler; 0 if there is none."""
        return self._scheduler.pid if self._scheduler is not None else 0

    def __enter__(self) -> LocalCluster:
        folder = self._scratch.__enter__().path
        try:
            known = folder / "scheduler.json"
            self._scheduler = self._start("scheduler", *_QUIET, "--port", "0", "--scheduler-file", str(known))
            self.address = self._wait_for_address(known)
            for number in range(1, self._count + 1):
                self._heed()
                place = ("--name", f"local-{number}", "--local-directory", str(folder))
                self._workers.append(self._start("worker", self.address, *_QUIET, *_WORKER, *place))
        except OSError as error:
            self.__exit__()
            raise RunError(f"cannot start hosts on this machine: {error.strerror}") from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers, and then the scheduler."""
        _end(self._workers)
        _end([] if self._scheduler is None else [self._scheduler])
        self._workers, self._scheduler = [], None
        self._scratch.__exit__()
        sweep()

    @property
    def _log(self) -> Path:
        return self._scratch.path / "log"

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", f"{PACKAGE}.hosts.tied", "dask", *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={
                    **environment(),
                    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "False",
                    # the scheduler leaves a folder there
                    "DASK_TEMPORARY_DIRECTORY": str(self._scratch.path),
                },
                start_new_session=True,
            )

    def _wait_for_address(self, known: Path) -> str:
        assert self._scheduler is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError, KeyError):
                return str(json.loads(known.read_text())["address"])
            if self._scheduler.poll() is not None:
                raise RunError(f"the scheduler on this machine did not start: {self._last_line()}")
            self._heed()
            time.sleep(_LOOK)
        raise RunError(f"the scheduler on this machine did not start within {spoken(_START_SECONDS)}")

    def _last_line(self) -> str:
        with suppress(OSError, IndexError):
            return clean(self._log.read_text(errors="replace").splitlines()[-1])
        return "no reason given"


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends these processes by the end of their stdin, and kills those that take too long."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    deadline = time.monotonic() + _END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

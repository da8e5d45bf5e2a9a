"""A containerd of the run's own, the service that `ctr` works with.

It keeps the contents of namespaces apart (`content_sharing_policy`), so that every pull asks for every layer. It needs
neither root nor a network, and its folder is all that it leaves.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..durations import spoken
from ..errors import RunError, Stopped
from ..processes.cpu import seconds_of
from ..processes.scratch import PREFIX
from .client import Orders
from .memory import MEMORY, memory_is_wanted

# The longest path of a socket that containerd takes: that of the system with the shortest (macOS).
_LONGEST_SOCKET: Final = 104
# Seconds for containerd to start, and to end.
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 5.0
_KEPT_LOG: Final = 300

# As of containerd 1.6; later versions read it, too. A snapshotter has to be there, or the metadata store does not load.
_CONFIG: Final = """version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[grpc]
  address = "{folder}/c.sock"
  uid = {uid}
  gid = {gid}
[ttrpc]
  address = "{folder}/c.sock.ttrpc"
  uid = {uid}
  gid = {gid}
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
"""
_DISABLED: Final = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.grpc.v1.tasks",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.runtime.v1.linux",
    "io.containerd.runtime.v2.task",
    "io.containerd.service.v1.tasks-service",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.snapshotter.v1.zfs",
)


class Containerd:
    """A containerd of the run's own. `address` is its socket."""

    def __init__(
        self, program: str, folder: Path, environment: Mapping[str, str], stopped: Callable[[float], bool]
    ) -> None:
        """Starts it. Raises RunError if it does not answer, and Stopped if `stopped` returns True meanwhile."""
        self.address = str(folder / "c.sock")
        self._log = folder / "log"
        config = folder / "config.toml"
        config.write_text(_config(folder))
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - found on PATH, as the client is
                    [program, "--config", str(config), "--log-level", "warn"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise RunError(f"'{program}' cannot be started: {error.strerror}") from None
        try:
            self._wait_until_it_answers(program, stopped)
        except BaseException:
            self.close()
            raise
        self._counting = threading.Lock()
        self._counted = seconds_of(self._process.pid)

    def cpu_seconds_since(self) -> float:
        """CPU seconds that it has used since the last call."""
        with self._counting:
            before, self._counted = self._counted, max(self._counted, seconds_of(self._process.pid))
            return self._counted - before

    def close(self) -> None:
        """Ends it. Its folder is the scratch folder's to remove."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _wait_until_it_answers(self, program: str, stopped: Callable[[float], bool]) -> None:
        import tenacity

        def wait(seconds: float) -> None:
            if stopped(seconds):
                raise Stopped

        waiting = tenacity.Retrying(
            wait=tenacity.wait_fixed(0.02),
            stop=tenacity.stop_after_delay(_START_SECONDS),
            retry=tenacity.retry_if_exception_type(OSError),
            sleep=wait,
            reraise=True,
        )
        try:
            waiting(self._connect, program)
        except OSError:
            raise RunError(
                f"'{program}' did not answer within {spoken(_START_SECONDS)}{self._last_line()}"
            ) from None

    def _connect(self, program: str) -> None:
        if self._process.poll() is not None:
            raise RunError(f"'{program}' ended with status {self._process.returncode}{self._last_line()}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")[-2:]
        return f": {lines[0][:_KEPT_LOG]}" if lines[0] else ""


def _config(folder: Path) -> str:
    disabled = ", ".join(f'"{name}"' for name in _DISABLED)
    return _CONFIG.format(folder=folder, disabled=disabled, uid=os.geteuid(), gid=os.getegid())


def find_containerd(ctr: str, orders: Orders) -> Containerd:
    """A containerd of the run's own, started from the program beside `ctr` or on PATH. Raises RunError without one."""
    path = os.pathsep.join([os.path.dirname(ctr), os.environ.get("PATH", os.defpath)])
    program = shutil.which("containerd", path=path)
    if program is None:
        raise RunError(
            "ctr needs containerd, which was not found on PATH: install the package containerd, "
            "or name the socket of a running one with --containerd-socket"
        )
    return Containerd(os.path.abspath(program), _home(orders.elsewhere), orders.environment, orders.stopped)


def _home(elsewhere: Callable[[Path], Path]) -> Path:
    """A folder for a containerd of the run's own, in memory if there is room; else in the temporary folder.

    In memory, its database need not wait for a disk: 3 to 5 times as many pulls.
    The path of a socket may not be long, so a temporary folder with a long path cannot be used.
    """
    places = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the folder in it is the user's alone
    if memory_is_wanted():
        places.insert(0, MEMORY)
    for place in places:
        if len(f"{place}/{PREFIX}12345678/c.sock.ttrpc") <= _LONGEST_SOCKET:
            with suppress(OSError):
                return elsewhere(place)
    raise RunError(f"no folder for containerd: the path {places[0]} is too long; set TMPDIR to a shorter one")

"""The containerd namespaces of one run: their names, and their removal from the user's containerd."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

from ..clean import clean
from ..errors import RunError, Stopped
from ..processes.scratch import PREFIX

# Seconds after which a command of ctr that does not end is killed.
_COMMAND_SECONDS: Final = 30.0
# Seconds between two looks at a command that a stop may end.
_LOOK_SECONDS: Final = 0.02
# How long ctr waits for containerd; without a limit it waits ten seconds.
_CONNECT: Final = "5s"
# The digest of nothing.
_EMPTY: Final = f"sha256:{hashlib.sha256().hexdigest()}"
# The exit status of a command that could not be started, or did not end.
_NOT_RUN: Final = 127


class Namespaces:
    """The namespaces of one run in a containerd, one for each worker at a time.

    A name says which process made it, so that a later run can tell what a killed run left. Commands of its own run
    with `environment`.
    """

    def __init__(self, ctr: str, address: str, environment: Mapping[str, str]) -> None:
        self.address = address
        self._environment = dict(environment)
        self._ctr = ctr
        self._owner = f"{PREFIX}{_machine()}-{os.getpid()}-{_start_of(os.getpid())}"
        self._generations: dict[str, int] = {}
        # Those in which a launch was killed, and which are there until the end of the run.
        self._killed: set[str] = set()

    def current(self, worker: str) -> str:
        """The namespace that this worker uses now."""
        return f"{self._owner}-{worker}-{self._generations.setdefault(worker, 0)}"

    def leave(self, worker: str, *, remove: bool) -> None:
        """A launch was killed, so the worker goes on in a new namespace.

        The old one is removed now, or at the end of the run.
        """
        old = self.current(worker)
        self._generations[worker] += 1
        if remove:
            self._remove([old], killed={old})
        else:
            self._killed.add(old)

    def command(self, namespace: str, *words: str, debug: bool = False) -> list[str]:
        """The argv of a command of ctr in this namespace. `debug`: it reports each request on stderr."""
        return [
            *([self._ctr, "--debug"] if debug else [self._ctr]),
            *("--connect-timeout", _CONNECT, "--address", self.address),
            *(["--namespace", namespace] if namespace else []),
            *words,
        ]

    def check(self, stopped: Callable[[float], bool]) -> None:
        """Raises RunError if no containerd answers, and Stopped if `stopped` returns True meanwhile."""
        found = self._run("", "version", stopped=stopped)
        if found.returncode:
            why = found.stderr.strip().splitlines()[-1:] or ["no answer"]
            raise RunError(
                f"--containerd-socket: containerd does not answer at {self.address} "
                f"({clean(why[0].removeprefix('ctr: '), 200)}); start it, or leave out the option"
            )

    def remove_stale(self) -> None:
        """Removes what runs left that were killed on this machine."""
        mine = f"{PREFIX}{_machine()}-"
        stale = {name for name in self._names() if name.startswith(mine) and not lives(name)}
        self._remove(stale, killed=stale)

    def remove_all(self) -> bool:
        """Removes the namespaces of this run. Returns whether containerd answers, and has none of them left."""
        listed = self._run("", "namespaces", "ls", "-q")
        mine = {name for name in listed.stdout.split() if name.startswith(f"{self._owner}-")}
        self._remove(mine, killed=mine & self._killed)
        return listed.returncode == 0 and not (mine and mine.intersection(self._names()))

    def _names(self) -> list[str]:
        return self._run("", "namespaces", "ls", "-q").stdout.split()

    def _remove(self, names: Collection[str], killed: Collection[str]) -> None:
        """Removes namespaces; what launches left goes first from those in which one was `killed`.

        containerd calls a namespace empty that holds nothing but the beginning of a layer or manifest. It removes such
        a namespace, and keeps the beginning for ever.
        """
        if not names:
            return
        self._empty(killed)
        if self._run("", "namespaces", "rm", *names).returncode == _NOT_RUN:
            return
        left = set(names) & set(self._names())
        if left:
            self._empty(left)
            self._run("", "namespaces", "rm", *left)

    def _empty(self, names: Collection[str]) -> None:
        for name in names:
            for what in ("images", "leases"):
                found = self._run(name, what, "ls", "-q").stdout.split()
                if found:
                    self._run(name, what, "rm", "--sync", *found)
        for name in list(names)[:1]:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Lets containerd remove what nothing refers to any more, in all namespaces.

        It looks for files only after something complete was deleted, so an empty content is made and deleted.
        """
        self._run(name, "content", "ingest", "ocidriver-nothing")
        self._run(name, "content", "rm", _EMPTY)
        self._run(name, "content", "prune", "references")

    def _run(
        self, namespace: str, *words: str, stopped: Callable[[float], bool] | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv, deadline = self.command(namespace, *words), monotonic() + _COMMAND_SECONDS
        try:
            process = subprocess.Popen(  # noqa: S603 - the client itself
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                env=self._environment,
            )
        except OSError as error:
            return subprocess.CompletedProcess(argv, _NOT_RUN, "", str(error))
        with process:
            try:
                while stopped is not None and process.poll() is None and monotonic() < deadline:
                    if stopped(_LOOK_SECONDS):
                        raise Stopped
                out, err = process.communicate(timeout=max(0.0, deadline - monotonic()))
            except subprocess.TimeoutExpired as error:
                return subprocess.CompletedProcess(argv, _NOT_RUN, "", str(error))
            finally:
                process.kill()
        return subprocess.CompletedProcess(argv, process.returncode, out, err)


def _machine() -> str:
    """Tells machines apart, and containers on one machine, whose process ids mean nothing to each other."""
    with suppress(OSError):
        identity = Path("/etc/machine-id").read_text()
        return _digest(f"{identity}{socket.gethostname()}{os.stat('/proc/self/ns/pid').st_ino}")
    return _digest(socket.gethostname())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _start_of(pid: int) -> str:
    """When a process began, in clock ticks since the machine's start (proc(5), stat); empty if there is none."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def lives(namespace: str) -> bool:
    """Whether the run that made this namespace goes on. A name that no run makes counts as alive, and stays."""
    made = re.fullmatch(rf"{PREFIX}[0-9a-f]{{8}}-(\d+)-(\d+)-.+-\d+", namespace)
    return made is None or _start_of(int(made[1])) == made[2]

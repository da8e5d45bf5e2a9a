"""Finds the executable of a client and asks it for its version."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from ..choices import AUTO
from ..durations import spoken
from ..errors import RunError, Stopped
from ..processes.limits import hint
from .client import Client, Executable
from .table import NAMES, client_kind

# Seconds after which a client that does not report its version is killed, and between two looks for a stop.
_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.02
# The longest answer that is read, in bytes.
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A client that is installed: its kind and its executable."""

    kind: type[Client]
    executable: Executable

    def __str__(self) -> str:
        return f"{self.kind.name} {self.executable.version} ({self.executable.path})"


def candidates(wanted: str) -> tuple[str, ...]:
    """The names or paths to try for `--client`: with `auto`, the clients that need no service beside them."""
    if wanted != AUTO:
        return (wanted,)
    return tuple(name for name in NAMES if not client_kind(name).abilities.needs_service)


def missing_before(wanted: str, found: Found) -> str:
    """Which clients `auto` would have preferred, as an addition to a log line; empty if there is none."""
    names = candidates(wanted)
    if wanted != AUTO or found.kind.name == names[0]:
        return ""
    return f", as {' and '.join(names[: names.index(found.kind.name)])} was not found"


def find_client(
    wanted: str, environment: Mapping[str, str], stopped: Callable[[float], bool] | None = None
) -> Found:
    """The executable for `auto`, a name or a path.

    `stopped(seconds)` waits for at most this long and returns whether a stop was asked for; then this raises Stopped.
    Raises RunError if there is none, or if it does not answer as one of the clients.
    """
    names = candidates(wanted)
    for name in names:
        path = _which(name)
        if path:
            return _identify(path, environment, stopped)
    if wanted == AUTO:
        raise RunError(f"neither {' nor '.join(names)} was found on PATH: {_install(names)}")
    wanted_names = (wanted,) if wanted in NAMES else NAMES
    raise RunError(f"the client '{wanted}' was not found or cannot be executed: {_install(wanted_names)}")


def executables(wanted: str) -> list[str]:
    """The executables that `find_client` may start for this `--client`."""
    found = map(_which, candidates(wanted))
    return [path for path in found if path is not None]


def _install(names: Sequence[str]) -> str:
    ways = ", ".join(f"{name}: {client_kind(name).install}" for name in names)
    return f"install it ({ways}) or give a path with --client"


def _which(name: str) -> str | None:
    """On PATH, else beside this interpreter, where a virtual environment keeps what was set up with it."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    path = shutil.which(name, path=beside)
    return os.path.abspath(path) if path else None


def _identify(path: str, environment: Mapping[str, str], stopped: Callable[[float], bool] | None) -> Found:
    """Asks the executable for its version as each client would be asked; the one that its name holds goes first."""
    base = os.path.basename(path).lower()
    reasons = []
    for name in sorted(NAMES, key=lambda name: name not in base):
        kind = client_kind(name)
        try:
            version = kind.version_in(_ask(path, kind.version_option, environment, stopped))
        except RunError as error:
            reasons.append(str(error))
            continue
        if version is not None:
            return Found(kind, Executable(path, version))
    why = reasons[0] if reasons else f"it does not answer as {', '.join(NAMES[:-1])} or {NAMES[-1]} does"
    raise RunError(f"the client '{path}' does not work: {why}")


def _ask(
    path: str, question: str, environment: Mapping[str, str], stopped: Callable[[float], bool] | None
) -> str:
    """Returns what the program writes to stdout. Starts no thread, which a limit on processes might not allow."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the client that the user named, no shell
            [path, question],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise RunError(f"'{path}' cannot be started: {error.strerror}{hint(error)}") from None
    try:
        out = _answer(process, stopped)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if out is None:
        raise RunError(f"'{path} {question}' did not answer within {spoken(_ANSWER_SECONDS)}")
    if process.returncode < 0:
        raise RunError(f"'{path} {question}' was ended by signal {-process.returncode}")
    if process.returncode:
        raise RunError(f"'{path} {question}' ended with status {process.returncode}")
    return out.decode("utf-8", "replace").strip()


def _answer(process: subprocess.Popen[bytes], stopped: Callable[[float], bool] | None) -> bytes | None:
    """Returns what the program writes until it ends, at most `_LONGEST_ANSWER` bytes; None if it does not end in time.

    Raises Stopped after a stop. Another process that it left behind may still hold the pipe.
    """
    assert process.stdout is not None
    answer, until = bytearray(), monotonic() + _ANSWER_SECONDS
    reader, ended = process.stdout.fileno(), os.pidfd_open(process.pid)
    watch = select.poll()
    watch.register(reader, select.POLLIN)
    watch.register(ended, select.POLLIN)
    try:
        while (left := until - monotonic()) > 0:
            ready = dict(watch.poll(1000 * (left if stopped is None else min(left, _LOOK_SECONDS))))
            if stopped is not None and stopped(0.0):
                raise Stopped
            chunk = os.read(reader, _LONGEST_ANSWER) if reader in ready else b""
            answer += chunk[: _LONGEST_ANSWER - len(answer)]
            if ended in ready and not chunk:
                process.wait()
                return bytes(answer)
            if reader in ready and not chunk:
                watch.unregister(reader)
    finally:
        os.close(ended)
    return None

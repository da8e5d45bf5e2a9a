"""Asks a credential helper (docker-credential-helpers) for a login."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..durations import spoken
from .logins import HUB_KEY, HUB_NAMES, CredentialsError, Login, helper_login

HELPER_SECONDS: Final = 10.0


class Helpers:
    """Runs helpers, one at a time."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, name: str, config_path: Path, host: str) -> Login | None:
        """Runs `docker-credential-NAME get` and returns its login; None if it has none.

        The helper reads the host from stdin and writes JSON to stdout. It fails with 'not found' on stdout if it has no
        login (docker-credential-helpers). Raises CredentialsError if it cannot be used.
        """
        program = f"docker-credential-{name}"
        path = shutil.which(program, path=self._env.get("PATH", os.defpath))
        if path is None:
            raise CredentialsError(
                f"{program}, which {config_path} names, is not on PATH; install or remove it"
            )
        key = HUB_KEY if host in HUB_NAMES else host
        with self._started(path) as process:
            try:
                out, _ = process.communicate(key.encode(), timeout=HELPER_SECONDS)
            except subprocess.TimeoutExpired:
                raise CredentialsError(
                    f"{program} gave no answer for {host} within {spoken(HELPER_SECONDS)}; "
                    f"try: echo {key} | {program} get"
                ) from None
        if process.returncode != 0:
            if b"not found" in out:
                return None
            raise CredentialsError(f"{program} failed for {host}; try: echo {key} | {program} get")
        return helper_login(out, program, host)

    def abandon(self) -> None:
        """Ends a running helper, so that the thread in `ask` returns at once."""
        helper = self._running
        if helper is not None:
            _kill(helper)

    @contextmanager
    def _started(self, path: str) -> Iterator[subprocess.Popen[bytes]]:
        """Starts the helper in its own process group, and kills the group at the end."""
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own helper, its name checked, no shell
                [path, "get"], stdin=pipe, stdout=pipe, stderr=null, env=self._env, start_new_session=True
            )
        except OSError as error:
            raise CredentialsError(f"{path} cannot be run ({error.strerror}); repair or remove it") from None
        self._running = process
        try:
            yield process
        finally:
            self._running = None
            _kill(process)
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

"""The user's registry logins, from the files and helpers of Docker and podman.

The format is Docker's config.json: `auths`, `credHelpers` and `credsStore`; podman's auth.json is a subset.
Clients differ in which files they read, in which order, and which parts of them. So the driver looks up the login, and
`client_config` gives every client the same one. Only `Login` holds secrets, and its repr shows none.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from yarl import URL

from ..user_files import read_whole, reason
from .logins import HUB_KEY, HUB_NAMES, CredentialsError, Login, canonical, helper_for, helper_login, login_in

__all__ = ["Credentials", "CredentialsError", "Login"]

HELPER_SECONDS: Final = 10.0
_CONFIG_BYTES: Final = 4 << 20
_SECTIONS_WITH_LOGINS: Final = frozenset({"auths", "credHelpers", "credsStore"})


class Credentials:
    """The logins in some config files, in order of precedence. Looks up each host once. Threads may share it."""

    def __init__(self, files: Mapping[Path, Mapping[str, object]], env: Mapping[str, str]) -> None:
        self.files = MappingProxyType(dict(files))
        self._env = dict(env)
        self._known: dict[str, Login | None] = {}
        self._lock = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Credentials:
        """Returns the logins of Docker's config file, then of podman's files.

        Raises CredentialsError if a file exists and cannot be read.
        """
        return cls({path: _read(path) for path in config_files(env)}, env)

    def lookup(self, *hosts: str) -> Login | None:
        """Returns the login for the first of `hosts` (`name` or `name:port`) that has one. May run a helper (10 s).

        The first file with a login counts. Within a file, the order is Docker's: the host's helper or else the default
        helper, then the entry. Raises CredentialsError if the entry is broken or the helper cannot be used.
        """
        with self._lock:
            for host in map(canonical, hosts):
                if host not in self._known:
                    self._known[host] = self._find(host)
                if self._known[host] is not None:
                    return self._known[host]
        return None

    async def login_for(self, url: URL) -> Login | None:
        """Runs `lookup` in a thread, for the registry at this address. Cancelling this task ends a running helper."""
        names = url.host_port_subcomponent, f"{url.host_subcomponent}:{url.port}"
        try:
            return await asyncio.to_thread(self.lookup, *filter(None, names))
        except asyncio.CancelledError:
            self.abandon()
            raise

    def client_config(self, host: str, login: Login | None) -> dict[str, object]:
        """Returns a config file for a client: the user's first one, with `login` for `host` in place of all logins.

        If the login comes from a helper, the file names the helper: its secret may expire and must not be on disk.
        """
        first: Mapping[str, object] = next(iter(self.files.values()), {})
        config = {name: value for name, value in first.items() if name not in _SECTIONS_WITH_LOGINS}
        keys = (host, HUB_KEY) if host in HUB_NAMES else (host,)
        if login is not None and login.helper:
            config["credHelpers"] = dict.fromkeys(keys, login.helper)
        elif login is not None:
            config["auths"] = dict.fromkeys(keys, login.as_entry())
        return config

    def abandon(self) -> None:
        """Ends a running helper, so that the thread in `lookup` returns at once."""
        helper = self._helper
        if helper is not None:
            _kill(helper)

    def _find(self, host: str) -> Login | None:
        found = (self._find_in(path, config, host) for path, config in self.files.items())
        return next((login for login in found if login is not None), None)

    def _find_in(self, path: Path, config: Mapping[str, object], host: str) -> Login | None:
        helper = helper_for(path, config, host)
        login = self._ask_helper(helper, path, host) if helper else None
        if login is not None:
            return replace(login, path=path, helper=helper)
        return login_in(path, config, host)

    def _ask_helper(self, name: str, config_path: Path, host: str) -> Login | None:
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
                    f"{program} gave no answer for {host} within {HELPER_SECONDS:g} s; "
                    f"try: echo {key} | {program} get"
                ) from None
        if process.returncode != 0:
            if b"not found" in out:
                return None
            raise CredentialsError(f"{program} failed for {host}; try: echo {key} | {program} get")
        return helper_login(out, program, host)

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
        self._helper = process
        try:
            yield process
        finally:
            self._helper = None
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


def config_files(env: Mapping[str, str]) -> list[Path]:
    """Returns the config files that exist, in order of precedence."""
    return [path for path in dict.fromkeys(_candidates(env)) if os.path.isfile(path)]


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    """Where a config file may be, best first. A `DOCKER_CONFIG` that is set stands in place of `~/.docker`."""
    docker, home, runtime = env.get("DOCKER_CONFIG"), env.get("HOME"), env.get("XDG_RUNTIME_DIR")
    if docker:
        yield Path(docker, "config.json")
    elif home:
        yield Path(home, ".docker", "config.json")
    if env.get("REGISTRY_AUTH_FILE"):
        yield Path(env["REGISTRY_AUTH_FILE"])
    yield (
        Path(runtime, "containers/auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json")
    )
    settings = env.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else None)
    if settings:
        yield Path(settings, "containers/auth.json")


def _read(path: Path) -> Mapping[str, object]:
    try:
        config = json.loads(read_whole(path, _CONFIG_BYTES, regular=True) or b"{}")
    except OSError as error:
        advice = "correct it or its permissions, or set DOCKER_CONFIG to another folder"
        raise CredentialsError(f"{path} cannot be read ({reason(error)}); {advice}") from None
    except (ValueError, RecursionError):
        raise CredentialsError(
            f"{path} is not valid JSON; correct it or set DOCKER_CONFIG to another folder"
        ) from None
    if not isinstance(config, dict):
        raise CredentialsError(
            f"{path} is not a JSON object; correct it or set DOCKER_CONFIG to another folder"
        )
    return config

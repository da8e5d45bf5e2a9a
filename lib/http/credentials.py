"""The user's registry logins, from the files and helpers that Docker and podman keep them in.

The format is Docker's config.json: `auths`, `credHelpers` and `credsStore`; podman's auth.json is a subset.
Secrets live in `Login` only, and its repr shows none of them.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

HELPER_SECONDS: Final = 10.0
# Docker files its hub's login under this key, whichever of the hub's names was used (docker/cli, IndexServer).
_HUB_KEY: Final = "https://index.docker.io/v1/"
_HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# What a helper gives as the user name when the secret is an identity token (docker-credential-helpers).
_TOKEN_USER: Final = "<token>"  # noqa: S105
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONFIG_BYTES: Final = 4 << 20


class CredentialsError(Exception):
    """A login could not be read; one line that says what to do, without any secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """What to log in to one registry with; an empty string is what there is not.

    `identity_token` is an OAuth2 refresh token, `registry_token` a bearer token to be sent as it is.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)


class Credentials:
    """The logins of one config file; safe to use from several threads. Each host is looked up once."""

    def __init__(
        self, config: Mapping[str, object], config_path: Path | None, env: Mapping[str, str]
    ) -> None:
        self.config: Mapping[str, object] = MappingProxyType(dict(config))
        self.config_path = config_path
        self._env = dict(env)
        self._known: dict[str, Login | None] = {}
        self._lock = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Credentials:
        """The logins that crane would use: Docker's config file, else podman's, else none.

        CredentialsError when the file is there and cannot be read.
        """
        path = next((path for path in _candidates(env) if path.is_file()), None)
        return cls(_read(path) if path else {}, path, env)

    def lookup(self, host: str) -> Login | None:
        """The login for `host` (`name` or `name:port`), or None. May run a helper, for 10 s at most.

        The order is Docker's: the host's own helper, else the common one, then the file. CredentialsError when
        the entry is broken or its helper cannot be used.
        """
        host = _canonical(host)
        with self._lock:
            if host not in self._known:
                self._known[host] = self._find(host)
            return self._known[host]

    def has_login(self, host: str) -> bool:
        """Whether there is a login for `host`; CredentialsError as in `lookup`."""
        return self.lookup(host) is not None

    def abandon(self) -> None:
        """End a helper that is running now, so that the thread in `lookup` comes back at once."""
        helper = self._helper
        if helper is not None:
            _kill(helper)

    def _find(self, host: str) -> Login | None:
        helper = self._helper_for(host)
        login = self._ask_helper(helper, host) if helper else None
        return login or self._from_file(host)

    def _helper_for(self, host: str) -> str | None:
        own = _entry(_section(self.config, "credHelpers"), host)
        helper = own if own is not None else self.config.get("credsStore")
        if not helper:
            return None
        if not isinstance(helper, str) or not _HELPER_NAME.fullmatch(helper):
            raise CredentialsError(f"{self.config_path}: a credential helper's name is not valid; correct it")
        return helper

    def _from_file(self, host: str) -> Login | None:
        entry = _entry(_section(self.config, "auths"), host)
        if entry is None:
            return None
        try:
            return _login(entry) or None
        except ValueError as error:
            raise CredentialsError(
                f"{self.config_path}: the entry for {host} is broken ({error}); docker login {host} again"
            ) from None

    def _ask_helper(self, name: str, host: str) -> Login | None:
        """`docker-credential-NAME get`: host on stdin, JSON on stdout; 'not found' on stdout where there is none."""
        program = f"docker-credential-{name}"
        path = shutil.which(program, path=self._env.get("PATH", os.defpath))
        if path is None:
            raise CredentialsError(
                f"{program}, which {self.config_path} names, is not on PATH; install or remove it"
            )
        key = _HUB_KEY if host in _HUB_NAMES else host
        with self._started(path) as process:
            try:
                out, _ = process.communicate(key.encode(), timeout=HELPER_SECONDS)
            except subprocess.TimeoutExpired:
                raise CredentialsError(
                    f"{program} hangs ({HELPER_SECONDS:g} s, {host}); try: echo {key} | {program} get"
                ) from None
        if process.returncode != 0:
            if b"not found" in out:
                return None
            raise CredentialsError(f"{program} failed for {host}; try: echo {key} | {program} get")
        return _helper_login(out, program, host)

    @contextmanager
    def _started(self, path: str) -> Iterator[subprocess.Popen[bytes]]:
        """The helper in a process group of its own, which is gone afterwards."""
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


def _candidates(env: Mapping[str, str]) -> Iterator[Path]:
    """Where a config file may be, best first. A `DOCKER_CONFIG` that is set stands in place of `~/.docker`."""
    docker = env.get("DOCKER_CONFIG")
    home = env.get("HOME")
    if docker:
        yield Path(docker, "config.json")
    elif home:
        yield Path(home, ".docker", "config.json")
    if env.get("REGISTRY_AUTH_FILE"):
        yield Path(env["REGISTRY_AUTH_FILE"])
    if env.get("XDG_RUNTIME_DIR"):
        yield Path(env["XDG_RUNTIME_DIR"], "containers", "auth.json")


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as file:
            text = file.read(_CONFIG_BYTES)
        config = json.loads(text or b"{}")
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read ({error.strerror}); correct its permissions") from None
    except (ValueError, RecursionError):
        raise CredentialsError(
            f"{path} is not valid JSON; correct it or set DOCKER_CONFIG to another folder"
        ) from None
    if not isinstance(config, dict):
        raise CredentialsError(
            f"{path} is not a JSON object; correct it, or set DOCKER_CONFIG to another folder"
        )
    return config


def _section(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _canonical(host: str) -> str:
    """One name for each registry: lower case, and one of the hub's three."""
    host = host.lower()
    return "index.docker.io" if host in _HUB_NAMES else host


def _hostname(key: str) -> str:
    """A key of the config file to its host, as Docker converts it: neither scheme nor path."""
    bare = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE)
    return _canonical(bare.partition("/")[0])


def _entry(section: Mapping[str, object], host: str) -> object | None:
    """The value under `host` itself, else under a key that comes to the same host."""
    for key, value in section.items():
        if _canonical(key) == host:
            return value
    return next((value for key, value in section.items() if _hostname(key) == host), None)


def _login(entry: object) -> Login:
    """One value of `auths` to a Login; ValueError says what is broken."""
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    username, password = _text(entry, "username"), _text(entry, "password")
    if _text(entry, "auth"):
        username, password = _decoded(_text(entry, "auth"))
    return Login(username, password, _text(entry, "identitytoken"), _text(entry, "registrytoken"))


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name) or ""
    if not isinstance(value, str) or _unsafe(value):
        raise ValueError(f"'{name}' is not plain text")
    return value


def _unsafe(value: str) -> bool:
    """Line breaks would break out of the HTTP header that the value goes into; halves of characters have no bytes."""
    return any(character in "\r\n\0" or "\ud800" <= character <= "\udfff" for character in value)


def _decoded(auth: str) -> tuple[str, str]:
    """Base64 of `username:password`; Docker pads the password with NULs."""
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, ValueError):
        raise ValueError("'auth' is not base64") from None
    username, colon, password = text.partition(":")
    password = password.rstrip("\0")
    if not colon or _unsafe(username + password):
        raise ValueError("'auth' is not a user name and a password")
    return username, password


def _helper_login(out: bytes, program: str, host: str) -> Login | None:
    try:
        answer = json.loads(out)
        username, secret = _text(answer, "Username"), _text(answer, "Secret")
    except (ValueError, RecursionError, AttributeError):
        raise CredentialsError(f"{program} gave no valid answer for {host}; update or remove it") from None
    if username == _TOKEN_USER:
        return Login(identity_token=secret) or None
    return Login(username, secret) or None

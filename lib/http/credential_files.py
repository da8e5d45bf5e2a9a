"""The places where users keep logins: config files, which are read again when they change, and one variable.

Short-lived logins are renewed while a run goes on. Programs do that in many ways: they replace the file, write it in
place, or switch a symbolic link (as Kubernetes does for secrets). A file that is gone, or that cannot be read just
now, keeps its last content.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeGuard

from ..user_files import read_whole, reason
from .logins import CredentialsError

_CONFIG_BYTES: Final = 4 << 20
# The variable in which pipelines hand over a login (docker/cli, DockerEnvConfigKey), and its name in messages.
VARIABLE: Final = "DOCKER_AUTH_CONFIG"
VARIABLE_PATH: Final = Path(f"${VARIABLE}")
# A file that was changed less than this many nanoseconds before it was read may change again without another time
# stamp: the clock of a file system ticks every few milliseconds.
_TICK: Final = 100_000_000
# The variables that name places of logins. No client may see them: it gets a private file instead.
VARIABLES: Final = frozenset({VARIABLE, "REGISTRY_AUTH_FILE"})


class Source(Protocol):
    """A place of logins. `config` is None if there is nothing. `error` says why it cannot be read.

    `warning` says why it is not used.
    """

    path: Path
    config: Mapping[str, object] | None
    error: CredentialsError | None
    warning: str

    def is_stale(self) -> bool:
        """Returns whether it may have changed since the last `look`. A file costs one call of stat."""
        ...

    def look(self) -> str:
        """Reads it again. Returns, once for each problem, why its last content stays in use; else an empty string."""
        ...


class Fixed:
    """A place that never changes."""

    error: CredentialsError | None = None

    def __init__(self, path: Path, config: Mapping[str, object] | None, warning: str = "") -> None:
        self.path, self.config, self.warning = path, config, warning

    def is_stale(self) -> bool:
        return False

    def look(self) -> str:
        return ""


class ConfigFile:
    """A file of Docker or podman. `legacy`: it has the entries themselves in place of `auths` (~/.dockercfg)."""

    warning = ""

    def __init__(self, path: Path, *, legacy: bool = False) -> None:
        self.path = path
        self.config: Mapping[str, object] | None = None
        self.error: CredentialsError | None = None
        self._name = str(path)  # as text it costs less
        self._legacy = legacy
        self._text: bytes | None = None
        self._mark: tuple[int, ...] | None = None
        # the problems that were told since the file was good
        self._told: set[str] = set()
        self.look()

    def is_stale(self) -> bool:
        return self._mark_now() != self._mark

    def look(self) -> str:
        self._mark = self._mark_now()
        if self._mark is None:
            self.error = None
            return self._kept("is gone") if self.config is not None else ""
        if time.time_ns() - max(self._mark[-2:]) < _TICK:
            self._mark = ()  # look once more
        try:
            text = read_whole(self.path, _CONFIG_BYTES, regular=True)
        except OSError as error:
            advice = "correct it or its permissions, or set DOCKER_CONFIG to another folder"
            return self._broken(f"cannot be read ({reason(error)})", advice)
        if text == self._text:
            self._told.clear()
            return ""
        if not text.strip() and self.config:
            return self._kept("is empty")
        try:
            config = json.loads(text.strip() or b"{}")
        except (ValueError, RecursionError):
            return self._broken("is not valid JSON", "correct it or set DOCKER_CONFIG to another folder")
        if not isinstance(config, dict):
            return self._broken("is not a JSON object", "correct it or set DOCKER_CONFIG to another folder")
        self._text, self.error = text, None
        self._told.clear()
        self.config = {"auths": config} if self._legacy else config
        return ""

    def _mark_now(self) -> tuple[int, ...] | None:
        """Returns what differs between two states of the file; None if there is no file."""
        try:
            found = os.stat(self._name)
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _broken(self, problem: str, advice: str) -> str:
        if self.config is None:
            self.error = CredentialsError(f"{self.path} {problem}; {advice}")
            return ""
        return self._kept(problem)

    def _kept(self, problem: str) -> str:
        if problem in self._told:
            return ""
        self._told.add(problem)
        return f"{self.path} {problem}; its last logins stay in use"


def sources(env: Mapping[str, str], *, podman_first: bool = False) -> list[Source]:
    """Returns the places where logins may be, best first: in Docker's order, or in podman's.

    Each order begins with what the clients of its kind read by themselves (go-containerregistry with docker/cli, skopeo
    with containers/image). What only the other kind reads comes last. A DOCKER_CONFIG that is set stands in place of
    ~/.docker.
    """
    home, runtime = env.get("HOME") or _home(), env.get("XDG_RUNTIME_DIR")
    docker = ConfigFile(Path(env.get("DOCKER_CONFIG") or f"{home}/.docker", "config.json"))
    named = [ConfigFile(Path(env["REGISTRY_AUTH_FILE"]))] if env.get("REGISTRY_AUTH_FILE") else []
    of_session = f"{runtime}/containers" if runtime else f"/run/containers/{os.getuid()}"
    of_user = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    podman = [ConfigFile(Path(of_session, "auth.json")), ConfigFile(Path(of_user, "containers/auth.json"))]
    legacy = ConfigFile(Path(home, ".dockercfg"), legacy=True)
    variable = list(_variable(env))
    ordered: list[Source] = [*variable, docker, *named, *podman, legacy]
    if podman_first:
        ordered = [*named, *podman, docker, legacy, *variable]
    return list({each.path: each for each in reversed(ordered)}.values())[::-1]


def config_files(env: Mapping[str, str]) -> list[Path]:
    """Returns the files that may hold logins and that exist."""
    return [each.path for each in sources(env) if isinstance(each, ConfigFile) and each.path.is_file()]


def _home() -> str:
    """Returns the home folder of this user, for an environment without HOME."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def _variable(env: Mapping[str, str]) -> Iterator[Source]:
    """Yields DOCKER_AUTH_CONFIG. As Docker does, ignores it if there is more in it than `auth` of some hosts."""
    text = env.get(VARIABLE)
    if not text:
        return
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if _is_plain(config):
        yield Fixed(VARIABLE_PATH, config)
        return
    form = '{"auths": {"HOST": {"auth": "…"}}}'
    yield Fixed(
        VARIABLE_PATH,
        None,
        f"{VARIABLE} is not used, because Docker takes nothing but {form}; correct or unset it",
    )


def _is_plain(config: object) -> TypeGuard[dict[str, object]]:
    if not isinstance(config, dict) or {key.lower() for key in config} - {"auths"}:
        return False
    entries = [entry for value in config.values() if isinstance(value, dict) for entry in value.values()]
    return all(isinstance(entry, dict) and {key.lower() for key in entry} == {"auth"} for entry in entries)

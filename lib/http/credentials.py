"""The user's registry logins, from the files and helpers of Docker and podman.

The format is Docker's config.json: `auths`, `credHelpers` and `credsStore`; podman's auth.json is a subset, whose
entries may be for a path of repositories. Clients differ in which files they read, in which order, and which parts of
them. So the driver looks up the logins, and `client_config` gives the client the same ones: both always have the same
login. Logins follow the user's files during a run. Only `Login` holds secrets, and its repr shows none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Final

from yarl import URL

from .credential_files import VARIABLE_PATH, Fixed, Source, sources
from .credential_helper import Helpers
from .logins import (
    HUB_KEY,
    HUB_NAMES,
    CredentialsError,
    Login,
    Logins,
    canonical,
    helper_for,
    logins_in,
    without_logins,
)

__all__ = ["Credentials", "CredentialsError", "Login", "Logins"]

# A helper is asked again after a refusal, but not within this many seconds: each call may go to a cloud's API.
HELPER_PAUSE: Final = 5.0
# Files that were not there are looked for again after this many seconds.
_ABSENT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Known:
    """The logins for a host, as of this state of the files. `asked` is when the helper answered (monotonic)."""

    logins: Logins
    state: int
    asked: float


class Credentials:
    """The logins in some places, in order of precedence. Keeps those of each host. Threads may share it.

    `version` grows with each change of a login. `log` gets one line for each renewal, without any secret.
    """

    def __init__(
        self, files: Mapping[Path, Mapping[str, object]] | list[Source], env: Mapping[str, str]
    ) -> None:
        """`files` are the contents of config files, or the places to read."""
        self._sources: list[Source] = (
            files if isinstance(files, list) else [Fixed(path, config) for path, config in files.items()]
        )
        self._present = _present(self._sources)
        self._helpers = Helpers(env)
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()  # held while a helper runs
        self._files_lock = threading.Lock()
        self._state = 0
        self._absent_until = 0.0
        self._said: set[str] = set()
        self.version = 0
        self.log: Callable[[str], None] = lambda _: None

    @classmethod
    def from_environment(cls, env: Mapping[str, str], *, podman_first: bool = False) -> Credentials:
        """Returns the logins of the user's files and variables, in Docker's order or in podman's."""
        return cls(sources(env, podman_first=podman_first), env)

    @property
    def files(self) -> Mapping[Path, Mapping[str, object]]:
        """The contents of the places that there are, in order of precedence."""
        return MappingProxyType({each.path: each.config for each in self._sources if each.config is not None})

    @property
    def warnings(self) -> list[str]:
        """Says, for each place that is there and not used, why."""
        return [each.warning for each in self._sources if each.warning]

    def follow(self) -> None:
        """Reads what has changed since the last call. Costs a few microseconds if nothing has."""
        places = self._present
        if monotonic() >= self._absent_until:
            self._absent_until = monotonic() + _ABSENT_SECONDS
            places = self._sources
        stale = [each for each in places if each.is_stale()]
        if not stale:
            return
        with self._files_lock:
            for each in stale:
                before = each.config
                problem = each.look()
                if problem:
                    self.log(problem)
                if each.config is not before:
                    self._state += 1
                    self.version += 1
            self._present = _present(self._sources)

    def logins(self, *hosts: str) -> Logins:
        """Returns the logins for the first of `hosts` (`name` or `name:port`) that has one. May run a helper (10 s).

        For each repository, the first place with a login counts. Within a file, the order is Docker's: the host's
        helper or else the default helper, then the entries. Raises CredentialsError if an entry is broken or the helper
        cannot be used, unless there was a login before: then this one stays.
        """
        self.follow()
        with self._lock:
            for host in map(canonical, hosts):
                found = self._newest(host)
                if found:
                    return found
        return Logins()

    def lookup(self, *hosts: str) -> Login | None:
        """Returns the login that `logins` has for the whole registry, else the first one for a part of it."""
        return self.logins(*hosts).first

    def renew(self, *hosts: str) -> None:
        """Asks the helpers of these hosts again, unless they answered a moment ago: their last answer was refused."""
        self.follow()
        with self._lock:
            for host in map(canonical, hosts):
                known = self._known.get(host)
                by_helper = known is not None and any(login.helper for login in known.logins.all)
                if known is not None and by_helper and monotonic() - known.asked >= HELPER_PAUSE:
                    self._newest(host, again=True)

    async def logins_for(self, url: URL, *, refused: bool = False) -> Logins:
        """Runs `logins` in a thread, for the registry at this address. Cancelling this task ends a running helper.

        `refused`: the registry refused the last login, so a helper is asked again.
        """
        names = names_of(url)
        try:
            if refused:
                await asyncio.to_thread(self.renew, *names)
            elif (kept := self._kept(names)) is not None:
                return kept
            return await asyncio.to_thread(self.logins, *names)
        except asyncio.CancelledError:
            self.abandon()
            raise

    def client_config(self, host: str, logins: Logins) -> dict[str, object]:
        """Returns a config file for a client: the user's first one, with `logins` for `host` in place of all logins.

        If the login comes from a helper, the file names the helper: its secret may expire and must not be on disk. The
        exception is a helper beside logins for paths, since podman would ask the helper alone.
        """
        first = next((config for path, config in self.files.items() if path != VARIABLE_PATH), {})
        config = without_logins(first)
        hosts = (host, HUB_KEY) if host in HUB_NAMES else (host,)
        auths: dict[str, object] = {
            f"{host}/{path}": login.as_entry() for path, login in logins.scopes.items()
        }
        if logins.server is not None and logins.server.helper and not auths:
            config["credHelpers"] = dict.fromkeys(hosts, logins.server.helper)
        elif logins.server is not None:
            auths.update(dict.fromkeys(hosts, logins.server.as_entry()))
        return {**config, "auths": auths} if auths else config

    def abandon(self) -> None:
        """Ends a running helper, so that the thread in `logins` returns at once."""
        self._helpers.abandon()

    def _kept(self, names: tuple[str, ...]) -> Logins | None:
        """Returns the logins for the first of these hosts that has one, if none of them has to be looked up."""
        self.follow()
        for host in map(canonical, names):
            known = self._known.get(host)
            if known is None or known.state != self._state:
                return None
            if known.logins:
                return known.logins
        return Logins()

    def _newest(self, host: str, *, again: bool = False) -> Logins:
        """Returns the logins for this host, looked up again if the files have changed, or on demand."""
        known, state = self._known.get(host), self._state
        if known is not None and known.state == state and not again:
            return known.logins
        try:
            found = self._find(host)
        except CredentialsError as error:
            if known is None:
                raise
            self._say_once(f"{error}; the last login for {host} stays in use")
            found = known.logins
        if known is not None and known.logins and not found:
            self._say_once(f"there is no login for {host} any more; the last one stays in use")
            found = known.logins
        if known is not None and found != known.logins:
            self._said.clear()
            self.version += 1
            places = dict.fromkeys(str(login.path) for login in found.all)
            self.log(f"the login for {host} was renewed ({', '.join(places)})")
        self._known[host] = _Known(found, state, monotonic())
        return found

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.log(line)

    def _find(self, host: str) -> Logins:
        found = Logins()
        for source in self._sources:
            if found.server is not None:
                break
            if source.error is not None:
                raise source.error
            if source.config is not None:
                found = found.over(self._find_in(source.path, source.config, host))
        return found

    def _find_in(self, path: Path, config: Mapping[str, object], host: str) -> Logins:
        helper = helper_for(path, config, host)
        login = self._helpers.ask(helper, path, host) if helper else None
        if login is not None:
            return Logins(replace(login, path=path, helper=helper))
        return logins_in(path, config, host)


def _present(places: list[Source]) -> list[Source]:
    """Returns the places that are there and may change."""
    return [each for each in places if each.config is not None and not isinstance(each, Fixed)]


def names_of(url: URL) -> tuple[str, ...]:
    """The names under which a login for the registry at this address may be: with and without a default port."""
    names = url.host_port_subcomponent, f"{url.host_subcomponent}:{url.port}"
    return tuple(filter(None, names))

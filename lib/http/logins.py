"""A registry's logins, and their formats in Docker and podman: entries of config files, and answers of helpers.

The formats are those of docker/cli (`configfile`), and of containers/image (`pkg/docker/config`), whose keys may name a
repository or a path of repositories. Both are written in Go, so the case of a field's name does not matter.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

# Docker stores the login for Docker Hub under this key, for each of the hub's names (docker/cli, IndexServer).
HUB_KEY: Final = "https://index.docker.io/v1/"
HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# The user name in a helper's answer whose secret is an identity token (docker-credential-helpers).
_TOKEN_USER: Final = "<token>"  # noqa: S105
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# The paths of keys such as https://HOST/v1/, which old versions of Docker wrote for a whole registry.
_API_PATHS: Final = ("v1", "v2")


class CredentialsError(Exception):
    """A login cannot be read. The message is one line that says what happened and what to do, without any secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """One login. A part that is missing is an empty string.

    `identity_token` is an OAuth2 refresh token. `registry_token` is a bearer token, sent as it is. `path` is the config
    file that holds the login or names the `helper` that gave it. Bytes of a password that are not UTF-8 are surrogates
    (PEP 383), so use `basic` and `password_bytes` to send it.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    path: Path | None = field(default=None, compare=False)
    helper: str = field(default="", compare=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    @property
    def password_bytes(self) -> bytes:
        """The password as it is sent."""
        return self.password.encode(errors="surrogateescape")

    @property
    def basic(self) -> str:
        """The base64 of name and password, of the Basic scheme and of `auth` in config files."""
        pair = f"{self.username}:{self.password}".encode(errors="surrogateescape")
        return base64.b64encode(pair).decode()

    def as_entry(self) -> dict[str, str]:
        """Returns the login as a value of `auths` that all clients read. skopeo needs `auth` and ignores `username`."""
        username = self.username or (_TOKEN_USER if self.identity_token else "")
        entry = {"identitytoken": self.identity_token, "registrytoken": self.registry_token}
        if username or self.password:
            entry["auth"] = replace(self, username=username).basic
        return {name: value for name, value in entry.items() if value}


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins for one registry: `server` for all its repositories, `scopes` for those below a path.

    The login with the longest path counts, as in podman. A path is a repository, or ends before a slash in its name.
    """

    server: Login | None = None
    scopes: Mapping[str, Login] = field(default_factory=lambda: MappingProxyType({}))

    def __bool__(self) -> bool:
        return bool(self.server or self.scopes)

    @property
    def all(self) -> tuple[Login, ...]:
        """All of them, the server's first."""
        return (*([self.server] if self.server else []), *self.scopes.values())

    @property
    def first(self) -> Login | None:
        """The login for what belongs to no repository, such as the catalog: the server's, else the first of a path."""
        return next(iter(self.all), None)

    def scope(self, repository: str) -> str:
        """Returns the longest path with a login that this repository is below; empty if there is none."""
        while repository and repository not in self.scopes:
            repository = repository.rpartition("/")[0]
        return repository

    def of(self, repository: str) -> Login | None:
        """Returns the login for this repository; None if there is none."""
        return self.scopes.get(self.scope(repository), self.server)

    def over(self, later: Logins) -> Logins:
        """Returns these logins, and those of a later file for the repositories that these do not hold for."""
        if self.server is not None:
            return self
        more = {path: login for path, login in later.scopes.items() if not self.scope(path)}
        return Logins(later.server, {**self.scopes, **more})


def helper_for(path: Path, config: Mapping[str, object], host: str) -> str:
    """Returns the name of the helper for this host, else of the default helper, else an empty string.

    Raises CredentialsError if the name is not valid.
    """
    own = next((value for scope, value in _entries(config, "credhelpers", host) if not scope), None)
    helper = own if own is not None else _field(config, "credsstore")
    if not helper:
        return ""
    if not isinstance(helper, str) or not _HELPER_NAME.fullmatch(helper):
        raise CredentialsError(f"{path}: a credential helper's name is not valid; correct it")
    return helper


def logins_in(path: Path, config: Mapping[str, object], host: str) -> Logins:
    """Returns the logins for this host that the file itself holds. Raises CredentialsError if an entry is broken."""
    found: dict[str, Login] = {}
    for scope, entry in _entries(config, "auths", host):
        if scope in found:
            continue
        name = f"{host}/{scope}" if scope else host
        try:
            login = _login(entry)
        except ValueError as error:
            raise CredentialsError(
                f"{path}: the entry for {name} is broken ({error}); run docker login {name} again"
            ) from None
        if login:
            found[scope] = replace(login, path=path)
    return Logins(found.pop("", None), found)


def helper_login(out: bytes, program: str, host: str) -> Login | None:
    """Returns the login in a helper's answer; None if it is empty. Raises CredentialsError if it is not valid."""
    try:
        answer = json.loads(out)
        username, secret = _text(answer, "username"), _text(answer, "secret")
    except (ValueError, RecursionError, AttributeError):
        raise CredentialsError(f"{program} gave no valid answer for {host}; update or remove it") from None
    if username == _TOKEN_USER:
        return Login(identity_token=secret) or None
    return Login(username, secret) or None


def without_logins(config: Mapping[str, object]) -> dict[str, object]:
    """Returns the other settings of a config file."""
    return {
        name: value
        for name, value in config.items()
        if name.lower() not in ("auths", "credhelpers", "credsstore")
    }


def canonical(host: str) -> str:
    """Returns the canonical name of a registry: lower case, and the same name for the three names of Docker Hub."""
    host = host.lower()
    return "index.docker.io" if host in HUB_NAMES else host


def _field(config: Mapping[str, object], name: str) -> object:
    """Returns the value of a field, whatever the case of its name, as Go does; None if there is none."""
    return next((value for key, value in list(config.items())[::-1] if key.lower() == name), None)


def _place(key: str) -> tuple[str, str]:
    """Returns the host and the path of repositories that a key of a config file is for. A URL is for the whole host."""
    bare = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE)
    host, _, path = bare.partition("/")
    whole = bare != key.strip() or path.endswith("/") or path in _API_PATHS
    return canonical(host.rpartition("@")[2]), "" if whole else path


def _entries(config: Mapping[str, object], section: str, host: str) -> Iterator[tuple[str, object]]:
    """Yields (path, value) for this host: first under the host's own name, then in the order of the file."""
    entries = _field(config, section)
    if not isinstance(entries, dict):
        return
    own = [("", value) for key, value in entries.items() if canonical(key) == host]
    yield from own
    for key, value in entries.items():
        name, path = _place(key)
        if name == host:
            yield path, value


def _login(entry: object) -> Login:
    """Parses one value of `auths`. Raises ValueError that says what is broken."""
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    username, password = _text(entry, "username"), _text(entry, "password")
    auth = _field(entry, "auth")
    if auth:
        username, password = _decoded(auth)
    return Login(username, password, _text(entry, "identitytoken"), _text(entry, "registrytoken"))


def _text(entry: Mapping[str, object], name: str) -> str:
    value = _field(entry, name) or ""
    if not isinstance(value, str) or _unsafe(value) or re.search("[\ud800-\udfff]", value):
        raise ValueError(f"'{name}' is not plain text")
    return value


def _unsafe(value: str) -> bool:
    """Returns whether a value cannot be sent in an HTTP header or typed at a terminal."""
    return any(character in "\r\n\0" for character in value)


def _decoded(auth: object) -> tuple[str, str]:
    """Decodes the base64 of `username:password`. Raises ValueError if it is not valid.

    As in Go's decoder, line breaks do not count. As in Docker, NULs around the password do not count either.
    """
    if not isinstance(auth, str):
        raise ValueError("'auth' is not text")
    try:
        pair = base64.b64decode(re.sub(r"[\r\n]", "", auth), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("'auth' is not base64") from None
    username, colon, password = pair.decode(errors="surrogateescape").partition(":")
    password = password.strip("\0")
    if not colon or not username:
        raise ValueError("'auth' is not a user name and a password")
    if _unsafe(username + password):
        raise ValueError("'auth' has a line break or a NUL in its user name or password")
    return username, password

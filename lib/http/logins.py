"""One registry's login, and its formats in Docker and podman: entries of config files, and answers of helpers."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

# Docker stores the login for Docker Hub under this key, for each of the hub's names (docker/cli, IndexServer).
HUB_KEY: Final = "https://index.docker.io/v1/"
HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# The user name in a helper's answer whose secret is an identity token (docker-credential-helpers).
_TOKEN_USER: Final = "<token>"  # noqa: S105
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CredentialsError(Exception):
    """A login cannot be read. The message is one line that says what happened and what to do, without any secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """The login for one registry. A part that is missing is an empty string.

    `identity_token` is an OAuth2 refresh token. `registry_token` is a bearer token, sent as it is. `path` is the config
    file that holds the login or names the `helper` that gave it.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    path: Path | None = field(default=None, compare=False)
    helper: str = field(default="", compare=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.password or self.identity_token or self.registry_token)

    def as_entry(self) -> dict[str, str]:
        """Returns the login as a value of `auths` that all clients read. skopeo needs `auth` and ignores `username`."""
        username = self.username or (_TOKEN_USER if self.identity_token else "")
        entry = {"identitytoken": self.identity_token, "registrytoken": self.registry_token}
        if username or self.password:
            entry["auth"] = base64.b64encode(f"{username}:{self.password}".encode()).decode()
        return {name: value for name, value in entry.items() if value}


def helper_for(path: Path, config: Mapping[str, object], host: str) -> str:
    """Returns the name of the helper for this host, else of the default helper, else an empty string.

    Raises CredentialsError if the name is not valid.
    """
    own = _entry(_section(config, "credHelpers"), host)
    helper = own if own is not None else config.get("credsStore")
    if not helper:
        return ""
    if not isinstance(helper, str) or not _HELPER_NAME.fullmatch(helper):
        raise CredentialsError(f"{path}: a credential helper's name is not valid; correct it")
    return helper


def login_in(path: Path, config: Mapping[str, object], host: str) -> Login | None:
    """Returns the login for this host that the file itself holds; None if there is none.

    Raises CredentialsError if the entry is broken.
    """
    entry = _entry(_section(config, "auths"), host)
    if entry is None:
        return None
    try:
        login = _login(entry)
    except ValueError as error:
        raise CredentialsError(
            f"{path}: the entry for {host} is broken ({error}); run docker login {host} again"
        ) from None
    return replace(login, path=path) if login else None


def helper_login(out: bytes, program: str, host: str) -> Login | None:
    """Returns the login in a helper's answer; None if it is empty. Raises CredentialsError if it is not valid."""
    try:
        answer = json.loads(out)
        username, secret = _text(answer, "Username"), _text(answer, "Secret")
    except (ValueError, RecursionError, AttributeError):
        raise CredentialsError(f"{program} gave no valid answer for {host}; update or remove it") from None
    if username == _TOKEN_USER:
        return Login(identity_token=secret) or None
    return Login(username, secret) or None


def canonical(host: str) -> str:
    """Returns the canonical name of a registry: lower case, and the same name for the three names of Docker Hub."""
    host = host.lower()
    return "index.docker.io" if host in HUB_NAMES else host


def _section(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _hostname(key: str) -> str:
    """Returns the host of a key in a config file: without scheme and path, as in Docker."""
    bare = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE)
    return canonical(bare.partition("/")[0])


def _entry(section: Mapping[str, object], host: str) -> object | None:
    """Returns the value for `host`: under the host itself, else under a key with the same host."""
    for key, value in section.items():
        if canonical(key) == host:
            return value
    return next((value for key, value in section.items() if _hostname(key) == host), None)


def _login(entry: object) -> Login:
    """Parses one value of `auths`. Raises ValueError that says what is broken."""
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
    """Returns whether a value cannot be sent: line breaks would end the HTTP header; lone surrogates have no bytes."""
    return any(character in "\r\n\0" or "\ud800" <= character <= "\udfff" for character in value)


def _decoded(auth: str) -> tuple[str, str]:
    """Decodes the base64 of `username:password`. Raises ValueError if it is not valid. Docker pads it with NULs."""
    try:
        text = base64.b64decode(auth, validate=True).decode()
    except (binascii.Error, ValueError):
        raise ValueError("'auth' is not base64") from None
    username, colon, password = text.partition(":")
    password = password.rstrip("\0")
    if not colon or _unsafe(username + password):
        raise ValueError("'auth' is not a user name and a password")
    return username, password

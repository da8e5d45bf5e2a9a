"""One registry's login, and how Docker and podman write it down: entries of their config files, answers of helpers."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

# Docker files its hub's login under this key, whichever of the hub's names was used (docker/cli, IndexServer).
HUB_KEY: Final = "https://index.docker.io/v1/"
HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
# What stands for the user name where the secret is an identity token (docker-credential-helpers).
_TOKEN_USER: Final = "<token>"  # noqa: S105
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CredentialsError(Exception):
    """A login could not be read; one line that says what to do, without any secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """What to log in to one registry with; an empty string is what there is not.

    `identity_token` is an OAuth2 refresh token, `registry_token` a bearer token to be sent as it is. `path` is the file
    that it comes from, or that names the `helper` which gave it.
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
        """As a value of `auths` that both clients read: skopeo takes no `username`, and nothing without an `auth`."""
        username = self.username or (_TOKEN_USER if self.identity_token else "")
        entry = {"identitytoken": self.identity_token, "registrytoken": self.registry_token}
        if username or self.password:
            entry["auth"] = base64.b64encode(f"{username}:{self.password}".encode()).decode()
        return {name: value for name, value in entry.items() if value}


def helper_for(path: Path, config: Mapping[str, object], host: str) -> str:
    """The name of the host's own helper, else of the common one, else nothing."""
    own = _entry(_section(config, "credHelpers"), host)
    helper = own if own is not None else config.get("credsStore")
    if not helper:
        return ""
    if not isinstance(helper, str) or not _HELPER_NAME.fullmatch(helper):
        raise CredentialsError(f"{path}: a credential helper's name is not valid; correct it")
    return helper


def login_in(path: Path, config: Mapping[str, object], host: str) -> Login | None:
    """The login that the file itself holds."""
    entry = _entry(_section(config, "auths"), host)
    if entry is None:
        return None
    try:
        login = _login(entry)
    except ValueError as error:
        raise CredentialsError(
            f"{path}: the entry for {host} is broken ({error}); docker login {host} again"
        ) from None
    return replace(login, path=path) if login else None


def helper_login(out: bytes, program: str, host: str) -> Login | None:
    """The login in a helper's answer."""
    try:
        answer = json.loads(out)
        username, secret = _text(answer, "Username"), _text(answer, "Secret")
    except (ValueError, RecursionError, AttributeError):
        raise CredentialsError(f"{program} gave no valid answer for {host}; update or remove it") from None
    if username == _TOKEN_USER:
        return Login(identity_token=secret) or None
    return Login(username, secret) or None


def canonical(host: str) -> str:
    """One name for each registry: lower case, and one of the hub's three."""
    host = host.lower()
    return "index.docker.io" if host in HUB_NAMES else host


def _section(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}


def _hostname(key: str) -> str:
    """A key of the config file to its host, as Docker converts it: neither scheme nor path."""
    bare = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE)
    return canonical(bare.partition("/")[0])


def _entry(section: Mapping[str, object], host: str) -> object | None:
    """The value under `host` itself, else under a key that comes to the same host."""
    for key, value in section.items():
        if canonical(key) == host:
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

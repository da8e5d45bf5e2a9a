"""A registry's address: as the user wrote it, as patterns see it, as a reference needs it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import UsageError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registry's address.

    `name` is what the user wrote, without scheme and trailing slash: patterns see it. `host` is what goes
    into a reference: both clients take a first part without dot, colon or 'localhost' for a repository of
    Docker Hub, so such a name gets its scheme's default port.
    """

    scheme: str
    name: str

    @property
    def host(self) -> str:
        if "." in self.name or ":" in self.name or self.name == "localhost":
            return self.name
        return f"{self.name}:{443 if self.tls else 80}"

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.name}"


def parse_endpoint(option: str, text: str) -> Endpoint:
    """'host:port', 'http://…' or 'https://…' to an Endpoint; no scheme means http."""
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if not separator:
        scheme, rest = "http", text.strip()
    name = rest.rstrip("/")
    if scheme not in ("http", "https"):
        raise UsageError(f"{option}: '{scheme}://' is not supported; use http:// or https://")
    if "@" in name:
        raise UsageError(
            f"{option}: no user name or password here; 'docker login' or 'crane auth login' keeps them"
        )
    if "/" in name:
        raise UsageError(f"{option}: '{name}' has a path; give host:port, and the path with --layout")
    _check_host(option, name)
    return Endpoint(scheme, name)


def _check_host(option: str, name: str) -> None:
    try:
        parts = urlsplit(f"//{name}")
        valid = (
            bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and name[-1] != ":"
            and name[0] != "-"
        )
    except ValueError:
        valid = False
    if (
        not valid
        or not name.isascii()
        or any(c.isspace() or c in "?#\\%" or not c.isprintable() for c in name)
    ):
        raise UsageError(f"{option}: '{name}' is not a host or host:port")

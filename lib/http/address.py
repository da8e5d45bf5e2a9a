"""A registry's address: as the user wrote it, as patterns see it, as a reference needs it."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import UsageError


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


LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listen:
    """`host` without brackets; port 0 takes any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(option: str, text: str) -> Listen:
    """`9100`, `:9100`, `host:9100` or `[::1]:9100`; UsageError for what is none of them."""
    host, _, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    valid = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not valid or (bare == host and ":" in host) or not _is_name(bare):
        raise UsageError(
            f"{option}: '{text}' is no HOST:PORT, such as :9100 (this machine only) or 0.0.0.0:9100"
        )
    return Listen(LOOPBACK if bare in ("", "localhost") else bare, int(port))


def _is_name(host: str) -> bool:
    return host.isascii() and all(c.isalnum() or c in ".:-_%" for c in host)


def spelled_alike(one: Endpoint, other: Endpoint) -> bool:
    """The same host and port, whatever the case and whether the default port is written out."""
    return _host_and_port(one) == _host_and_port(other)


def same_server(one: Endpoint, other: Endpoint) -> bool:
    """The same port at an address that both names have; all loopback addresses are one."""
    (host, port), (other_host, other_port) = _host_and_port(one), _host_and_port(other)
    return port == other_port and (host == other_host or bool(_addresses(host) & _addresses(other_host)))


def _host_and_port(endpoint: Endpoint) -> tuple[str, int]:
    parts = urlsplit(endpoint.url)
    return (parts.hostname or "").lower().rstrip("."), parts.port or (443 if endpoint.tls else 80)


def _addresses(host: str) -> set[str]:
    """None for a name that cannot be resolved: who cannot be reached cannot be pruned either."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
    return {_one_loopback(address.partition("%")[0]) for address in found}


def _one_loopback(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return "loopback" if parsed.is_loopback or parsed.is_unspecified else address

"""Addresses: of registries (as the user wrote them, in patterns, in references), and of listeners."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import UsageError

# A part of a path: characters of RFC 3986 (section 3.3), and neither `.` nor `..`.
_SEGMENT = re.compile(r"(?!\.\.?$)(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registry's address.

    `name` is what the user wrote, without scheme and trailing slash; patterns are searched in it. It has a path if the
    registry's API is below one (`host/path/v2/`). `host` goes into references. Clients treat a first part without a dot
    or colon, other than 'localhost', as a repository of Docker Hub. So such a name gets the default port of its scheme.
    """

    scheme: str
    name: str

    @property
    def server(self) -> str:
        """Host and port as the user wrote them, without the path."""
        return self.name.partition("/")[0]

    @property
    def path(self) -> str:
        """The path that the API is below, without slashes at its ends; empty for most registries."""
        return self.name.partition("/")[2]

    @property
    def root(self) -> Endpoint:
        """The same server without the path, as clients address it."""
        return Endpoint(self.scheme, self.server)

    @property
    def host(self) -> str:
        """The first part of a reference to this registry."""
        if "." in self.server or ":" in self.server or self.server == "localhost":
            return self.server
        return f"{self.server}:{443 if self.tls else 80}"

    @property
    def tls(self) -> bool:
        """Whether the scheme is https."""
        return self.scheme == "https"

    @property
    def target(self) -> tuple[str, str, int]:
        """Scheme, host without brackets, and port."""
        parts = urlsplit(f"//{self.server}")
        return self.scheme, parts.hostname or "", parts.port or (443 if self.tls else 80)

    @property
    def url(self) -> str:
        """The URL that `/v2/` is below."""
        return f"{self.scheme}://{self.name}"


def parse_endpoint(option: str, text: str, *, below: bool = False) -> Endpoint:
    """Parses 'host:port', 'http://…' or 'https://…'; without a scheme it is http. Raises UsageError if not valid.

    `below`: the registry may be below a path, because only the driver asks it.
    """
    scheme, separator, rest = text.strip().partition("://")
    scheme = scheme.lower()
    if not separator:
        scheme, rest = "http", text.strip()
    name = rest.rstrip("/")
    if scheme not in ("http", "https"):
        raise UsageError(f"{option}: '{scheme}://' is not supported; use http:// or https://")
    if "@" in name:
        raise UsageError(
            f"{option}: a URL must not have a user name or password; use 'docker login' or 'crane auth login'"
        )
    endpoint = Endpoint(scheme, name)
    if "/" in name and not below:
        raise UsageError(f"{option}: '{name}' has a path; give host:port, and the path with --layout")
    _check_host(option, endpoint.server)
    if "/" in name and not all(_SEGMENT.fullmatch(part) for part in endpoint.path.split("/")):
        raise UsageError(
            f"{option}: '{name}' has a path that is not valid; give what stands before /v2/ in the registry's URLs"
        )
    return endpoint


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
        raise UsageError(
            f"{option}: '{name}' is not a host or host:port; give one, such as cache.example:5000"
        )


LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on: `host` has no brackets; port 0 means any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(option: str, text: str) -> Listen:
    """Parses `9100`, `:9100`, `host:9100` or `[::1]:9100`. Raises UsageError for anything else."""
    host, _, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    valid = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not valid or (bare == host and ":" in host) or not _is_name(bare):
        raise UsageError(
            f"{option}: '{text}' is not a valid HOST:PORT; give one, such as :9100 (this machine only) or 0.0.0.0:9100"
        )
    return Listen(LOOPBACK if bare in ("", "localhost") else bare, int(port))


def _is_name(host: str) -> bool:
    return host.isascii() and all(c.isalnum() or c in ".:-_%" for c in host)


def url_of(host: str) -> str:
    """Returns the URL of the registry with the images of this host. As with Docker, it is plain http on loopback."""
    if host == "docker.io":
        return "https://registry-1.docker.io"
    name = (urlsplit(f"//{host}").hostname or "").lower()
    plain = name in ("localhost", "::1") or name.startswith("127.")
    return f"{'http' if plain else 'https'}://{host}"


def spelled_alike(one: Endpoint, other: Endpoint) -> bool:
    """Returns whether both have the same host and port. Case and a default port left out make no difference."""
    return _host_and_port(one) == _host_and_port(other)


def surely_same(one: Endpoint, other: Endpoint) -> bool:
    """Returns whether both are one server beyond doubt.

    Two names may share an IP address: a reverse proxy then tells the servers apart by the name. So one of the two must
    be an IP address or `localhost`.
    """
    if spelled_alike(one, other):
        return True
    (host, port), (other_host, other_port) = _host_and_port(one), _host_and_port(other)
    if port != other_port or not (_is_address(host) or _is_address(other_host)):
        return False
    return bool(_resolved(host) & _resolved(other_host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def same_server(one: Endpoint, other: Endpoint) -> bool:
    """Returns whether both have the same port and a common IP address. All loopback addresses count as one."""
    (host, port), (other_host, other_port) = _host_and_port(one), _host_and_port(other)
    return port == other_port and (host == other_host or bool(_addresses(host) & _addresses(other_host)))


def _host_and_port(endpoint: Endpoint) -> tuple[str, int]:
    parts = urlsplit(endpoint.url)
    return (parts.hostname or "").lower().rstrip("."), parts.port or (443 if endpoint.tls else 80)


def _addresses(host: str) -> set[str]:
    """Returns the IP addresses of a host; none if it cannot be resolved, since it cannot be pruned then either."""
    return {_one_loopback(address) for address in _resolved(host)}


def _resolved(host: str) -> set[str]:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
    return {address.partition("%")[0] for address in found}


def _one_loopback(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return "loopback" if parsed.is_loopback or parsed.is_unspecified else address

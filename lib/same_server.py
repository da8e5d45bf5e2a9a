"""Whether two addresses are one server: what may be pruned must not be the upstream by another name."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from .endpoint import Endpoint


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

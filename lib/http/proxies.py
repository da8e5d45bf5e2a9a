"""The proxy for an address, by the rules of Go's net/http. All clients are Go programs, and the driver goes their way.

Source: golang.org/x/net/http/httpproxy, `proxy.go`, which Go's `http.ProxyFromEnvironment` uses. Go reads `HTTP_PROXY`,
`HTTPS_PROXY`, `NO_PROXY`, and these names in lower case if the first is empty or not set. It does not read `ALL_PROXY`.
`tests/doubles/go_way/answers.json` holds answers of Go itself to check this file against.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import idna

from ..clean import clean

_VARIABLES: Final = {"http": ("HTTP_PROXY", "http_proxy"), "https": ("HTTPS_PROXY", "https_proxy")}
_EXCEPTIONS: Final = ("NO_PROXY", "no_proxy")
# Set by web servers for CGI programs, which must not obey HTTP_PROXY: there it is the header `Proxy` of a request.
_CGI: Final = "REQUEST_METHOD"
# Ports of proxies without one. Go speaks HTTP to a proxy with another scheme.
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_USABLE: Final = ("http", "https")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NetworkOf = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyError(Exception):
    """The environment names a proxy that cannot be used. The message is one line without secrets."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `variable` is the environment variable that names it. `host` has no brackets."""

    variable: str
    scheme: str
    host: str
    port: int | None
    username: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The address, without the login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = self.port or _PORTS.get(self.scheme)
        return clean(f"{self.scheme}://{host}" + (f":{port}" if port else ""), 200)

    def __str__(self) -> str:
        return f"proxy {self.url} ({self.variable})"

    @property
    def obstacle(self) -> str | None:
        """Why the driver cannot use this proxy, and what to do; None if it can."""
        if self.scheme.startswith("socks"):
            return f"{self.variable} names the SOCKS proxy {self.url}, which ocidriver cannot use: name an HTTP proxy"
        if self.scheme not in _USABLE:
            return f"{self.variable} names a proxy with the scheme '{self.scheme}': write http://HOST:PORT"
        if not self.host or not 0 < (self.port or 80) < 65536:
            return f"{self.variable} names a proxy without a valid host and port: write http://HOST:PORT"
        return None


def proxy_for(scheme: str, host: str, port: int, env: Mapping[str, str] | None = None) -> Proxy | None:
    """Returns the proxy for a server; None to connect to it directly. `host` has no brackets.

    Raises ProxyError where Go refuses to use `HTTP_PROXY`.
    """
    env = os.environ if env is None else env
    proxy = _named(env, scheme)
    if proxy is None:
        return None
    if scheme == "http" and env.get(_CGI):
        raise ProxyError(
            f"{_CGI} is set, as for a CGI program, so the clients refuse {proxy.variable}: "
            f"unset {_CGI}, or unset {proxy.variable}"
        )
    return None if _exceptions(_value(env, _EXCEPTIONS)[1]).match(host, port) else proxy


def usable_proxy_for(scheme: str, host: str, port: int, env: Mapping[str, str] | None = None) -> Proxy | None:
    """Returns the same. Also raises ProxyError if the driver cannot use the proxy."""
    proxy = proxy_for(scheme, host, port, env)
    if proxy is not None and proxy.obstacle is not None:
        raise ProxyError(f"{proxy.obstacle}, or add {host} to NO_PROXY")
    return proxy


def remarks(env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yields what the environment says about proxies and nobody obeys, one line each."""
    env = os.environ if env is None else env
    for scheme, names in _VARIABLES.items():
        name, value = _value(env, names)
        proxy = _named(env, scheme)
        if value and proxy is None:
            yield f"{name} is not a valid address, so the clients and ocidriver ignore it: write http://HOST:PORT"
        elif proxy is not None and proxy.host in _PORTS and "://" in value and proxy.port is None:
            yield (
                f"{name} is not a valid URL, so the clients and ocidriver take '{proxy.host}' for the proxy's host: "
                "write http://HOST:PORT, with special characters of a password as %XX"
            )
    for name in ("ALL_PROXY", "all_proxy"):
        if env.get(name) and not any(_value(env, names)[1] for names in _VARIABLES.values()):
            yield f"{name} is set, but the clients and ocidriver do not read it: set HTTP_PROXY and HTTPS_PROXY"


def _value(env: Mapping[str, str], names: tuple[str, str]) -> tuple[str, str]:
    """Returns the variable that counts, and its value: the first that is not empty."""
    return next(((name, env[name]) for name in names if env.get(name)), (names[0], ""))


def _named(env: Mapping[str, str], scheme: str) -> Proxy | None:
    return _parsed(*_value(env, _VARIABLES[scheme])) if scheme in _VARIABLES else None


# --- the address of a proxy (Go: httpproxy.parseProxy, url.Parse)

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USER: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_HOST_AND_PORT: Final = re.compile(r"(\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[0-9]*))?")
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x20#/?@\\^`{|}%\x7f]")


@lru_cache(maxsize=16)
def _parsed(variable: str, text: str) -> Proxy | None:
    """Parses the value of a variable as Go does; None if it is empty or Go ignores it.

    A value that is no URL, or a URL without a host, is tried once more behind `http://`.
    """
    if not text:
        return None
    proxy = _url(variable, text)
    if proxy is None or not proxy.scheme or not (proxy.host or proxy.port is not None):
        return _url(variable, f"http://{text}") or proxy
    return proxy


def _url(variable: str, text: str) -> Proxy | None:
    """Parses a URL. Scheme and host are empty if it has none. None if it is not valid."""
    text, _, fragment = text.partition("#")
    if any(character < " " or character == "\x7f" for character in text) or text.startswith(":"):
        return None
    found = _SCHEME.fullmatch(text)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", text)
    rest = rest.partition("?")[0]
    if not rest.startswith("/") and not scheme and ":" in rest.partition("/")[0]:
        return None
    has_host = rest.startswith("//") and (scheme or not rest.startswith("///"))
    authority, slash, path = rest[2:].partition("/") if has_host else ("", "", rest)
    opaque = bool(scheme) and not rest.startswith("/")
    if _BAD_ESCAPE.search(fragment) or (not opaque and _BAD_ESCAPE.search(slash + path)):
        return None
    return _with_authority(variable, scheme, authority)


def _with_authority(variable: str, scheme: str, authority: str) -> Proxy | None:
    user, at, address = authority.rpartition("@")
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not _USER.fullmatch(user) or _BAD_ESCAPE.search(user):
        return None
    if found["v6"] is not None:
        if _address(found["v6"].replace("%25", "%")) is None or ":" not in found["v6"]:
            return None
    elif _NOT_IN_NAMES.search(found["name"]):
        return None
    username, _, password = user.partition(":")
    host = found["v6"] if found["v6"] is not None else found["name"]
    port = int(found["port"]) if found["port"] else None
    return Proxy(
        variable=variable,
        scheme=scheme,
        host=host,
        port=port,
        username=unquote(username) if at else None,
        password=unquote(password),
    )


# --- NO_PROXY (Go: config.init and the matchers)


@dataclass(frozen=True, slots=True)
class _Domain:
    """`suffix` begins with a dot. `itself`: the name without that dot matches too. An empty port matches every port."""

    suffix: str
    itself: bool
    port: str

    def match(self, name: str, port: str) -> bool:
        named = name.endswith(self.suffix) or (self.itself and name == self.suffix[1:])
        return named and self.port in ("", port)


@dataclass(frozen=True, slots=True)
class _Exceptions:
    """The servers that are reached directly."""

    everything: bool
    networks: tuple[_NetworkOf, ...]
    addresses: tuple[tuple[_Address, str], ...]
    domains: tuple[_Domain, ...]

    def match(self, host: str, port: int) -> bool:
        """Whether to connect to this server directly, as also to loopback, whatever NO_PROXY says."""
        host = _ascii(host)
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback) or self.everything:
            return True
        if address is None:
            name = host.strip().lower()
            return any(domain.match(name, str(port)) for domain in self.domains)
        return any(address in network for network in self.networks) or any(
            address == each and wanted in ("", str(port)) for each, wanted in self.addresses
        )


@lru_cache(maxsize=16)
def _exceptions(text: str) -> _Exceptions:
    networks: list[_NetworkOf] = []
    addresses: list[tuple[_Address, str]] = []
    domains: list[_Domain] = []
    for entry in (each.strip().lower() for each in text.split(",")):
        if entry == "*":
            return _Exceptions(True, (), (), ())
        network = _network(entry)
        if network is not None:
            networks.append(network)
            continue
        host, port = _host_and_port(entry)
        address = _address(host) if "%" not in host else None
        if address is not None:
            addresses.append((address, port))
        elif host:
            name = host[1:] if host.startswith("*.") else host
            itself = not name.startswith(".")
            domains.append(_Domain(f".{_ascii(name.removeprefix('.'))}", itself, port))
    return _Exceptions(False, tuple(networks), tuple(addresses), tuple(domains))


def _host_and_port(entry: str) -> tuple[str, str]:
    """Splits `host:port` or `[v6]:port` (Go: net.SplitHostPort); text that is neither is a host."""
    found = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:\[\]]*)", entry)
    if found is None:
        return entry, ""
    return found[1] or found[2] or "", found[3]


def _address(text: str) -> _Address | None:
    """Parses an IP address. One that IPv6 maps from IPv4 is that of IPv4, and the zone of an address plays no part."""
    bare, zone, name = text.partition("%")
    if zone and (not name or ":" not in bare):
        return None
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> _NetworkOf | None:
    """Parses an address with the number of its bits (CIDR)."""
    host, slash, bits = text.partition("/")
    if not slash or not re.fullmatch(r"[0-9]+", bits, re.ASCII) or "%" in host:
        return None
    try:
        network = ipaddress.ip_network(f"{host}/{int(bits)}", strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


def _ascii(name: str) -> str:
    """Returns the name as the DNS writes it (IDNA); unchanged if it cannot be written so."""
    if name.isascii():
        return name
    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return name

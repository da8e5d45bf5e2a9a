"""Parses `--hosts`: where the hosts of a load are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import UsageError

# So many hosts on one machine only share its cores.
_MOST_LOCAL: Final = 256
_LOCAL: Final = re.compile(r"local:(?P<count>\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts that carry out the load.

    `address` is that of their scheduler, or `local:N`; `local` is N, or None. The load begins when `least` hosts have
    joined, within `seconds`. `lost` hosts may be lost; one more stops the load. The files are for TLS towards the
    scheduler.
    """

    address: str
    local: int | None
    least: int
    seconds: float
    lost: int
    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether the connections use TLS."""
        return self.address.startswith("tls://")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the scheduler, as far as its address says."""
        host = urlsplit(self.address).hostname or ""
        if self.local is not None or host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

    def as_json(self) -> dict[str, Any]:
        """Returns these settings for the summary, by option name, without those that have their defaults."""
        files = {"hosts_ca_file": self.ca_file, "hosts_cert": self.cert, "hosts_key": self.key}
        return {
            "hosts": self.address,
            "min_hosts": self.least,
            "lost_hosts": self.lost,
            **{name: str(path) for name, path in files.items() if path is not None},
        }


# The options of this file, by parameter name, with their defaults.
DEFAULTS: Final[Mapping[str, Any]] = {
    "hosts": None,
    "min_hosts": None,
    "hosts_timeout": 60.0,
    "lost_hosts": 0,
    "hosts_ca_file": None,
    "hosts_cert": None,
    "hosts_key": None,
}


def parse_hosts(options: Mapping[str, Any]) -> Hosts | None:
    """Returns the hosts that the options name; None without `--hosts`. Raises `UsageError` if they are not valid."""
    text: str | None = options["hosts"]
    if text is None:
        _check_alone(options)
        return None
    text = text.strip()
    local = _LOCAL.fullmatch(text)
    count = None if local is None else int(local["count"])
    if count is None:
        _check_address(text)
    elif not 1 <= count <= _MOST_LOCAL:
        raise UsageError(f"--hosts: local:{count} is out of range; give local:1 to local:{_MOST_LOCAL}")
    least = options["min_hosts"]
    hosts = Hosts(
        address=text,
        local=count,
        least=(count or 1) if least is None else least,
        seconds=options["hosts_timeout"],
        lost=options["lost_hosts"],
        ca_file=options["hosts_ca_file"],
        cert=options["hosts_cert"],
        key=options["hosts_key"],
    )
    _check_together(hosts)
    return hosts


def _check_alone(options: Mapping[str, Any]) -> None:
    for name, default in DEFAULTS.items():
        if options[name] != default:
            raise UsageError(f"--{name.replace('_', '-')} needs --hosts; give --hosts, or leave it out")


def _check_address(text: str) -> None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or parts.path.strip("/") or "@" in text:
        raise UsageError(
            f"--hosts: '{text}' is not the address of a Dask scheduler; give tls://HOST:PORT, tcp://HOST:PORT or "
            "local:N"
        )
    if not port:
        raise UsageError(f"--hosts: '{text}' has no port; give that of the Dask scheduler, usually 8786")


def _check_together(hosts: Hosts) -> None:
    if hosts.local is not None and hosts.least > hosts.local:
        raise UsageError(
            f"--hosts {hosts.address} has fewer hosts than --min-hosts {hosts.least}; give a larger local:N"
        )
    files = {"--hosts-ca-file": hosts.ca_file, "--hosts-cert": hosts.cert, "--hosts-key": hosts.key}
    given = [option for option, path in files.items() if path is not None]
    if given and not hosts.is_encrypted:
        raise UsageError(
            f"{given[0]} needs a scheduler with TLS; give --hosts tls://HOST:PORT, or leave it out"
        )
    if hosts.key is not None and hosts.cert is None:
        raise UsageError("--hosts-key needs --hosts-cert; give the certificate that belongs to the key")
    for option, path in files.items():
        if path is None:
            continue
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"{option}: cannot read {path}: {error.strerror}; give a PEM file") from None

"""Where the metrics endpoint listens: `HOST:PORT`, on loopback unless another host is written."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError

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

"""The server under test: where it is, which upstream it pulls from, and how it names the upstream's images."""

from __future__ import annotations

from dataclasses import dataclass

from ..http.address import Endpoint
from .layout import Layout


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """`upstream_name` is what the server calls its upstream, `registry` where the driver itself finds the upstream."""

    pullthrough: Endpoint
    registry: Endpoint
    upstream_name: str
    layout: Layout

    @property
    def endpoint(self) -> Endpoint:
        """Where the clients' requests go: with `--layout direct` to the upstream itself."""
        return self.registry if self.layout.is_upstream else self.pullthrough

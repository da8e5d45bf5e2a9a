"""The server under test: its address, its upstream, and how it names the upstream's images."""

from __future__ import annotations

from dataclasses import dataclass

from ..http.address import Endpoint
from .layout import Layout


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """The server under test at `pullthrough`.

    `upstream_name` is the server's name for its upstream; `registry` is the upstream's address for the driver itself.
    """

    pullthrough: Endpoint
    registry: Endpoint
    upstream_name: str
    layout: Layout

    @property
    def endpoint(self) -> Endpoint:
        """The server that receives the clients' requests: with `--layout direct`, the upstream itself, at its root."""
        return self.registry.root if self.layout.is_upstream else self.pullthrough

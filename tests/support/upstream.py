"""The registry with images that many tests pull from."""

from __future__ import annotations

from dataclasses import dataclass

from lib.lab.populate import Population
from lib.lab.servers import Server

UPSTREAM_POPULATION = Population(groups=3, images=4, layers=2, layer_size=1024)


@dataclass(frozen=True)
class Upstream:
    """A registry with images: `-0001`, `-0002` and `-0003`, four of each. `images` are `repository:tag`."""

    server: Server
    images: tuple[str, ...]

    @property
    def url(self) -> str:
        """With its scheme."""
        return self.server.url

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.address

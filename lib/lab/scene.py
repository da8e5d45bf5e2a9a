"""A whole lab: an upstream with images and a pull-through cache of it, and what a driver has to be told of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from .populate import Population
from .servers import Server, crane_registry, docker_registry, docker_registry_proxy, lab_cache

EMBEDDED, DISTRIBUTION = "embedded", "distribution"
CRANE = "crane"
LAYOUTS = {EMBEDDED: "ociregistry", DISTRIBUTION: "distribution"}


@dataclass(frozen=True)
class Scene:
    """What a driver is to measure: addresses (`host:port`), and how the server under test names upstream images."""

    upstream: str
    pullthrough: str
    layout: str

    def arguments(self, patterns: Sequence[str] = ()) -> list[str]:
        """The driver's options for it, as a user would type them. The default layout needs no mention."""
        return [
            *("--pullthrough-url", self.pullthrough),
            *("--registry-url", self.upstream),
            *([f"--patterns={','.join(patterns)}"] if patterns else []),
            *([] if self.layout == "ociregistry" else ["--layout", self.layout]),
        ]


def group_patterns(population: Population, most: int = 10) -> list[str]:
    """`-0001`, `-0002` …: one for each group of images, disjoint."""
    return [f"-{group:04d}" for group in range(1, min(population.groups, most) + 1)]


def upstream_server(kind: str, port: int = 0) -> AbstractContextManager[Server]:
    """An empty upstream: `crane` (in memory) or `distribution`."""
    return crane_registry(port=port) if kind == CRANE else docker_registry(port=port)


@contextmanager
def cache_of(upstream: Server, kind: str, *, port: int = 0, options: Sequence[str] = ()) -> Iterator[Scene]:
    """A pull-through cache of the upstream: `embedded`, with its own `options`, or `distribution`."""
    with _cache(upstream, kind, port, options) as cache:
        yield Scene(upstream.address, cache.address, LAYOUTS[kind])


def _cache(upstream: Server, kind: str, port: int, options: Sequence[str]) -> AbstractContextManager[Server]:
    if kind == EMBEDDED:
        return lab_cache(upstream.address, *options, port=port)
    return docker_registry_proxy(upstream.url, port=port)

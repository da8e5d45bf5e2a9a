"""A lab: an upstream with images and a pull-through cache of it, and the driver's options for them."""

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
    """The servers of a lab: their addresses (`host:port`), and the layout of the server under test.

    `cache` is the server under test, if the lab runs it.
    """

    upstream: str
    pullthrough: str
    layout: str
    cache: Server | None = None

    def arguments(self, patterns: Sequence[str] = ()) -> list[str]:
        """Returns the driver's options, as a user would type them. Leaves out the default layout."""
        return [
            *("--pullthrough-url", self.pullthrough),
            *("--registry-url", self.upstream),
            *([f"--patterns={','.join(patterns)}"] if patterns else []),
            *([] if self.layout == "ociregistry" else ["--layout", self.layout]),
        ]


def group_patterns(population: Population, most: int = 10) -> list[str]:
    """Returns a pattern for each group of images, at most `most`: `-0001`, `-0002` …"""
    return [f"-{group:04d}" for group in range(1, min(population.groups, most) + 1)]


def upstream_server(kind: str, port: int = 0) -> AbstractContextManager[Server]:
    """Runs an empty upstream: `crane` (in memory) or `distribution`."""
    return crane_registry(port=port) if kind == CRANE else docker_registry(port=port)


@contextmanager
def cache_of(upstream: Server, kind: str, *, port: int = 0, options: Sequence[str] = ()) -> Iterator[Scene]:
    """Runs a pull-through cache of the upstream: `embedded`, with its own `options`, or `distribution`."""
    with _cache(upstream, kind, port, options) as cache:
        yield Scene(upstream.address, cache.address, LAYOUTS[kind], cache)


def _cache(upstream: Server, kind: str, port: int, options: Sequence[str]) -> AbstractContextManager[Server]:
    if kind == EMBEDDED:
        return lab_cache(upstream.address, *options, port=port)
    return docker_registry_proxy(upstream.url, port=port)

"""Chooses, before any load, a way of pruning that works with the server under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..choices import AUTO, BY_CLIENT, BY_OCIREGISTRY
from ..clients.client import Client
from ..clients.renewal import Renewal
from ..errors import RunError
from ..http.address import same_server, url_of
from ..http.connections import Connections
from ..http.registry import Registry
from ..images import Image
from ..processes.launch import Launcher
from .manifests import DigestResolver, PlatformImages
from .prune import AdminPruner, ClientPruner, HttpPruner, Pruner
from .prune_probe import cannot_prune, probe_admin, probe_delete
from .route import Route
from .under_test import ServerUnderTest

# Seconds for which a failed prune call is retried. After that it counts as failed.
_PRUNE_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class PruneWish:
    """What the user asked for: `option` is the option that asks for pruning, `via` the value of --prune-via."""

    option: str
    via: str


@dataclass(frozen=True, slots=True)
class Deleter:
    """What a delete by the client needs. `timeout` is the seconds after which the client is killed.

    `renewal` gives the client with the user's newest logins.
    """

    client: Client
    launcher: Launcher
    reference: Callable[[Image], str]
    timeout: float
    renewal: Renewal


class PruneWays:
    """The ways of pruning, and which of them works with this server."""

    def __init__(
        self,
        wish: PruneWish,
        under_test: ServerUnderTest,
        route: Route,
        deleter: Deleter,
        connections: Connections,
    ) -> None:
        self._wish = wish
        self._under_test = under_test
        self._route = route
        self._deleter = deleter
        self._connections = connections
        self._server: Registry = connections.registry(route.endpoint.url, _PRUNE_RETRY)

    def choose(self, sample: Image) -> Pruner:
        """Returns the pruner of the user's choice, or the first that works. Raises RunError with reasons if none does.

        `sample` is an image of the test; the probes use its repository.
        """
        server, upstream = self._route.endpoint, self._under_test.registry
        if same_server(server, upstream):
            raise RunError(
                f"{self._wish.option}: {server.name} and {upstream.name} are the same server; "
                f"pruning would delete the upstream's own images; leave out {self._wish.option}"
            )
        client = self._deleter.client
        if self._wish.via == BY_CLIENT and not client.abilities.deletes:
            raise RunError(
                f"--prune-via {BY_CLIENT}: {client.name} has no delete command; use --prune-via {AUTO}, with which the "
                "driver itself sends HTTP DELETE requests"
            )
        reasons: list[str] = []
        for way in self._wanted():
            pruner = self._admin() if way == BY_OCIREGISTRY else self._by_delete(sample)
            if not isinstance(pruner, str):
                self._connections.log(f"prune by {'; '.join([pruner.how, *reasons])}")
                return pruner
            reasons.append(pruner)
        raise cannot_prune(self._wish.option, server.name, reasons)

    def _wanted(self) -> list[str]:
        if self._wish.via != AUTO:
            return [self._wish.via]
        ways = [BY_OCIREGISTRY, BY_CLIENT]
        return ways if self._under_test.layout.is_ociregistry else ways[::-1]

    def _admin(self) -> Pruner | str:
        """Returns the pruner, or why it would not work."""
        network = self._connections.network
        probe = network.run_until_stop(probe_admin(self._server))
        if not probe.works:
            return probe.reason
        name = next((each for each in self._route.upstreams if "." not in each), None)
        if name is not None:
            return (
                f"Ociregistry would damage its cache, because the upstream's name has no dot ('{name}'); "
                "use the upstream's full name or address, in Ociregistry's configuration and as --upstream-name"
            )
        upstream = self._connections.registry(self._under_test.registry.url, _PRUNE_RETRY)
        platform_images = PlatformImages(network, upstream, self._connections.log, cache(self._other))
        return AdminPruner(network, self._server, self._under_test.upstream_name, platform_images)

    def _other(self, name: str) -> Registry:
        """Returns the registry of this name, for images whose upstream is not that of the run."""
        return self._connections.registry(url_of(name), _PRUNE_RETRY)

    def _by_delete(self, sample: Image) -> Pruner | str:
        """Returns the pruner, or why it would not work. If the client has no delete command, the driver deletes."""
        client, network = self._deleter.client, self._connections.network
        probe = network.run_until_stop(probe_delete(self._server, self._route, sample))
        if not probe.works:
            return probe.reason
        by_digest = probe.by_digest and not client.abilities.resolves_digest
        resolver = DigestResolver(network, self._server, self._route) if by_digest else None
        if not client.abilities.deletes:
            return HttpPruner(network, self._server, self._route, resolver)
        deleter = self._deleter
        return ClientPruner(
            client, deleter.launcher, deleter.reference, deleter.timeout, resolver, deleter.renewal
        )

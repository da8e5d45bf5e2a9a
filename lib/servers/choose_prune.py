"""Chooses the way of pruning that works with the server under test, before any load."""

from __future__ import annotations

from collections.abc import Callable

from ..clients.client import Client
from ..errors import RunError
from ..http.address import same_server
from ..http.connections import Connections
from ..http.registry import Registry
from ..images import Image
from ..options.settings import Settings
from ..processes.launch import Launcher
from .manifests import DigestResolver, PlatformImages
from .prune import AdminPruner, ClientPruner, Pruner
from .prune_probe import cannot_prune, probe_admin, probe_delete
from .route import Route

# A prune call that fails is retried for so long, in seconds; then it counts as failed.
_PRUNE_RETRY = 5.0


class _PruneWays:
    """The two ways of pruning, and which of them works with this server."""

    def __init__(
        self,
        settings: Settings,
        route: Route,
        client: Client,
        launcher: Launcher,
        reference: Callable[[Image], str],
        connections: Connections,
    ) -> None:
        self._settings = settings
        self._route = route
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._connections = connections
        self._option = "--prune" if settings.prune else "--prune-first"
        self._server: Registry = connections.registry(route.endpoint.url, _PRUNE_RETRY)

    def choose(self, sample: Image) -> Pruner:
        """The user's way, or the first that works; RunError with the reasons where none does."""
        if same_server(self._route.endpoint, self._settings.registry):
            raise RunError(
                f"{self._option}: {self._route.endpoint.name} and {self._settings.registry.name} are the same server; "
                "it would delete the upstream's own images"
            )
        reasons: list[str] = []
        for way in self._wanted():
            pruner = self._admin() if way == "ociregistry" else self._by_client(sample)
            if not isinstance(pruner, str):
                self._connections.log(f"prune by {'; '.join([pruner.how, *reasons])}")
                return pruner
            reasons.append(pruner)
        raise cannot_prune(self._option, self._route.endpoint.name, reasons)

    def _wanted(self) -> list[str]:
        if self._settings.prune_via != "auto":
            return [self._settings.prune_via]
        return (
            ["ociregistry", "client"] if self._settings.layout.is_ociregistry else ["client", "ociregistry"]
        )

    def _admin(self) -> Pruner | str:
        """The pruner, or why it would not work."""
        network = self._connections.network
        probe = network.run_until_stop(probe_admin(self._server))
        if not probe.works:
            return probe.reason
        name = self._settings.upstream_name
        if "." not in name:
            damage = f"Ociregistry loses the layers of an upstream without a dot in its name ('{name}') when it prunes"
            if self._settings.prune_via == "auto":
                return f"{damage}; call it by its full name or its address there and here"
            self._connections.caution(damage)
        upstream = self._connections.registry(self._settings.registry.url, _PRUNE_RETRY)
        platform_images = PlatformImages(network, upstream, self._connections.log)
        return AdminPruner(network, self._server, self._settings.upstream_name, platform_images)

    def _by_client(self, sample: Image) -> Pruner | str:
        """The pruner, or why it would not work. skopeo finds the digest to delete by itself."""
        network = self._connections.network
        probe = network.run_until_stop(probe_delete(self._server, self._route, sample))
        if not probe.works:
            return probe.reason
        by_digest = probe.by_digest and self._client.name == "crane"
        resolver = DigestResolver(network, self._server, self._route) if by_digest else None
        return ClientPruner(
            self._client, self._launcher, self._reference, self._settings.pull_timeout, resolver
        )

"""Notices that the user mixed up the server under test and its upstream. It warns only of what cannot be meant."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from ..http.address import surely_same
from ..http.connections import Connections
from ..http.registry import Registry, RegistryError
from .under_test import ServerUnderTest

_SECONDS: Final = 5.0
_BYTES: Final = 1 << 20
_SWAPPED: Final = "are --pullthrough-url and --registry-url swapped?"
# A call of Ociregistry's admin API that changes nothing. Its answer is short, as no image has this name.
_ADMIN_CALL: Final = "/cmd/image/list?pattern=%5Eocidriver-probe-that-matches-nothing%24&count=1"


def warn_of_one_server(server: ServerUnderTest, connections: Connections) -> bool:
    """Warns if both URLs are those of one server. Returns whether they are."""
    if server.layout.is_upstream or not surely_same(server.pullthrough, server.registry):
        return False
    connections.caution(
        f"--pullthrough-url and --registry-url are the same server ({server.pullthrough.name}), so nothing is pulled "
        "through another one; correct a URL, or use --layout direct to test the upstream itself"
    )
    return True


def warn_of_swapped(server: ServerUnderTest, connections: Connections) -> None:
    """Warns if Ociregistry is at the upstream's address, and not where the layout says that it is.

    In a good run, this sends one request to the server under test and none to the upstream.
    """
    message = swapped(server, connections)
    if message:
        connections.caution(message)


def swapped(server: ServerUnderTest, connections: Connections) -> str:
    """Returns the warning of `warn_of_swapped`; empty if there is nothing to warn of."""
    if not server.layout.is_ociregistry or _is_ociregistry(server.pullthrough.url, connections):
        return ""
    if not _is_ociregistry(server.registry.url, connections):
        return ""
    return (
        f"Ociregistry answers at --registry-url ({server.registry.name}), and not at --pullthrough-url "
        f"({server.pullthrough.name}): {_SWAPPED}"
    )


def swapped_if_empty(server: ServerUnderTest, connections: Connections) -> str:
    """Returns a hint, to append to the message, for an upstream whose catalog is empty; empty if there is none.

    A cache of an empty registry has no images. So if the server under test lists some, it may be the upstream.
    """
    if server.layout.is_upstream or surely_same(server.pullthrough, server.registry):
        return ""
    path = "/v2/_catalog?n=1"
    found = connections.network.run_until_stop(_asked(connections.registry(server.pullthrough.url), path))
    try:
        names = json.loads(found or "{}").get("repositories")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(names, list) or not names:
        return ""
    return f" ({server.pullthrough.name} lists images: {_SWAPPED})"


def _is_ociregistry(url: str, connections: Connections) -> bool:
    asked = _asked(connections.registry(url), _ADMIN_CALL)
    return b"no manifests found" in (connections.network.run_until_stop(asked) or b"")


async def _asked(registry: Registry, path: str) -> bytes | None:
    """Returns the body of a good answer that is not a web page; None without one."""
    try:
        request = registry.request("GET", path, retry=False, max_bytes=_BYTES)
        answer = await asyncio.wait_for(request, _SECONDS)
    except (RegistryError, asyncio.TimeoutError):
        return None
    good = answer.status == 200 and "html" not in answer.headers.get("Content-Type", "")
    return answer.body if good else None

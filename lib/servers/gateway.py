"""The loopback gateway: redirects a client that cannot send a header to Ociregistry, and adds the upstream's name.

It answers each request for a manifest or blob with a 307 to the same path on the server under test, with
`?ns=UPSTREAM`. So the content goes directly from the server to the client. The gateway holds no credentials, listens on
loopback only and redirects to one server only, so it cannot be used as a proxy. Clients try https first. aiohttp
answers their TLS hello with 400 at once, so they continue with http without a delay.
"""

from __future__ import annotations

import re
import resource
from urllib.parse import quote

from aiohttp import web

from ..errors import RunError
from ..http.address import LOOPBACK, Endpoint
from ..http.listener import Listener
from ..names import valid_digest, valid_repository, valid_tag

_TARGET = re.compile(r"/v2/(.+)/(?:manifests|blobs)/([^/]+)")
_METHODS = ("GET", "HEAD", "DELETE")
# The most connections at a time; also at most a quarter of the descriptors. A pull has up to seven connections.
_CONNECTIONS = 2048
# Headers that browsers send for requests of web pages, and clients never send.
_OF_PAGES = ("Origin", "Sec-Fetch-Site")


class Gateway:
    """The gateway to one server and one upstream. `start` returns the host:port to put into references."""

    def __init__(self, server_url: str, upstream_name: str) -> None:
        self._server_url = server_url
        self._query = f"?ns={quote(upstream_name, safe='')}"
        self._hosts: frozenset[str] = frozenset()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _CONNECTIONS if limit == resource.RLIM_INFINITY else min(_CONNECTIONS, limit // 4)
        self._listener = Listener(self._answer, most)

    async def start(self) -> str:
        """Listens on a free port of loopback; returns host:port. Raises OSError if it cannot listen."""
        (_, port), *_ = await self._listener.start(LOOPBACK, 0)
        self._hosts = frozenset(f"{name}:{port}" for name in (LOOPBACK, "localhost"))
        return f"{LOOPBACK}:{port}"

    async def close(self) -> None:
        """Stops listening and closes the connections."""
        await self._listener.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.headers.get("Host", "").lower() not in self._hosts:
            return web.Response(status=421)
        if any(name in request.headers for name in _OF_PAGES):
            return web.Response(status=403)
        if request.method not in _METHODS:
            return web.Response(status=405, headers={"Allow": ", ".join(_METHODS)})
        if request.path in ("/v2/", "/v2"):
            return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        if not _is_content(request.path):
            return web.Response(status=404)
        return web.Response(
            status=307, headers={"Location": f"{self._server_url}{request.path}{self._query}"}
        )


def _is_content(path: str) -> bool:
    """Whether this is the path of a manifest or blob by the registries' grammar, which excludes `..` and hosts."""
    found = _TARGET.fullmatch(path)
    return (
        found is not None and valid_repository(found[1]) and (valid_tag(found[2]) or valid_digest(found[2]))
    )


def check_fit(client: str, instead: str, server: Endpoint, *, login: bool, insecure: bool) -> None:
    """Raises RunError if this client cannot reach the server through the gateway.

    `instead` names the other clients to use. `login`: the server needs a login.
    """
    if login:
        raise RunError(
            f"{server.name} needs a login, and {client} can reach it only through the loopback gateway, which does "
            f"not forward logins; use {instead}, or an --upstream-name that is valid in a path"
        )
    if server.tls and not insecure:
        raise RunError(
            f"{client} can reach {server.name} only through the loopback gateway over plain http, and then does not "
            f"check the server's certificate; use {instead}, or an --upstream-name that is valid in a path, "
            "or accept this with --insecure"
        )

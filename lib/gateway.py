"""The loopback gateway: sends a client that cannot set a header on to Ociregistry, upstream named.

It answers each request for a manifest or blob with 307 to the same path at the server under test with `?ns=UPSTREAM`,
so the bytes go straight from the server to the client. It holds no credentials, serves loopback only, and sends on to
one server only: it cannot be used as a proxy. Both clients try https first; aiohttp answers a TLS hello with 400 at
once, which is what makes them go on with http without losing time.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from aiohttp import web

_TARGET = re.compile(r"/v2/[a-z0-9._/-]+/(?:manifests|blobs)/[A-Za-z0-9_.:+-]+")
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Gateway:
    """`start` gives the host:port to put into references."""

    def __init__(self, server_url: str, upstream_name: str) -> None:
        self._server_url = server_url
        self._query = f"?ns={quote(upstream_name, safe='')}"
        self._runner: web.ServerRunner | None = None

    async def start(self) -> str:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"{host}:{port}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if (request.host or "").rpartition(":")[0] not in _HOSTS:
            return web.Response(status=421)
        if request.method not in ("GET", "HEAD", "DELETE"):
            return web.Response(status=405)
        if request.path in ("/v2/", "/v2"):
            return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        if not _TARGET.fullmatch(request.path) or ".." in request.path:
            return web.Response(status=404)
        return web.Response(
            status=307, headers={"Location": f"{self._server_url}{request.path}{self._query}"}
        )

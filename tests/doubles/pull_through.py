"""A server in front of a registry: it deletes as zot does, wants to know the upstream, or is below a path."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.doubles.exchange import parse_request
from tests.doubles.serving import serving
from tests.doubles.tls_server import QuietHandler


@dataclass
class PullThrough:
    """What it holds, and what was asked of it. With `ns`, it answers 404 to who does not name this upstream in `?ns=`.

    With `root`, its API is below this path. It deletes as zot 2.1 does: while it does not hold a repository, it answers
    400 and NAME_UNKNOWN.
    """

    upstream: str
    ns: str = ""
    root: str = ""
    address: str = ""
    held: dict[str, set[str]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def answer(self, handler: QuietHandler) -> None:
        self.asked.append((handler.headers.get("User-Agent", ""), handler.command, handler.path))
        if not handler.path.startswith(f"{self.root}/v2/"):
            return handler.send(404, b"")
        path = handler.path.removeprefix(self.root)
        parts = urlsplit(path)
        request = parse_request(handler.command, parts.path)
        if request.place == "ping":
            return handler.send(200, b"{}")
        if self.ns and parse_qs(parts.query).get("ns") != [self.ns]:
            return handler.send(404, b"")
        if handler.command == "DELETE":
            return self._delete(handler, request.repository, request.reference)
        return self._fetch(handler, path, request.repository)

    def _fetch(self, handler: QuietHandler, path: str, repository: str) -> None:
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.request(
                handler.command, path, headers={"Accept": handler.headers.get("Accept", "*/*")}
            )
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == 200 and "/manifests/" in path:
            reference = urlsplit(path).path.rpartition("/")[2]
            self.held.setdefault(repository, set()).update((reference, digest))
        headers = {"Docker_Content_Digest": digest} if digest else {}
        handler.send(
            answer.status,
            body,
            Content_Type=answer.headers.get("Content-Type", "text/plain"),
            **headers,
            **({"Content_Length": answer.headers["Content-Length"]} if handler.command == "HEAD" else {}),
        )

    def _delete(self, handler: QuietHandler, repository: str, reference: str) -> None:
        if repository not in self.held:
            return handler.send(400, _error("NAME_UNKNOWN"))
        if reference not in self.held[repository]:
            return handler.send(404, _error("MANIFEST_UNKNOWN"))
        self.held[repository].clear()  # one image is in each repository
        return handler.send(202, b"")


def _error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower(), "detail": {}}]}).encode()


@contextmanager
def pull_through(upstream: str, ns: str = "", root: str = "") -> Iterator[PullThrough]:
    """Serves in threads."""
    server = PullThrough(upstream, ns, root)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            server.answer(self)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        server.address = f"127.0.0.1:{port}"
        yield server

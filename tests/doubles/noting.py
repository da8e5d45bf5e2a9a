"""A registry with images of any kind, which notes what it is asked for: to see where a client's requests go."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lib.lab.images import digest_of


@dataclass(frozen=True)
class Content:
    """A manifest with its media type, and the blobs and further manifests of the image by digest."""

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    manifests: tuple[tuple[bytes, str], ...] = ()


@dataclass
class NotingRegistry:
    """`address` is host:port. `requests` are `METHOD /path?query`, in the order of their arrival."""

    address: str
    images: dict[str, Content]
    pages: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def clear(self) -> None:
        self.requests.clear()
        self.headers.clear()

    def answer(self, path: str) -> tuple[int, bytes, str]:
        """Status, body and media type. A repository has one image, whatever its tag."""
        if path in self.pages:
            return 200, self.pages[path], "application/octet-stream"
        if path == "/v2/":
            return 200, b"{}", "application/json"
        repository, _, rest = path.removeprefix("/v2/").rpartition("/manifests/")
        if repository in self.images:
            content = self.images[repository]
            known = {digest_of(body): (body, kind) for body, kind in content.manifests}
            body, kind = known.get(rest, (content.manifest, content.media_type))
            return 200, body, kind
        repository, _, rest = path.removeprefix("/v2/").rpartition("/blobs/")
        if repository in self.images and rest in self.images[repository].blobs:
            return 200, self.images[repository].blobs[rest], "application/octet-stream"
        return 404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"not here"}]}', "application/json"


@contextmanager
def noting_registry(images: Mapping[str, Content]) -> Iterator[NotingRegistry]:
    """On a free port of the loopback address. A TLS hello is refused at once, as a server for plain http does."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            registry.requests.append(f"{self.command} {self.path}")
            registry.headers.append(dict(self.headers.items()))
            status, body, media_type = registry.answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", digest_of(body))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names of BaseHTTPRequestHandler

        def log_message(self, *_: object) -> None:
            """Says nothing on stderr."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that goes away is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    registry = NotingRegistry(f"127.0.0.1:{server.server_address[1]}", dict(images))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

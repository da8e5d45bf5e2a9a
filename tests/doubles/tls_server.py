"""An HTTP server over TLS on loopback, its answers given by a handler class."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.doubles.certificates import Certificate
from tests.doubles.serving import serving


class QuietHandler(BaseHTTPRequestHandler):
    """`answer` is to answer a request of any method, by `send`."""

    def answer(self) -> None:
        raise NotImplementedError

    def _any(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815 - as http.server wants it

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """A header's name is given with underscores in place of dashes."""
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given.update({name.replace("_", "-"): value for name, value in headers.items()})
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def tls_server(certificate: Certificate, handler: type[QuietHandler]) -> Iterator[str]:
    """Serves in threads; gives `localhost:PORT`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # the handshake is each connection's own, in its thread: one that hangs must not keep the others waiting
    listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    with serving(listener) as port:
        yield f"localhost:{port}"

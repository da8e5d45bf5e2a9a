"""An HTTP server over TLS on loopback, its answers given by a handler class."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.doubles.certificates import Certificate


class QuietHandler(BaseHTTPRequestHandler):
    """`answer` is to answer a request of any method, by `send`."""

    def answer(self) -> None:
        raise NotImplementedError

    def _any(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_POST = do_DELETE = _any  # noqa: N815 - as http.server wants it

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def tls_server(certificate: Certificate, handler: type[QuietHandler]) -> Iterator[str]:
    """Serves in threads; gives `localhost:PORT`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        # the handshake is each connection's own, in its thread: one that hangs must not keep the others waiting
        listener.socket = context.wrap_socket(
            listener.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"localhost:{listener.server_port}"
        finally:
            listener.shutdown()
            thread.join()

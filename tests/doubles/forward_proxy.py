"""A forward proxy on loopback, for http and for CONNECT, which resolves the names of servers in its own way.

So a test uses names that no DNS knows: who reaches such a server has gone through the proxy.
"""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# The words in a User-Agent by which the parties are told apart.
PARTIES = ("ocidriver", "crane", "go-containerregistry", "skopeo", "containerd")


@dataclass
class ForwardProxy:
    """`names` maps host:port to the real host:port. `login` is what it wants, as user:password.

    With `refusal`, it answers every request by itself: the status, and the headers of its own.
    """

    names: Mapping[str, str]
    login: str = ""
    refusal: int = 0
    marks: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def by(self, party: str) -> Counter[str]:
        """The servers that one party asked for through the proxy. A CONNECT does not always name the party."""
        return Counter(server for agent, _, server in self.asked if party in agent)

    def servers(self) -> set[str]:
        return {server for _, _, server in self.asked}

    def serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = _head(client)
            if not head:
                return
            text, rest = head
            method, target, _ = text.partition("\r\n")[0].split(" ")
            server = target if method == "CONNECT" else urlsplit(target).netloc
            server = server if ":" in server else f"{server}:80"
            self.asked.append((_header(text, "User-Agent"), method, server))
            wanted = base64.b64encode(self.login.encode()).decode()
            if self.login and _header(text, "Proxy-Authorization") != f"Basic {wanted}":
                client.sendall(_answer(407, {"Proxy-Authenticate": "Basic"}))
            elif self.refusal:
                client.sendall(_answer(self.refusal, self.marks))
            elif server not in self.names:
                client.sendall(_answer(502, self.marks))
            else:
                self._forward(client, method, text, rest, self.names[server])

    def _forward(self, client: socket.socket, method: str, text: str, rest: bytes, real: str) -> None:
        host, _, port = real.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(_as_origin(text).encode("latin-1") + rest)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _head(client: socket.socket) -> tuple[str, bytes] | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1") + "\r\n\r\n", rest


def _header(text: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.*?)\r$", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _as_origin(text: str) -> str:
    """The head as the server itself gets it: with a path, on a connection for this request alone."""
    first, _, rest = text.partition("\r\n")
    method, target, version = first.split(" ")
    parts = urlsplit(target)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kept = re.sub(r"(?im)^(?:proxy-\S+|connection): .*\r\n", "", rest)
    return f"{method} {path} {version}\r\nConnection: close\r\n{kept}"


def _answer(status: int, headers: Mapping[str, str]) -> bytes:
    body = b"<html>the proxy says no</html>"
    reasons = {
        403: "Forbidden",
        407: "Proxy Authentication Required",
        502: "Bad Gateway",
        503: "Service Unavailable",
    }
    lines = [f"HTTP/1.1 {status} {reasons[status]}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "text/html", **headers}.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def forward_proxy(
    names: Mapping[str, str], login: str = "", refusal: int = 0, **marks: str
) -> Iterator[ForwardProxy]:
    """Runs the proxy. `marks` are headers of its own answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    own = {name.replace("_", "-"): value for name, value in marks.items()}
    proxy = ForwardProxy(names, login, refusal, own, f"127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()

"""The driver's own listeners, as strangers meet them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from lib.http.listener import Listener
from lib.http.network import Network
from tests.support.asking import get
from tests.support.waiting import SECONDS, wait_until

MOST = 5


async def answer(request: web.BaseRequest) -> web.Response:
    return web.Response(text=f"{request.method} {request.path}")


@pytest.fixture
def port(network: Network) -> Iterator[int]:
    listener = Listener(answer, MOST)
    ((_, port),) = network.run(listener.start("127.0.0.1", 0))
    yield port
    network.run(listener.close())


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def asked(port: int) -> str:
    return get(f"127.0.0.1:{port}", "/x").decode()


def told(port: int, request: bytes) -> bytes:
    """The first line of the answer."""
    with connect(port) as connection:
        connection.sendall(request)
        return connection.makefile("rb").readline().strip()


@pytest.mark.parametrize("begun", [b"", b"GET /x HTTP/1.1\r\nHost: ", b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_of_too_many_connections_the_oldest_ends_and_a_new_one_is_served(port: int, begun: bytes) -> None:
    strangers = [connect(port) for _ in range(4 * MOST)]
    for stranger in strangers:
        send(stranger, begun)
    assert asked(port) == "GET /x"
    wait_until(lambda: sum(is_closed(stranger) for stranger in strangers) >= 3 * MOST)
    for stranger in strangers:
        stranger.close()


def send(stranger: socket.socket, begun: bytes) -> None:
    try:
        stranger.sendall(begun)
    except ConnectionError:
        return


def is_closed(stranger: socket.socket) -> bool:
    """Whether the other side has ended it; what it sent before is passed over."""
    stranger.settimeout(0.2)
    try:
        while stranger.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize(
    "target",
    ["http://evil.example/x", "http://127.0.0.1/x", "evil.example:443", "*"],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT"])
def test_it_is_no_proxy(port: int, method: str, target: str) -> None:
    status = told(port, f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert status.split()[1] in (b"400", b"405")


JUNK = (
    b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\x1b[31mred: 1\r\n\r\n",
    b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03" + bytes(240),
    b"\r\n\r\nnonsense\r\n\r\n",
)
PROGRAM = """
import sys
from lib.http.listener import Listener
from lib.http.network import Network
from lib.processes.signals import Stop
from tests.http.test_listener import answer
with Network(Stop()) as network:
    listener = Listener(answer, 5)
    ((_, port),) = network.run(listener.start("127.0.0.1", 0))
    print(port, flush=True)
    sys.stdin.read()
    network.run(listener.close())
"""


def test_junk_is_refused_without_a_word_on_stderr() -> None:
    """In a process of its own, as pytest takes what libraries log for itself."""
    pipe = subprocess.PIPE
    program = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for junk in JUNK:
            assert told(port, junk).split()[1] == b"400"
        assert asked(port) == "GET /x"
        _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def test_the_end_does_not_wait_for_a_request_that_never_comes(network: Network) -> None:
    listener = Listener(answer, MOST)
    ((_, port),) = network.run(listener.start("127.0.0.1", 0))
    with connect(port) as silent, connect(port) as half:
        half.sendall(b"GET /x HTT")
        assert asked(port) == "GET /x"
        began = time.monotonic()
        network.run(listener.close())
        assert time.monotonic() - began < 50  # aiohttp's own patience is a minute
        wait_until(lambda: is_closed(silent))


def test_what_asyncio_cannot_tell_anybody_is_one_line(
    network: Network, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        def fault() -> None:
            raise OSError(24, "Too many\x1b[31m open files\n")

        asyncio.get_running_loop().call_soon(fault)

    network.run(fail())
    network.run(fail())
    (line, *_) = capfd.readouterr().err.splitlines()
    assert line.startswith("ocidriver: warning: network: ")
    assert "Too many" in line
    assert line.isprintable()

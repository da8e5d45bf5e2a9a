"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

BELOW_THE_KERNELS = range(20_000, 32_000)
"""The kernel gives none of these to a connection."""


@contextmanager
def refused_port() -> Iterator[str]:
    """`host:port` where nobody listens: bound, so that no other process gets it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*holder.getsockname())


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which this process listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def free_port() -> int:
    """A port for a server that starts later, or comes back; no connection takes it meanwhile."""
    while True:
        port = random.SystemRandom().choice(BELOW_THE_KERNELS)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port

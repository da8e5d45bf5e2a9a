"""What the controller needs of the hosts, whatever connects them. A fleet of doubles and the Dask fleet have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .protocol import Hello, Message, Order, Prepare


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that a host's process sent. `incarnation` tells one process of the host from another."""

    host: str
    incarnation: str
    message: Message


@dataclass(frozen=True, slots=True)
class Joined:
    """A host has joined, perhaps again."""

    host: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A host has left: its worker or its process ended, or its connection broke."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Severed:
    """All hosts are out of reach: the scheduler is gone, or another one answers."""

    reason: str


Happening = Heard | Joined | Gone | Severed


class Unreachable(Exception):
    """A host did not answer in time, or cannot be reached. Its text says why, for users."""


class Fleet(Protocol):
    """The hosts. Every method may be called from one thread only, the controller's."""

    def hosts(self) -> Sequence[str]:
        """Returns the names of the hosts that have joined, one for each machine, in the order in which they joined."""
        ...

    def left_out(self) -> Sequence[str]:
        """Returns what does not take part, each with the reason: a second worker on the same machine, for example."""
        ...

    def hello(self, host: str, seconds: float) -> Hello:
        """Asks a host what it is. Raises `Unreachable` after so many seconds."""
        ...

    def clock(self, host: str, seconds: float) -> float:
        """Returns the host's monotonic clock. Raises `Unreachable` after so many seconds."""
        ...

    def start(self, host: str, order: Prepare) -> str:
        """Starts the host's process with its first order, and returns its incarnation.

        Raises `Unreachable` if that is not possible, also if the host drives another run. A host starts at most one
        process for a run, whatever is called twice.
        """
        ...

    def tell(self, host: str, order: Order) -> None:
        """Sends an order to the host's process. It does not wait for the answer. A host that is gone ignores it."""
        ...

    def next(self, seconds: float) -> Happening | None:
        """Returns what happened next; None if nothing happened for so many seconds."""
        ...

    def fetch(self, host: str, what: str, offset: int) -> bytes:
        """Returns up to 1 MiB of `events` or `log` of the host's process from this byte on; empty at the end.

        Raises `Unreachable`.
        """
        ...

    def close(self) -> None:
        """Ends what the fleet itself started. A host process that still runs is stopped and removes what it wrote."""
        ...

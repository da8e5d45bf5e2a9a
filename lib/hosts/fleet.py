"""What the controller needs of the hosts, whatever connects them: who is there, requests, and what they report.

The controller reads everything from one queue. So it needs no lock, and a test can play the hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from .protocol import Answer, Request


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker that has joined: its `address`, which no other worker has, and its `name`, which is for people."""

    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the request with this `token`; None if there is none: `error` says why, in one line.

    `sent` and `received` are monotonic: just before the request was sent, and when the answer arrived.
    """

    token: int
    answer: Answer | None
    error: str
    sent: float
    received: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A line that the host process of the worker at `address` wrote for this run."""

    address: str
    incarnation: str
    line: str


@dataclass(frozen=True, slots=True)
class Left:
    """The worker at `address` is gone, with the reason in words."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class SchedulerLost:
    """The scheduler is gone, or another one answers. No host can be reached any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A signal has arrived. `count` is the number of signals so far."""

    count: int


Input = Joined | Answered | Heard | Left | SchedulerLost | StopAsked


class Fleet(Protocol):
    """The workers of one cluster. Every report goes into `inbox`."""

    inbox: SimpleQueue[Input]

    def workers(self) -> Sequence[Joined]:
        """Returns the workers that are there now."""
        ...

    def ask(self, address: str, request: Request, seconds: float) -> int:
        """Sends a request, and returns its token at once. Its `Answered` comes into `inbox` within `seconds`.

        An answer that takes longer is dropped, and `Answered` says so.
        """
        ...

    def hold(self, addresses: Sequence[str]) -> None:
        """Keeps these workers busy with a task that does nothing, so that the cluster does not look idle."""
        ...

    def close(self) -> None:
        """Lets the workers go, and disconnects."""
        ...

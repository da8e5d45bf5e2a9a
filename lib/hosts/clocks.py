"""Finds out by how much the monotonic clock of each host differs from the controller's.

Only a few hosts are asked at the same time: with all of them, the round trips would be long, and the result inexact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Final

from ..errors import RunError
from ..figures import three
from .fleet import Answered
from .hearing import ANSWER_SECONDS, Hearing
from .member import ClockReading, Member
from .protocol import ClockRead, ReadClock
from .refusals import grouped

# So often is each clock read; and so many hosts are asked at the same time.
PROBES: Final = 16
_AT_ONCE: Final = 8
# So many probes of one host may get no answer.
_FAILURES: Final = 2
# The clock of a host may be this uncertain, in seconds, with and without a warning.
_CAUTION_BOUND, _MOST_BOUND = 0.05, 0.5


@dataclass(slots=True)
class _Probing:
    """The probes of one host: how many are still to come, and how many had no answer."""

    member: Member
    left: int = PROBES
    failures: int = 0

    def take(self, answered: Answered) -> None:
        self.left -= 1
        if isinstance(answered.answer, ClockRead):
            self.member.clock.take(answered.sent, answered.received, answered.answer.monotonic)
            return
        self.failures += 1
        if self.failures >= _FAILURES:
            self.left = 0


def compare_clocks(hearing: Hearing, members: Sequence[Member], broken: Callable[[], bool]) -> None:
    """Reads the clocks anew. Ends early if `broken`. Raises `RunError` if one cannot be told well enough."""
    for member in members:
        member.clock = ClockReading()
    waiting, open_ = [_Probing(each) for each in members], list[_Probing]()

    def ask(probing: _Probing) -> None:
        def take(answered: Answered) -> None:
            probing.take(answered)
            if probing.left:
                ask(probing)
                return
            open_.remove(probing)
            begin_next()

        hearing.ask(probing.member.address, ReadClock(), ANSWER_SECONDS, take)

    def begin_next() -> None:
        if waiting:
            open_.append(waiting.pop(0))
            ask(open_[-1])

    for _ in range(_AT_ONCE):
        begin_next()
    hearing.wait(lambda: not open_ or broken())
    if not broken():
        _judge(hearing, members)


def _judge(hearing: Hearing, members: Sequence[Member]) -> None:
    wide = [(each.name, each.clock.bound) for each in members if each.clock.bound > _CAUTION_BOUND]
    refused = [(name, _uncertain(bound)) for name, bound in wide if bound > _MOST_BOUND]
    if refused:
        raise RunError(f"{grouped(refused)}; use a faster network between controller and hosts")
    for name, bound in wide:
        hearing.caution(f"host {name}: {_uncertain(bound)}, so its intervals may be off by as much")


def _uncertain(bound: float) -> str:
    if isinf(bound):
        return "its clock could not be read"
    return f"its clock is known only to ±{three(1000 * bound)} ms"

"""The trials of a capacity search on hosts: each is a load on all of them, which may end early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import UnsetType

from ..load.pulls import Pull, unpack
from ..pieces.wire import PieceLine
from .driving import Limits, Load
from .fleet import Answered
from .hearing import ANSWER_SECONDS, Hearing
from .member import Member
from .preparing import until_ready
from .protocol import Done, EndTrial, Pass, Trial

# The counts of a piece that all its pulls together have.
_COUNTED: Final = ("pulled", "failed", "interrupted")
_REPEAT: Final = "a search needs all of its hosts, so repeat it"


class TrialLoad(Load):
    """One trial. `observe` receives the pulls of each piece. `given_up` is why the trial ended early, or None.

    Its end is not the end of the search, unless a host is lost.
    """

    def __init__(
        self,
        hearing: Hearing,
        members: Sequence[Member],
        limits: Limits,
        number: int,
        observe: Callable[[Sequence[Pull]], None],
    ) -> None:
        super().__init__(hearing, members, limits)
        self.given_up: str | None = None
        self._number = number
        self._observe = observe

    def give_up(self, reason: str) -> None:
        """Ends the trial early on all hosts."""
        if self.given_up is None:
            self.given_up = reason
            for member in self._members:
                if member.is_loading:
                    self._hearing.order(member, Pass(run=self._hearing.run, order=EndTrial(self._number)))

    def _end_hopeless(self, reason: str) -> None:
        self.give_up(reason)

    def _advice(self, lost: int) -> str:
        return _REPEAT

    def _note_pulls(self, line: PieceLine) -> None:
        if isinstance(line.pulls, UnsetType):
            raise ValueError("a piece of a trial has no pulls")
        pulls = unpack(line.pulls)
        if len(pulls) != sum(line.counts.numbers.get(name, 0) for name in _COUNTED):
            raise ValueError("a piece of a trial counts more or fewer pulls than it has")
        self._observe(pulls)


def order_trial(hearing: Hearing, members: Sequence[Member], trial: Trial) -> None:
    """Has all hosts prepare a trial, and waits until they are ready. Raises `RunError` with all that is wrong."""
    for member in members:
        member.begin_again()
    waiting = {each.address: each for each in members}

    def take(member: Member) -> Callable[[Answered], None]:
        def note(answered: Answered) -> None:
            hearing.note_answer(member, answered)
            if isinstance(answered.answer, Done):
                waiting.pop(member.address, None)

        return note

    def settled() -> bool:
        return all(each.state == "ready" for each in members) or any(not each.is_alive for each in members)

    while waiting and not settled():
        for member in list(waiting.values()):
            hearing.ask(member.address, Pass(run=hearing.run, order=trial), ANSWER_SECONDS, take(member))
        hearing.wait(lambda: not waiting or settled(), hearing.now() + ANSWER_SECONDS)
    until_ready(hearing, members)

"""A load on several hosts while it goes on: what the views, the metrics and the log read of it.

Pieces of a host arrive some seconds after they ended. So a tally interval is closed when all hosts have delivered it,
or when those that have not have had enough time. A piece that comes after that counts in the totals at once, and in its
interval at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..latency import Latency
from ..load.closed import Sample
from ..load.latency import DECODED_COUNT_BYTES, Buckets, Latencies
from ..load.live_account import LiveAccount
from ..load.pace import Schedule
from ..load.piece import Piece, Place
from ..results.host_line import HostLine, HostState
from .fold import Ended
from .part import Part
from .whole import Whole

# The rate of a host now is that of its last pieces, which cover at least so many seconds if there are as many.
_NOW_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Delivered:
    """What a host has delivered without a gap: so many `samples` and `steps`; or everything, if its load is `over`.

    `recent` has (seconds, pulled) of its last pieces.
    """

    samples: int = 0
    steps: int = 0
    over: bool = False
    recent: deque[tuple[float, int]] = field(default_factory=deque)
    _next: int = 0
    _early: dict[int, Place] = field(default_factory=dict)

    def take(self, place: Place, piece: Piece) -> None:
        """Notes a piece. It may come before earlier ones."""
        self._note_rate(piece)
        self._early[place.number] = place
        while (following := self._early.pop(self._next, None)) is not None:
            self._next += 1
            if following.ends == "interval":
                self.samples = following.sample + 1
            elif following.ends == "step":
                self.steps = following.step + 1
            elif following.ends == "load":
                self.over = True

    def _note_rate(self, piece: Piece) -> None:
        self.recent.append((piece.end - piece.start, piece.counts.pulled))
        while sum(seconds for seconds, _ in self.recent) - self.recent[0][0] >= _NOW_SECONDS:
            self.recent.popleft()

    def rate(self) -> float:
        """Returns the successful pulls per second of its last pieces."""
        recent = list(self.recent)
        seconds = sum(each for each, _ in recent)
        return sum(pulled for _, pulled in recent) / seconds if seconds > 0 else 0.0


class _Closing:
    """The tally intervals, or the steps, that a host has ended and that are not closed.

    `next` is the number that follows the last closed one.
    """

    def __init__(self) -> None:
        self.next = 0
        self._ends: dict[int, float] = {}

    def note(self, number: int, end: float) -> None:
        """Notes that a host has ended this one at this second."""
        if number >= self.next:
            self._ends[number] = max(end, self._ends.get(number, 0.0))

    def due(self, is_late: Callable[[float], bool], is_delivered: Callable[[int], bool]) -> Iterator[int]:
        """Yields those to close now, in order.

        One that no host has ended yet holds up those that follow it, until they are late.
        """
        while self._ends:
            number = min(self._ends)
            if not is_late(self._ends[number]) and not (number == self.next and is_delivered(number)):
                return
            del self._ends[number]
            self.next = number + 1
            yield number


class Gathered(LiveAccount):
    """The account of a load that several hosts carry out, as far as their pieces have arrived.

    `schedule` is that of the whole load, if it has one. `on_sample` is called with each Sample when its interval is
    closed. Hosts have `patience` seconds to deliver their pieces of an interval. One thread calls `take`, `close` and
    `finish`; any thread may read.
    """

    def __init__(
        self, whole: Whole, *, schedule: Schedule | None, on_sample: Callable[[Sample], None], patience: float
    ) -> None:
        self._whole = whole
        self._fold = whole.fold
        account = self._fold.account
        super().__init__(
            retries_known=account.retries_known, totals=account.totals, image_sets=0, schedule=schedule
        )
        self.sized = account.sized
        self.first, self.repeat = account.first, account.repeat
        # readers may hold the one while the other is filled
        self.latencies, self._spare = (Latencies(count_bytes=DECODED_COUNT_BYTES) for _ in range(2))
        self._on_sample = on_sample
        self._patience = patience
        self._delivered: dict[Part, _Delivered] = {}
        self._samples, self._steps = _Closing(), _Closing()
        self._counted_until = 0.0

    def take(self, part: Part, ended: Ended) -> None:
        """Adds a piece of a part. It may be called once for each piece, in any order."""
        place, piece = ended.place, ended.piece
        self._whole.add(part, ended)
        if ended.interval is not None:
            self.elsewhere_cpu_seconds += ended.interval.driver_cpu_seconds
        self._counted_until = max(self._counted_until, piece.end)
        self._of(part).take(place, piece)
        if place.ends == "interval":
            self._samples.note(place.sample, piece.end)
        elif place.ends == "step":
            self._steps.note(place.step, piece.end)

    def close(self, second: float, expected: Collection[Part]) -> None:
        """Closes the tally intervals and steps that are complete, or late, at this second of the load.

        One is complete when all `expected` parts have delivered it: those of the hosts that are not lost.
        """

        def is_late(end: float) -> bool:
            return second > end + self._patience

        self.sized = self._fold.account.sized
        for number in self._steps.due(
            is_late, lambda number: self._all(expected, lambda d: d.steps > number)
        ):
            self.steps.append(self._fold.step(number))
        for number in self._samples.due(
            is_late, lambda number: self._all(expected, lambda d: d.samples > number)
        ):
            sample = self._fold.sample(number)
            self._sum_latencies()
            self.samples.append(sample)
            self._on_sample(sample)

    def finish(self) -> None:
        """Closes all that is left, when no piece can come any more. Closed intervals and steps get what came later."""
        unseen = self._samples.next
        account = self._fold.finish()
        self._sum_latencies()
        self.sized, self.drain = account.sized, account.drain
        self.samples, self.steps = account.samples, account.steps
        for sample in self._fold.samples_from(unseen):
            self._on_sample(sample)

    def line(self, part: Part, state: HostState, last_piece: float | None) -> HostLine:
        """Returns what is known of the host of a part. Its last piece arrived at `last_piece` (monotonic)."""
        account = part.fold.account
        return HostLine(
            name=part.header.host,
            state=state,
            client=part.header.client,
            workers=len(part.header.image_sets),
            pulled=account.pulled,
            failed=account.failed,
            interrupted=account.interrupted,
            rate=self._of(part).rate() if state == "running" else 0.0,
            last_piece=last_piece,
        )

    def open_latency(self, least: int) -> Latency | None:
        """Returns the latency of the open interval; None if it has fewer than `least` pulls, or fewer than two."""
        return self._fold.latency_in(self._samples.next, max(least, 2))

    def buckets(self) -> tuple[Buckets, Buckets]:
        """Returns the latencies of first and of repeat pulls so far, with bounds that are accurate to 0.1 %."""
        return self.first.buckets(), self.repeat.buckets()

    def unstarted(self, second: float) -> int | None:
        """Returns None: hosts report pulls when they have ended, so those that run now are not known."""
        return None

    def rate_until(self, second: float) -> float:
        """Returns the successful pulls per second of the load up to this second, or to the end of the last piece."""
        until = min(second, self._counted_until)
        return self.pulled / until if until > 0 else 0.0

    def _of(self, part: Part) -> _Delivered:
        return self._delivered.setdefault(part, _Delivered())

    def _all(self, expected: Collection[Part], has: Callable[[_Delivered], bool]) -> bool:
        return all(found.over or has(found) for found in map(self._of, expected))

    def _sum_latencies(self) -> None:
        """Makes the latencies of all pulls so far."""
        together = self._spare
        together.clear()
        together.merge(self.first)
        together.merge(self.repeat)
        self.latencies, self._spare = together, self.latencies

"""Collects the events of the hosts when the load is over: two hosts at a time, merged by time."""

from __future__ import annotations

import base64
import heapq
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Final

import msgspec

from ..clean import clean
from ..errors import RunError
from ..figures import data as size_in_words
from ..results.event_line import EventLine, read_event, write_event
from ..user_files import named as cause
from .fleet import Answered
from .hearing import Hearing
from .member import Member
from .protocol import Chunk, Fetch, Keep, Kept
from .refusals import hosts

# So many hosts send their events at the same time.
_AT_ONCE: Final = 2
# With more bytes than this in all, the events stay on the hosts.
MOST_BYTES: Final = 2 << 30
# Time for one chunk, in seconds; and how often it is tried.
_CHUNK_SECONDS, _TRIES = 20.0, 2
# Time for a host to copy its events to a lasting place, in seconds. They may have many gigabytes.
_KEEP_SECONDS: Final = 1800.0
# The most that a chunk may have when it is decompressed, in bytes.
_LONGEST_CHUNK: Final = 4 << 20
_LONGEST_LINE: Final = 1 << 20
# Between two looks at the hosts, so many events are written.
_LINES_PER_LOOK: Final = 1000


@dataclass(slots=True)
class _Download:
    """The events of one host. `size` is the size of its file in bytes, or None before its first chunk.

    `invalid` counts the lines that are no events.
    """

    member: Member
    file: IO[bytes]
    offset: int = 0
    size: int | None = None
    failures: int = 0
    failed: bool = False
    invalid: int = 0

    @property
    def is_whole(self) -> bool:
        return self.offset == self.size

    @property
    def is_known(self) -> bool:
        return self.failed or self.size is not None

    @property
    def is_done(self) -> bool:
        return self.failed or self.is_whole

    def take(self, answered: Answered) -> None:
        """Takes an answer to a request for the next chunk."""
        if not self._takes(answered):
            self.failures += 1
            self.failed = self.failures >= _TRIES

    def _takes(self, answered: Answered) -> bool:
        chunk = answered.answer
        if not isinstance(chunk, Chunk) or (self.size is not None and chunk.size != self.size):
            return False
        try:
            found = zlib.decompressobj().decompress(
                base64.b64decode(chunk.data, validate=True), _LONGEST_CHUNK
            )
        except (ValueError, zlib.error):
            return False
        whole = self.offset + len(found)
        if chunk.next != whole or whole > chunk.size or (not found and whole < chunk.size):
            return False
        self.file.write(found)
        self.offset, self.size, self.failures = whole, chunk.size, 0
        return True


class Collection:
    """The events of the hosts that have ended. `missing` are the hosts whose events are not there, when it is over."""

    def __init__(self, hearing: Hearing, members: Sequence[Member]) -> None:
        self.missing = [each.name for each in members if each.state != "ended"]
        self._hearing = hearing
        self._wanted = [each for each in members if each.state == "ended"]
        self._signals = hearing.signals

    def write(self, write: Callable[[str], None], most_bytes: int = MOST_BYTES) -> None:
        """Fetches the events and writes their lines, merged by time, each with the name of its host.

        A further signal ends it early; the events of hosts that are not fetched whole are then missing. If all have
        more than `most_bytes`, they stay on the hosts, and a warning says where. Raises `RunError` if this machine has
        no room for them.
        """
        try:
            with ExitStack() as files:
                self._write([_Download(each, files.enter_context(TemporaryFile())) for each in self._wanted],
                            write, most_bytes)  # fmt: skip
        except OSError as error:
            raise RunError(
                f"cannot collect the events of the hosts: {cause(error)}; make room in TMPDIR"
            ) from None

    def _write(self, downloads: Sequence[_Download], write: Callable[[str], None], most_bytes: int) -> None:
        self._fetch(downloads, lambda each: each.is_known)
        if sum(each.size or 0 for each in downloads) > most_bytes:
            self._keep(downloads)
            return
        self._fetch(downloads, lambda each: each.is_done)
        self.missing += [each.member.name for each in downloads if not each.is_whole]
        if self.missing:
            self._hearing.caution(f"the events of {hosts(self.missing)} are missing")
        whole = [each for each in downloads if each.is_whole]
        for number, line in enumerate(_merged(whole)):
            if number % _LINES_PER_LOOK == 0:
                self._hearing.attend()
                if self._has_signal():
                    self._hearing.caution(
                        "the events file is not complete, because a signal ended its writing"
                    )
                    break
            write(write_event(line))
        for each in whole:
            if each.invalid:
                self._hearing.caution(
                    f"host {each.member.name}: {each.invalid:,} lines of its events are not valid"
                )

    def _fetch(self, downloads: Sequence[_Download], done: Callable[[_Download], bool]) -> None:
        """Fetches chunks until all downloads are done."""
        waiting = [each for each in downloads if not done(each)]
        running: list[_Download] = []

        def turn() -> bool:
            running[:] = [each for each in running if not done(each)]
            while waiting and len(running) < _AT_ONCE:
                running.append(waiting.pop(0))
                self._ask(running[-1], done)
            return not running or self._is_given_up()

        self._hearing.wait(turn, heed=False)

    def _has_signal(self) -> bool:
        return self._hearing.signals > self._signals

    def _is_given_up(self) -> bool:
        return self._has_signal() or self._hearing.scheduler_lost is not None

    def _ask(self, download: _Download, done: Callable[[_Download], bool]) -> None:
        def take(answered: Answered) -> None:
            if self._is_given_up():
                return
            download.take(answered)
            if not done(download):
                self._ask(download, done)

        request = Fetch(run=self._hearing.run, what="events", offset=download.offset)
        self._hearing.ask(download.member.address, request, _CHUNK_SECONDS, take)

    def _keep(self, downloads: Sequence[_Download]) -> None:
        size = sum(each.size or 0 for each in downloads)
        kept: dict[str, str | None] = {}

        def noting(member: Member) -> Callable[[Answered], None]:
            def note(answered: Answered) -> None:
                kept[member.name] = answered.answer.path if isinstance(answered.answer, Kept) else None

            return note

        members = [each.member for each in downloads]
        for each in members:
            self._hearing.ask(each.address, Keep(run=self._hearing.run), _KEEP_SECONDS, noting(each))

        def answered() -> bool:
            return all(each.name in kept or each.gone for each in members) or self._is_given_up()

        self._hearing.wait(answered, heed=False)
        for name, path in kept.items():
            if path is not None:
                self._hearing.log(f"host {name}: its events are in {clean(path)}")
        self._hearing.caution(
            f"the events have {size_in_words(size)}, so they stay on the hosts; the log names their files"
        )
        lacking = [*self.missing, *(each.name for each in members if kept.get(each.name) is None)]
        self.missing += [each.name for each in members]
        if lacking:
            self._hearing.caution(f"the events of {hosts(lacking)} are missing")


def _merged(downloads: Sequence[_Download]) -> Iterator[EventLine]:
    """Yields the events of all hosts, by time. Each host's are in the order of its file."""
    for _, line in heapq.merge(*map(_lines, downloads), key=lambda each: each[0]):
        yield line


def _lines(download: _Download) -> Iterator[tuple[float, EventLine]]:
    """Yields the events of a host, each with its time in seconds after 1970."""
    download.file.seek(0)
    while text := download.file.readline(_LONGEST_LINE):
        try:
            line = read_event(text)
            at = line.moment.timestamp()
        except (ValueError, OverflowError, OSError):
            download.invalid += 1
            continue
        yield at, msgspec.structs.replace(line, host=download.member.name)

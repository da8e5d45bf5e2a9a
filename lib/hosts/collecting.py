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

from ..counted import counted
from ..results.event_line import EventLine, read_event, write_event
from .fleet import Answered
from .hearing import Hearing
from .member import Member
from .protocol import Chunk, Fetch, Keep, Kept
from .refusals import named

# So many hosts send their events at the same time.
_AT_ONCE: Final = 2
# With more bytes than this in all, the events stay on the hosts.
MOST_BYTES: Final = 2 << 30
# Time for one chunk, in seconds; and how often it is tried.
_CHUNK_SECONDS, _TRIES = 20.0, 2
# The most that a chunk may have when it is decompressed, in bytes.
_LONGEST_CHUNK: Final = 4 << 20
_LONGEST_LINE: Final = 1 << 20


@dataclass(slots=True)
class _Download:
    """The events of one host. `size` is the size of its file in bytes, or None before its first chunk."""

    member: Member
    file: IO[bytes]
    offset: int = 0
    size: int | None = None
    failures: int = 0
    failed: bool = False

    @property
    def is_done(self) -> bool:
        return self.failed or self.offset == self.size


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
        more than `most_bytes`, they stay on the hosts, and a warning says where.
        """
        with ExitStack() as files:
            downloads = [_Download(each, files.enter_context(TemporaryFile())) for each in self._wanted]
            self._fetch(downloads, lambda each: each.failed or each.size is not None)
            if sum(each.size or 0 for each in downloads) > most_bytes:
                self._keep(downloads)
                return
            self._fetch(downloads, lambda each: each.is_done)
            self.missing += [each.member.name for each in downloads if each.offset != each.size]
            for line in _merged([each for each in downloads if each.offset == each.size]):
                write(write_event(line))
        if self.missing:
            self._hearing.caution(f"events of {_hosts(self.missing)} are missing")

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

    def _is_given_up(self) -> bool:
        return self._hearing.signals > self._signals or self._hearing.scheduler_lost is not None

    def _ask(self, download: _Download, done: Callable[[_Download], bool]) -> None:
        def take(answered: Answered) -> None:
            if not self._take(download, answered):
                download.failures += 1
                download.failed = download.failures >= _TRIES
            if not done(download) and not self._is_given_up():
                self._ask(download, done)

        request = Fetch(run=self._hearing.run, what="events", offset=download.offset)
        self._hearing.ask(download.member.address, request, _CHUNK_SECONDS, take)

    @staticmethod
    def _take(download: _Download, answered: Answered) -> bool:
        """Takes a chunk. Returns whether it is one."""
        chunk = answered.answer
        if not isinstance(chunk, Chunk):
            return False
        try:
            unzip = zlib.decompressobj()
            data = unzip.decompress(base64.b64decode(chunk.data, validate=True), _LONGEST_CHUNK)
        except (ValueError, zlib.error):
            return False
        if (
            chunk.next != download.offset + len(data)
            or chunk.next > chunk.size
            or (not data and chunk.size > chunk.next)
        ):
            return False
        download.file.write(data)
        download.offset, download.size, download.failures = chunk.next, chunk.size, 0
        return True

    def _keep(self, downloads: Sequence[_Download]) -> None:
        answers = self._hearing.ask_each(
            [each.member for each in downloads],
            lambda _: Keep(run=self._hearing.run),
            _CHUNK_SECONDS,
            heed=False,
        )
        kept, lost = [], []
        for each in downloads:
            answer = answers.get(each.member.address)
            found = answer.answer if answer is not None else None
            if isinstance(found, Kept):
                kept.append(f"{each.member.name}: {found.path}")
            else:
                lost.append(each.member.name)
        size = sum(each.size or 0 for each in downloads)
        self.missing += [each.member.name for each in downloads]
        self._hearing.caution(
            f"the events have {size / 1e9:.1f} GB, so they stay on the hosts: {', '.join(kept)}"
            + (f"; events of {_hosts(lost)} are missing" if lost else "")
        )


def _hosts(names: list[str]) -> str:
    return f"host {names[0]}" if len(names) == 1 else f"{counted(len(names), 'host')} ({named(names)})"


def _merged(downloads: Sequence[_Download]) -> Iterator[EventLine]:
    """Yields the events of all hosts, by time. Each host's are in the order of its file."""
    return heapq.merge(*map(_lines, downloads), key=lambda line: line.moment)


def _lines(download: _Download) -> Iterator[EventLine]:
    download.file.seek(0)
    while text := download.file.readline(_LONGEST_LINE):
        try:
            line = msgspec.structs.replace(read_event(text), host=download.member.name)
            line.moment  # noqa: B018 - it raises if the time is not valid
        except ValueError:
            continue
        yield line

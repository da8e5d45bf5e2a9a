"""Reads a pieces file: the record of one host's load."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..clean import clean
from ..errors import UsageError
from ..load.counts import Counts
from ..load.piece import Place
from ..load.share import WHOLE, Share, parse_share
from ..user_files import MIB, open_bounded, reason, short_lines
from .bounds import check_end, check_header, check_piece
from .fold import Ended
from .wire import FORMAT, End, Header, PieceLine, counts_of, decoded, piece_of

# A day of intervals of one second, with many steps, has fewer bytes.
_LONGEST_FILE: Final = 1024 * MIB
# A line with every bin of every histogram has fewer characters.
_LONGEST_LINE: Final = 16 * MIB
_HINT: Final = "give files that --pieces-file wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a host recorded of its share of a load. `end` is None if its record breaks off. `name` names the record.

    `lines` are its pieces, each once. As text, they take a hundredth of the memory.
    """

    name: str
    header: Header
    share: Share
    lines: tuple[str, ...]
    end: End | None

    def pieces(self) -> Iterator[Ended]:
        """Yields the pieces, each made when it is read."""
        for text in self.lines:
            line = decoded(text)
            assert isinstance(line, PieceLine)
            yield _ended_of(line)


class _Version(msgspec.Struct, frozen=True):
    """The part of a header that every version of the format has."""

    format: int


class Reader:
    """Reads the lines of one record, in order, and checks that they fit each other. `hint` says what to do if not."""

    def __init__(self, name: str, hint: str = _HINT) -> None:
        self.name = name
        self._hint = hint
        self.header: Header | None = None
        self.end: End | None = None
        self._share = WHOLE
        self._lines = 0
        self._seen: set[int] = set()

    @property
    def share(self) -> Share:
        """The share of the load that the record is of."""
        return self._share

    def take(self, text: str | bytes) -> Header | Ended | End | None:
        """Returns what the next line says; None if it is a piece that was there before.

        Raises `UsageError`, one line that names the record, if it is not valid.
        """
        self._lines += 1
        if self._lines == 1:
            _check_version(self.name, text)
        try:
            line = decoded(text)
        except ValueError as error:
            raise self._not_valid(error) from None
        return self._checked(line)

    def accept(self, line: Header | PieceLine | End) -> Header | Ended | End | None:
        """Does the same as `take` with a line that is decoded already."""
        self._lines += 1
        return self._checked(line)

    def _checked(self, line: Header | PieceLine | End) -> Header | Ended | End | None:
        try:
            if isinstance(line, Header) != (self._lines == 1) or self.end is not None:
                raise ValueError("it is in the wrong place")
            if isinstance(line, PieceLine):
                check_piece(line)
                return self._piece(line)
            if isinstance(line, Header):
                check_header(line)
                self._begin(line)
            else:
                check_end(line)
                self._check_lengths(line.passes, line.image_sets)
                self.end = line
        except ValueError as error:
            raise self._not_valid(error) from None
        return line

    def _not_valid(self, error: ValueError) -> UsageError:
        return UsageError(
            f"{self.name}: line {self._lines} is not valid: {clean(str(error), 200)}; {self._hint}"
        )

    def _piece(self, line: PieceLine) -> Ended | None:
        ended = _ended_of(line)
        self._check_piece(ended)
        if line.number in self._seen:
            return None
        self._seen.add(line.number)
        return ended

    def _begin(self, header: Header) -> None:
        try:
            self._share = parse_share("share", header.share)
        except UsageError as error:
            raise ValueError(str(error)) from None
        self.header = header
        self._check_lengths(header.image_sets)
        self._check_workers(counts_of(header.before))

    def _check_lengths(self, *of_workers: Sequence[object]) -> None:
        """Raises `ValueError` unless each has an entry for each worker of the share."""
        assert self.header is not None
        own = self._share.count(self.header.workers)
        if any(len(each) != own for each in of_workers):
            raise ValueError(
                f"share {self._share} of {self.header.workers} workers has {own}, and the file has another number"
            )

    def _check_workers(self, counts: Counts) -> None:
        assert self.header is not None
        own = self._share.count(self.header.workers)
        if any(not 0 <= index < own for index in counts.workers):
            raise ValueError(f"it counts a worker that share {self._share} does not have")

    def _check_piece(self, ended: Ended) -> None:
        assert self.header is not None
        piece = ended.piece
        self._check_workers(piece.counts)
        # what ends after the last step lies in none of them
        if any(not 0 <= step <= len(self.header.steps) for step in (ended.place.step, *piece.shares)):
            raise ValueError("a piece lies in a step that the load does not have")
        if ended.place.ends == "step" and ended.place.step == len(self.header.steps):
            raise ValueError("a step ends that the load does not have")
        if ended.place.sample > ended.place.number:
            raise ValueError("a piece lies in a tally interval that the load does not have")
        if piece.end < piece.start:
            raise ValueError("a piece ends before it starts")


def read_record(path: Path) -> Record:
    """Reads a pieces file. Raises `UsageError`, one line that names the file, if it is not valid.

    A last line that was not written to its end is left out, as a host that is killed may leave one.
    """
    try:
        with open_bounded(path, _LONGEST_FILE) as binary, io.TextIOWrapper(binary, "utf-8") as file:
            return record_of(str(path), short_lines(file, _LONGEST_LINE))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {reason(error)}; {_HINT}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a pieces file; {_HINT}") from None


def record_of(name: str, lines: Iterable[str]) -> Record:
    """Returns the record that these lines, each with its line break, make. Raises `UsageError` if they make none."""
    reader = Reader(name)
    pieces: list[str] = []
    for text in lines:
        if not text.endswith("\n"):
            break
        if isinstance(reader.take(text), Ended):
            pieces.append(text)
    if reader.header is None:
        raise UsageError(
            f"{name} has no pieces, because its run did not begin a load; the log of that run says why"
        )
    return Record(name=name, header=reader.header, share=reader.share, lines=tuple(pieces), end=reader.end)


def _check_version(name: str, text: str | bytes) -> None:
    try:
        found = msgspec.json.decode(text, type=_Version).format
    except ValueError:
        raise UsageError(f"{name} is not a pieces file; {_HINT}") from None
    if found != FORMAT:
        raise UsageError(
            f"{name} has format {found}, but this ocidriver reads format {FORMAT}; merge it with the ocidriver that "
            "wrote it"
        )


def _ended_of(line: PieceLine) -> Ended:
    """Returns the piece of a line, and where it lies. Raises `ValueError` if it is not valid."""
    return Ended(piece_of(line), Place(line.number, line.sample, line.step, line.ends), line.interval)

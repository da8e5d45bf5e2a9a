"""Reads a pieces file: the record of one host's load."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ..clean import clean
from ..errors import UsageError
from ..load.counts import Counts
from ..load.piece import Place
from ..load.share import Share, parse_share
from ..user_files import MIB, open_bounded, reason, short_lines
from .fold import Ended
from .wire import FORMAT, End, Header, PieceLine, counts_of, decoded, piece_of

# A day of intervals of one second, with many steps, has fewer bytes.
_LONGEST_FILE: Final = 1024 * MIB
# A line with every bin of every histogram has fewer characters.
_LONGEST_LINE: Final = 16 * MIB
_HINT: Final = "give files that --pieces-file wrote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a host recorded of its share of a load. `end` is None if its record breaks off. `name` names the record."""

    name: str
    header: Header
    share: Share
    before: Counts
    pieces: tuple[Ended, ...]
    end: End | None

    @property
    def counted_until(self) -> float:
        """The second of the load until which the host's pulls are counted."""
        return max((each.piece.end for each in self.pieces), default=0.0)


class _Version(msgspec.Struct, frozen=True):
    """The part of a header that every version of the format has."""

    format: int


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
    header: Header | None = None
    end: End | None = None
    pieces: list[Ended] = []
    for number, text in enumerate(lines, start=1):
        if not text.endswith("\n"):
            break
        if number == 1:
            _check_version(name, text)
        try:
            line = decoded(text)
            _check_place(number, line, end)
            if isinstance(line, PieceLine):
                pieces.append(_ended(line))
            elif isinstance(line, Header):
                header = line
            else:
                end = line
        except ValueError as error:
            raise UsageError(
                f"{name}: line {number} is not valid: {clean(str(error), 200)}; {_HINT}"
            ) from None
    if header is None:
        raise UsageError(
            f"{name} has no pieces, because its run did not begin a load; the log of that run says why"
        )
    try:
        return _record(name, header, pieces, end)
    except ValueError as error:
        raise UsageError(f"{name} is not valid: {clean(str(error), 200)}; {_HINT}") from None


def _check_version(name: str, text: str) -> None:
    try:
        found = msgspec.json.decode(text, type=_Version).format
    except ValueError:
        raise UsageError(f"{name} is not a pieces file; {_HINT}") from None
    if found != FORMAT:
        raise UsageError(
            f"{name} has format {found}, but this ocidriver reads format {FORMAT}; merge it with the ocidriver that "
            "wrote it"
        )


def _check_place(number: int, line: Header | PieceLine | End, end: End | None) -> None:
    """Raises `ValueError` unless the header comes first, and nothing after the end."""
    if isinstance(line, Header) != (number == 1) or end is not None:
        raise ValueError("it is in the wrong place")


def _ended(line: PieceLine) -> Ended:
    return Ended(piece_of(line), Place(line.number, line.sample, line.step, line.ends), line.interval)


def _record(name: str, header: Header, pieces: list[Ended], end: End | None) -> Record:
    """Returns the record. Raises `ValueError` if its lines do not fit each other."""
    try:
        share = parse_share("share", header.share)
    except UsageError as error:
        raise ValueError(str(error)) from None
    own, steps = share.count(header.workers), len(header.steps)
    lengths = [len(header.image_sets), *([len(end.passes), len(end.image_sets)] if end is not None else [])]
    if any(length != own for length in lengths):
        raise ValueError(
            f"share {share} of {header.workers} workers has {own}, and the file has another number"
        )
    before = counts_of(header.before)
    for counts in (before, *(each.piece.counts for each in pieces)):
        if any(not 0 <= index < own for index in counts.workers):
            raise ValueError(f"it counts a worker that share {share} does not have")
    for each in pieces:
        # what ends after the last step lies in none of them
        if any(not 0 <= step <= steps for step in (each.place.step, *each.piece.shares)):
            raise ValueError("a piece lies in a step that the load does not have")
        if each.piece.end < each.piece.start:
            raise ValueError("a piece ends before it starts")
    return Record(name=name, header=header, share=share, before=before, pieces=tuple(pieces), end=end)

"""Adds the records of several hosts up to one summary, as if one host had carried out the whole load."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RunError
from ..options.thresholds import Threshold
from ..results.summary import Summary
from .file import Record
from .whole import Whole


def merge(records: Sequence[Record], thresholds: Sequence[Threshold], *, lost_hosts: int = 0) -> Summary:
    """Returns the summary of the whole load.

    Raises `UsageError` if the records are not of one load, or if a share is there twice. Raises `RunError` if more
    than `lost_hosts` shares are missing or break off, or if the counts of a record are incomplete.
    """
    whole = Whole(records[0].header)
    parts = [whole.begin(record.name, record.header, record.share) for record in records]
    _check_shares(records, lost_hosts)
    for part, record in zip(parts, records, strict=True):
        for ended in record.pieces():
            whole.add(part, ended)
        part.end = record.end
        part.check()
    return whole.summary(whole.facts(thresholds))


def lacking(records: Sequence[Record]) -> Sequence[str]:
    """Returns what is lacking of the load: each share that is missing, and each record that breaks off."""
    of, found = records[0].share.of, {record.share.number for record in records}
    missing = [f"share {number}/{of} is missing" for number in range(1, of + 1) if number not in found]
    return [*missing, *(f"{record.name} breaks off" for record in records if record.end is None)]


def _check_shares(records: Sequence[Record], lost_hosts: int) -> None:
    lost = lacking(records)
    if len(lost) > lost_hosts:
        raise RunError(
            f"the load is not complete: {', '.join(lost)}; give the whole files of all shares, or accept the loss with "
            f"--lost-hosts {len(lost)}"
        )

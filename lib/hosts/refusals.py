"""Words what is wrong with hosts: equal reasons together, so that twenty hosts without crane are one line."""

from __future__ import annotations

from collections.abc import Iterable

from ..counted import counted

# A message names at most this many hosts of one reason, and gives at most this many reasons.
_NAMED, _REASONS = 5, 8


def grouped(reasons: Iterable[tuple[str, str]]) -> str:
    """Returns (host, reason) pairs in words, the most frequent reason first."""
    by_reason: dict[str, list[str]] = {}
    for host, reason in reasons:
        by_reason.setdefault(reason, []).append(host)
    parts = [
        f"{hosts(names)}: {reason}"
        for reason, names in sorted(by_reason.items(), key=lambda each: -len(each[1]))
    ]
    more = len(parts) - _REASONS
    return "; ".join([*parts[:_REASONS], *([f"and {counted(more, 'other reason')}"] if more > 0 else [])])


def named(names: list[str]) -> str:
    """Returns the names of hosts as a list in words, the first ones only if there are many."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {counted(len(names) - _NAMED, 'other')}"


def hosts(names: list[str]) -> str:
    """Returns hosts in words: the name of one, or how many there are and the first names."""
    return f"host {names[0]}" if len(names) == 1 else f"{counted(len(names), 'host')} ({named(names)})"

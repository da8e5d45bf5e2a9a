"""Words a number of things: `1 worker`, `2,000 workers`."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns the number and the noun in its singular or plural. Without `plural`, the plural is `noun` with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"

"""The HTML page of a capacity search: the offered rate against latency and errors, with the bracket."""

from __future__ import annotations

from pathlib import Path

from .result import Capacity


def write_page(path: Path, found: Capacity) -> None:
    raise NotImplementedError

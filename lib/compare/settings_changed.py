"""Finds the settings in which two runs differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..options.settings import OF_NO_WEIGHT
from .recorded_run import Recorded


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that differs. `option` is its name on the command line, or `client` or `images`."""

    option: str
    a: Any
    b: Any


def differences(a: Recorded, b: Recorded) -> tuple[Difference, ...]:
    """Returns the settings that differ, and the client and number of images if they differ.

    The value of an option is None for an ocidriver that did not have it.
    """
    one, other = a.summary.settings, b.summary.settings
    found = [
        Difference(f"--{name.replace('_', '-')}", one.get(name), other.get(name))
        for name in {**one, **other}
        if name not in OF_NO_WEIGHT and one.get(name) != other.get(name)
    ]
    pairs = [
        ("client", _client(a), _client(b)),
        ("images", a.summary.images, b.summary.images),
    ]
    return (*found, *(Difference(name, x, y) for name, x, y in pairs if x != y))


def _client(run: Recorded) -> str | None:
    return str(run.summary.client) if run.summary.client else None

"""Where two runs were not set up alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .recorded_run import Recorded

# They say where results go and how they are judged, not what load is made.
_OF_NO_WEIGHT = frozenset(
    (
        "metrics_file",
        "log_file",
        "summary_file",
        "events_file",
        "report_file",
        "metrics_format",
        "metrics_listen",
        "progress",
        "annotations",
        "threshold",
        "start_at",
        "grace",
        "keep_going",
    )
)


@dataclass(frozen=True, slots=True)
class Difference:
    """`option` is named as on the command line, or says what else differs."""

    option: str
    a: Any
    b: Any


def differences(a: Recorded, b: Recorded) -> tuple[Difference, ...]:
    """Settings, client and images that differ; an option that one ocidriver did not have is None there."""
    one, other = a.summary.settings, b.summary.settings
    found = [
        Difference(f"--{name.replace('_', '-')}", one.get(name), other.get(name))
        for name in {**one, **other}
        if name not in _OF_NO_WEIGHT and one.get(name) != other.get(name)
    ]
    pairs = [
        ("client", _client(a), _client(b)),
        ("images", a.summary.images, b.summary.images),
    ]
    return (*found, *(Difference(name, x, y) for name, x, y in pairs if x != y))


def _client(run: Recorded) -> str | None:
    return str(run.summary.client) if run.summary.client else None

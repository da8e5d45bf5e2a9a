"""What a summary says of a load besides what the load's account says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ..options.thresholds import Threshold
from .summary import ClientInfo, Herds, KnownLimit, WarmUpCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts about a load, of one host or of several.

    `settings` are the options by name, without secrets. `load` is the load in words. `image_sets` are (pattern, number
    of images), one for each worker; `passes` are those that each worker finished. `unstarted` pulls of a schedule were
    due and never started. `working` is (pulling, running): the seconds that all workers ran without pruning, and in
    all; None if no worker prunes. `wall` turns seconds since the load began into wall-clock time. The others are as in
    the summary. So many `hosts` were to carry it out.
    """

    started: datetime
    elapsed: float
    interrupted: bool
    reason: str | None
    command: tuple[str, ...]
    settings: Mapping[str, Any]
    thresholds: Sequence[Threshold]
    load: str
    client: ClientInfo | None
    listed: int
    foreign: int
    images: int
    image_sets: Sequence[tuple[str, int]]
    passes: Sequence[int]
    unstarted: int
    working: tuple[float, float] | None
    sized_images: int | None
    first_pulls: Literal["cold", "warm", "unknown"]
    warm_up: WarmUpCounts | None
    herds: Herds | None
    driver_cpu_seconds: float
    machine: KnownLimit | None
    wall: Callable[[float], datetime]
    hosts: int = 1

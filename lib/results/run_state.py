"""The state of a run so far. The driver writes it; the outputs read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..clients.client import Client
from ..images import ImageSet
from ..listing.selection import Selection
from ..load.driver import Driver
from ..load.tally import Tally
from ..load.worker import Worker
from ..options.settings import Settings


@dataclass(slots=True)
class Run:
    """The state of a run so far. `begin` is the monotonic time at which the ramp began, or None before it."""

    settings: Settings
    started: datetime
    tally: Tally
    client: Client | None = None
    listed: int = 0
    foreign: int = 0
    image_sets: tuple[ImageSet, ...] = ()
    workers: tuple[Worker, ...] = ()
    driver: Driver | None = None
    begin: float | None = None
    elapsed: float = 0.0
    interrupted: bool = False
    reason: str | None = None
    command: tuple[str, ...] = ()
    driver_cpu_seconds: float = 0.0
    unstarted: int = 0

    def select(self, selection: Selection) -> None:
        """Records what the workers will pull."""
        self.listed, self.foreign = selection.listed, selection.foreign
        self.image_sets = selection.image_sets

    @property
    def rate(self) -> float:
        """Successful pulls per second over the whole ramp."""
        return self.tally.pulled / self.elapsed if self.elapsed > 0 else 0.0

"""What `ocidriver calibrate` found, kept in the user's cache folder: one file per machine and client.

A home folder can be shared by several machines, so the name of the file holds that of the machine. A result counts only
for the version of the client and the number of cores with which it was measured.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from .choices import MOST_IN_A_BATCH
from .processes.cpu import cores
from .units import Count, Rate
from .user_files import read_whole

_MOST_BYTES = 1 << 20


class BatchRate(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate with one batch size, in pulls per second, and the number of workers that reached it."""

    batch: Annotated[int, Meta(ge=1, le=MOST_IN_A_BATCH)]
    rate: Rate
    workers: Annotated[int, Meta(ge=1, le=10**6)]


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """What `calibrate` measured on this machine. `layer_bytes` is the size of a layer, `measured` the date."""

    client: str
    version: str
    cores: float
    layers: Count
    layer_bytes: Count
    measured: Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    batches: tuple[BatchRate, ...]

    @property
    def best(self) -> BatchRate:
        """The batch size with the highest rate."""
        return max(self.batches, key=lambda each: each.rate)

    def with_batch(self, batch: int) -> BatchRate | None:
        """Returns the highest rate of a batch size of at most `batch`; None if calibrate tried none."""
        return max(
            (each for each in self.batches if each.batch <= batch), key=lambda each: each.rate, default=None
        )


def place(client: str) -> Path:
    """Returns the file for this machine and client."""
    import platformdirs  # it takes seven milliseconds to import, and a load does not need it

    machine = "".join(c if c.isalnum() or c in "-._" else "_" for c in platform.node()) or "unnamed"
    return Path(platformdirs.user_cache_dir("ocidriver")) / f"calibrated-{machine}-{client}.json"


def recall(client: str, version: str) -> Calibrated | None:
    """Returns the result for this client; None if there is none that counts, or it cannot be read."""
    try:
        found = msgspec.json.decode(read_whole(place(client), _MOST_BYTES, regular=True), type=Calibrated)
    except (OSError, ValueError):  # a broken file is no result
        return None
    same = (found.client, found.version, found.cores) == (client, version, cores())
    return found if same and found.batches else None

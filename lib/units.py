"""The kinds of numbers in a run's files, each with its range. `about` adds what a field means to the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

# No count, latency or rate of a run is larger, and no run is longer.
_MOST: Final = 10**15
LONGEST_SECONDS: Final = 10 * 366 * 86400

Count = Annotated[int, Meta(ge=0, le=_MOST)]
Milliseconds = Annotated[float, Meta(ge=0, le=_MOST)]
Rate = Annotated[float, Meta(ge=0, le=_MOST)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
# Of several processes or cores, so it may be longer than the run.
CpuSeconds = Annotated[float, Meta(ge=0, le=_MOST)]
Share = Annotated[float, Meta(ge=0, le=1)]


def about(text: str) -> Meta:
    """What a field means, with its unit."""
    return Meta(description=text)

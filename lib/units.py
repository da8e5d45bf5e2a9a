"""The kinds of numbers in a run's files, each with its range; `about` describes a field in the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

# Upper bounds: of every count, latency and rate, and of the length of a run.
_MOST: Final = 10**15
LONGEST_SECONDS: Final = 10 * 366 * 86400

Count = Annotated[int, Meta(ge=0, le=_MOST)]
# A run may pull more bytes than there are of anything else.
Bytes = Annotated[int, Meta(ge=0, le=10**18)]
BytesPerSecond = Annotated[float, Meta(ge=0, le=10**18)]
Milliseconds = Annotated[float, Meta(ge=0, le=_MOST)]
Rate = Annotated[float, Meta(ge=0, le=_MOST)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
# CPU seconds of several processes or cores, so the number may exceed the length of the run.
CpuSeconds = Annotated[float, Meta(ge=0, le=_MOST)]
Share = Annotated[float, Meta(ge=0, le=1)]


def about(text: str) -> Meta:
    """Returns the description of a field: what it means, with its unit."""
    return Meta(description=text)

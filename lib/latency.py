"""The latency distribution of pulls. The fields of `Latency` define the percentiles that all other modules use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from .units import Milliseconds, about


class Latency(msgspec.Struct, frozen=True):
    """A distribution of the latencies of successful pulls, in milliseconds."""

    min: Annotated[Milliseconds, about("Shortest latency, in milliseconds.")]
    mean: Annotated[Milliseconds, about("Arithmetic mean, in milliseconds.")]
    p50: Annotated[Milliseconds, about("Median: half of the latencies are at most this, in milliseconds.")]
    p90: Annotated[Milliseconds, about("90 % of the latencies are at most this, in milliseconds.")]
    p95: Annotated[Milliseconds, about("95 % of the latencies are at most this, in milliseconds.")]
    p99: Annotated[Milliseconds, about("99 % of the latencies are at most this, in milliseconds.")]
    max: Annotated[Milliseconds, about("Longest latency, in milliseconds.")]

    def value(self, name: str) -> float:
        """Returns the value of the field with this name, one of `LATENCIES`."""
        found: float = getattr(self, name)
        return found

    def rounded(self) -> Latency:
        """Returns the distribution rounded to microseconds, as files show it."""
        return Latency(*(round(self.value(name), 3) for name in LATENCIES))

    def points(self) -> Iterator[tuple[float, float]]:
        """Yields (share, latency): this share of the pulls, from 0 to 1, took at most this latency."""
        yield 0.0, self.min
        for name, percent in PERCENTILES.items():
            yield percent / 100, self.value(name)
        yield 1.0, self.max


# The names of all fields, in the order in which files and tables show them.
LATENCIES: Final = Latency.__struct_fields__
# The percentiles by name, in percent.
PERCENTILES: Final[Mapping[str, float]] = {
    name: float(name[1:]) for name in LATENCIES if name[0] == "p" and name[1:].isdecimal()
}
# The percentiles in lines and narrow tables, which have no room for more.
SHOWN_PERCENTILES: Final = ("p50", "p95", "p99")
# Prefixes of quantities: the latencies of all pulls, of first pulls and of repeat pulls.
GROUPS: Final = ("", "first.", "repeat.")


def cells(latency: Latency | None) -> list[str]:
    """Returns the `SHOWN_PERCENTILES` in milliseconds with one decimal; `-` for each if nothing was measured."""
    return ["-" if latency is None else f"{latency.value(name):.1f}" for name in SHOWN_PERCENTILES]

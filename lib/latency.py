"""The latency distribution of pulls. The fields of `Latency` define the percentiles that all other modules use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from .units import Count, Milliseconds, about


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution of the latencies of successful pulls, in milliseconds.

    Percentiles are nearest ranks: of n latencies in order, pN is number ⌈N/100·n⌉. So each is a latency that occurred.
    Those that few latencies cannot show are None (see `LEAST`). `count` is 0 in files of earlier versions.
    """

    count: Annotated[Count, about("Number of latencies.")] = 0
    min: Annotated[Milliseconds, about("Shortest latency, in milliseconds.")]
    mean: Annotated[Milliseconds, about("Arithmetic mean, in milliseconds.")]
    p50: Annotated[Milliseconds, about("Median: half of the latencies are at most this, in milliseconds.")]
    p90: Annotated[
        Milliseconds | None,
        about("90 % of the latencies are at most this, in milliseconds; null for fewer than 20 latencies."),
    ]
    p95: Annotated[
        Milliseconds | None,
        about("95 % of the latencies are at most this, in milliseconds; null for fewer than 20 latencies."),
    ]
    p99: Annotated[
        Milliseconds | None,
        about("99 % of the latencies are at most this, in milliseconds; null for fewer than 100 latencies."),
    ]
    max: Annotated[Milliseconds, about("Longest latency, in milliseconds.")]

    def value(self, name: str) -> float | None:
        """Returns the value of the field with this name, one of `LATENCIES`; None if there are too few latencies."""
        found: float | None = getattr(self, name)
        return found

    def rounded(self) -> Latency:
        """Returns the distribution rounded to microseconds, as files show it."""
        return Latency(
            count=self.count,
            min=round(self.min, 3),
            mean=round(self.mean, 3),
            p50=round(self.p50, 3),
            p90=_rounded(self.p90),
            p95=_rounded(self.p95),
            p99=_rounded(self.p99),
            max=round(self.max, 3),
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


# The names of all figures, in the order in which files and tables show them.
LATENCIES: Final = tuple(name for name in Latency.__struct_fields__ if name != "count")
# The percentiles by name, in percent.
PERCENTILES: Final[Mapping[str, int]] = {
    name: int(name[1:]) for name in LATENCIES if name[0] == "p" and name[1:].isdecimal()
}
# The least number of latencies for a percentile: with fewer, it would be the maximum or nearly so.
LEAST: Final[Mapping[str, int]] = {"p90": 20, "p95": 20, "p99": 100}
# The percentiles in lines and narrow tables, which have no room for more.
SHOWN_PERCENTILES: Final = ("p50", "p95", "p99")
# The percentile of a short answer: the first of these that was measured.
MAIN_PERCENTILES: Final = ("p95", "p50")
# Prefixes of quantities: the latencies of all pulls, of first pulls and of repeat pulls.
GROUPS: Final = ("", "first.", "repeat.")


def rank(percent: int, count: int) -> int:
    """Returns the nearest rank of a percentile: ⌈percent/100·count⌉, at least 1.

    Hyndman and Fan, "Sample Quantiles in Statistical Packages" (The American Statistician, 1996), definition 1.
    """
    return max(1, -(-percent * count // 100))


def shown(latency: Latency | None, name: str, *, unit: str = "") -> str:
    """Returns one figure with one decimal; `-` if it was not measured."""
    value = None if latency is None else latency.value(name)
    return "-" if value is None else f"{value:.1f}{unit}"


def cells(latency: Latency | None) -> list[str]:
    """Returns the `SHOWN_PERCENTILES` in milliseconds with one decimal; `-` for each that was not measured."""
    return [shown(latency, name) for name in SHOWN_PERCENTILES]

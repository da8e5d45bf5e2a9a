"""The bounds of the numbers in a record: a forged or damaged line must not spoil what is computed from all lines.

The types of the lines (`wire`) say what is a number at all. Within these bounds, sums, squares and dates exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..load.latency import Packed
from .wire import End, Header, PieceLine, set_tally

# The clock of a host is off by less than this, and no load takes as long, in seconds: some centuries, and 30 years.
_MOST_OFFSET: Final = 1e10
_LONGEST: Final = 1e9
# A piece that is shorter than this, in seconds, has no length.
_SHORTEST: Final = 1e-12
# Everything else, such as bytes and CPU seconds.
_MOST: Final = 1e15


def check_header(header: Header) -> None:
    """Raises `ValueError` if a number is out of bounds."""
    _check((header.clock_offset, header.began), -_MOST_OFFSET, _MOST_OFFSET)
    _check((header.cores,), 0.0, _MOST)
    for step in header.steps:
        _check((step.start, step.end or 0.0), 0.0, _LONGEST)
    for rate in header.rates or ():
        _check((rate.first, rate.last), 0.0, _MOST)
        _check((rate.seconds,), 0.0, _LONGEST)
    _check((header.before.client_cpu_seconds,), -_MOST, _MOST)


def check_piece(line: PieceLine) -> None:
    """Raises `ValueError` if a number is out of bounds."""
    _check((line.start, line.end), 0.0, _LONGEST)
    if 0 < line.end - line.start < _SHORTEST:
        raise ValueError("a piece is too short")
    _check((line.counts.client_cpu_seconds,), -_MOST, _MOST)
    _check_packed(line.first, line.repeat)
    for state in line.shares.values():
        _check((state.start,), 0.0, _LONGEST)
        _check((state.width, state.busy, state.bytes, *state.bins), 0.0, _MOST)
    interval = line.interval
    if interval is None:
        return
    _check((interval.workers, interval.cores, interval.paused_seconds), 0.0, _MOST)
    _check((interval.driver_cpu_seconds, interval.client_cpu_seconds), -_MOST, _MOST)
    use = interval.machine
    if use is not None:
        _check((use.idle, use.steal, use.pressure or 0.0, use.throttled or 0.0), -_MOST, _MOST)


def check_end(end: End) -> None:
    """Raises `ValueError` if a number is out of bounds, or a histogram is not valid."""
    _check((end.elapsed, end.driver_cpu_seconds, *(end.working or ())), 0.0, _LONGEST)
    _check((end.totals.client_cpu_seconds,), -_MOST, _MOST)
    for line in end.image_sets:
        _check_packed(line.latencies)
        set_tally(line)


def _check_packed(*found: Packed | None) -> None:
    for packed in found:
        if packed is not None:
            _check((packed.least, packed.most), 0.0, _LONGEST)
            _check((packed.total,), 0.0, _MOST)


def _check(numbers: Iterable[float], least: float, most: float) -> None:
    """Raises `ValueError` unless all numbers are between these. One that is not a number is not."""
    if not all(least <= number <= most for number in numbers):
        raise ValueError("a number is out of bounds")

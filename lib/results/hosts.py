"""What became of the hosts of a load, in words: which were lost or limited, and which shares are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from ..counted import counted
from ..errors import UsageError
from ..load.share import parse_share
from .precision import of_all
from .precision import why_no_peak as why_steps_tell_none
from .summary import HostCounts, Lost, Step, Summary

# Why a load may have no peak although its steps were long.
NO_WHOLE_STEP: Final = "every step lacks a host"
# A line names at most so many hosts.
_MOST_NAMED: Final = 5


def planned(summary: Summary) -> int:
    """Returns how many hosts were to carry out the load: one, unless the summary has several."""
    with suppress(UsageError):  # the summary is from a file
        return max((parse_share("share", host.share).of for host in summary.of_hosts), default=1)
    return len(summary.of_hosts)


def whole_steps(summary: Summary) -> Sequence[Step]:
    """Returns the steps that all hosts carried out; only they can be the peak, or show the knee."""
    return of_all(summary.steps, planned(summary)) if summary.has_hosts else summary.steps


def why_no_peak(summary: Summary) -> str | None:
    """Returns why the peak is not known, and what helps; None if it is known, or if nothing was pulled."""
    steps = whole_steps(summary)
    if summary.steps and not steps:
        return f"{NO_WHOLE_STEP}; repeat the run"
    return why_steps_tell_none(steps, summary.settings)


def losses(summary: Summary) -> Iterator[str]:
    """Yields what the load lacks: the hosts that were lost, and the shares of which there is no record."""
    lost = [_loss(host, each) for host, each in summary.lost_hosts]
    if lost:
        whose = "its share is" if len(lost) == 1 else "their shares are"
        yield f"{_some(lost)}; {whose} missing after that"
    there = {host.share for host in summary.of_hosts}
    of = planned(summary) if there else 0
    missing = [share for number in range(1, of + 1) if (share := f"{number}/{of}") not in there]
    if missing:
        yield f"no record of {'share' if len(missing) == 1 else 'shares'} {_some(missing)}"


def limited(summary: Summary) -> str | None:
    """Returns which hosts were limited by something else than the server for a tenth of the load.

    None if none was, or if all were: then the limit of the load says so.
    """
    names, of = [host.name for host in summary.of_hosts if host.limited_by is not None], len(summary.of_hosts)
    return f"{len(names):,} of {counted(of, 'host')} limited: {_some(names)}" if 0 < len(names) < of else None


def trouble(summary: Summary) -> str | None:
    """Returns which hosts were lost, which shares are missing, and which hosts were limited; None if all is well."""
    found = [*losses(summary), *filter(None, [limited(summary)])]
    return "; ".join(found) or None


def _loss(host: HostCounts, lost: Lost) -> str:
    at, until = f"{lost.at:,.1f} s", f"{host.counted_until:,.1f} s"
    counted_until = "" if at == until else f", counted until {until}"
    return f"host {host.name} lost at {at} ({lost.reason}){counted_until}"


def _some(words: Sequence[str]) -> str:
    more = len(words) - _MOST_NAMED
    return ", ".join([*words[:_MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])])

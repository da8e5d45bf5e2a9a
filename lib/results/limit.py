"""What limited a run, in words, as far as its summary can tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..counted import counted
from ..figures import percent, rate, three
from ..load.closed import CLIENT, MACHINE
from ..outcomes import ErrorClass
from .answer import Answer, joined
from .headline import UNKNOWN, by_class
from .outage import Outage, outages, rate_outside
from .summary import Summary

# Who used the CPU of this machine, and what helps: on one host, and on several.
_MACHINE_LIMITS: Final = {
    CLIENT: (
        "driver and clients",
        "pull more images per launch (--batch), or use more machines",
        "pull more images per launch (--batch), or use more hosts",
    ),
    MACHINE: (
        "other programs",
        "run ocidriver on a machine of its own",
        "run ocidriver on machines of their own",
    ),
}
# From this share of pulls on, failures or delays of one kind are what limited the run.
_MANY: Final = 0.01
# From this share of what calibrate reached on, the run may have come to the limit of this machine.
_NEAR: Final = 0.8


def limit(summary: Summary) -> Answer:
    """Returns what limited the rate, as far as the run can tell."""
    if summary.settings.get("dry_run"):
        return joined("dry run", ": ", "nothing was pulled, so these numbers do not describe a server")
    if summary.failed and not summary.pulled:
        return joined("no pull succeeded", ": ", by_class(summary.errors.items()))
    out = outages(summary.samples)
    if out:
        more = f" (and {counted(len(out) - 1, 'more outage')})" if len(out) > 1 else ""
        span = f"{out[0].begin:%H:%M:%S} to {out[0].end:%H:%M:%S}"
        rest = outside(summary, out)
        besides = f"; {rest}" if rest else ""
        return Answer(
            "an outage", f"no pull succeeded from {span}{more}{besides}", f"{out[0].told()}{more}{besides}"
        )
    if summary.limited_by is not None:
        who, *advices = _MACHINE_LIMITS.get(summary.limited_by, _MACHINE_LIMITS[MACHINE])
        told, advice, where = (
            f"{who} used nearly all CPU",
            advices[summary.has_hosts],
            _where_limited(summary),
        )
        return Answer(where, f"{told}; {advice}", f"{told} of {where}; {advice}")
    refused = summary.errors.get(ErrorClass.RATE_LIMITED, 0)
    many = _MANY * max(summary.ended + summary.unstarted, 1)
    if refused >= many:
        return joined("the server's rate limit", ": ", f"{counted(refused, 'pull')} failed with HTTP 429")
    if summary.late_no_worker + summary.unstarted >= many:
        counts = ((summary.late_no_worker, "started late"), (summary.unstarted, "never started"))
        late = ", ".join(f"{counted(count, 'pull')} {what}" for count, what in counts if count)
        told = (
            f"all workers were busy: {late}, and {_not_this(summary)}; give more --workers, or a lower rate"
        )
        return Answer("the server, or too few workers", told, told)
    if summary.late_machine >= many:
        return joined(
            "a host" if summary.has_hosts else "this machine",
            " ",
            f"was slow to start {counted(summary.late_machine, 'pull')}; give a lower rate",
        )
    if summary.is_scheduled and summary.pulled and not summary.failed:
        which = "nearly all" if summary.late or summary.unstarted else "all"
        return joined("the offered rate", ": ", f"{which} pulls started on time, and {_not_this(summary)}")
    known = summary.limit_of_machine
    if known is not None and known.share >= _NEAR:
        told = f"{limit_of_machine(summary)}, although {_busy(summary, named=False)}"
        return joined(f"perhaps {_here(summary)}", ": ", told)
    if summary.knee is not None:
        told = f"the rate levelled off near {three(summary.knee.workers)} workers, and {_not_this(summary)}"
        return Answer("the server or network", told, f"the server, or the network to it: {told}")
    checked = _here(summary) if _tells_its_use(summary) else "driver and clients"
    return joined(f"{UNKNOWN}, but not {checked}", ": ", _not_this(summary, named=False))


def _here(summary: Summary) -> str:
    return "the hosts" if summary.has_hosts else "this machine"


def _where_limited(summary: Summary) -> str:
    """Returns which machine was limited, or how many of the hosts were for a tenth of the load."""
    if not summary.has_hosts:
        return "this machine"
    count, of = sum(host.limited_by is not None for host in summary.of_hosts), len(summary.of_hosts)
    if not count:
        return "a host"
    if count < of or of == 1:
        return f"{count:,} of {counted(of, 'host')}"
    return "both hosts" if of == 2 else f"all {of:,} hosts"


def outside(summary: Summary, out: Sequence[Outage]) -> str | None:
    """Returns the rate outside these outages in words; None if there is none."""
    rest = rate_outside(summary.samples, out)
    return None if rest is None else f"outside the {'outage' if len(out) == 1 else 'outages'}, {rate(rest)}"


def limit_of_machine(summary: Summary) -> str | None:
    """Returns the rate of the run as a share of the highest that calibrate reached on this machine; None if unknown."""
    known = summary.limit_of_machine
    if known is None:
        return None
    images = f"{counted(known.layers, 'layer')} of {known.layer_bytes:,} bytes"
    what = "peak" if summary.peak is not None else "rate"
    where = "on all hosts together" if summary.has_hosts else "here"
    return f"the {what} is {percent(known.share)} of the {rate(known.rate)} that calibrate reached {where} ({images})"


def _tells_its_use(summary: Summary) -> bool:
    return any(each.machine is not None for each in summary.samples)


def _not_this(summary: Summary, *, named: bool = True) -> str:
    """Returns why this machine was not the limit: how much of its CPU was used, and of what calibrate found."""
    known = limit_of_machine(summary)
    return ", ".join([_busy(summary, named=named), *([known] if known is not None else [])])


def _busy(summary: Summary, *, named: bool) -> str:
    """Returns how busy the CPU was, or in how many intervals it was used up. `named`: the words name the machine."""
    if not _tells_its_use(summary):
        return f"driver and clients did not use up the CPU of {_here(summary)}"
    own, other = ("the hosts'", "their") if summary.has_hosts else ("this machine's", "its")
    whose = own if named else other
    samples = summary.samples
    limited = sum(each.limited_by is not None for each in samples)
    if limited:
        return f"{whose} CPU was used up in {limited:,} of {counted(len(samples), 'interval')}"
    most = max(1 - each.machine.idle for each in samples if each.machine is not None)
    mean = " on average" if summary.has_hosts else ""
    return f"{whose} CPU was at most {percent(most)} busy{mean}"

"""A tally interval in files: an entry of the summary's `samples`, and a line of `--metrics-format jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from ..latency import Latency
from ..units import Bytes, BytesPerSecond, Count, CpuSeconds, Rate, Seconds, Share, about
from .times import Moment, to_milliseconds


class MachineUse(msgspec.Struct, frozen=True, kw_only=True):
    """How busy the whole machine was in an interval, whoever used it."""

    idle: Annotated[Share, about("Share of the CPU time of all processors that was idle.")]
    steal: Annotated[Share, about("Share that the hypervisor gave to other machines.")]
    pressure: Annotated[
        Share | None,
        about(
            "Share of the time in which a process waited for a processor; null if the kernel does not tell."
        ),
    ] = None
    throttled: Annotated[
        Share | None,
        about(
            "Share of the periods of the driver's CPU limit (cgroup) in which the kernel held up driver and clients; "
            "null without a limit."
        ),
    ] = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One tally interval (`--tally-seconds`). The last one may be shorter."""

    time: Annotated[Moment, about("End of the interval, exact to a millisecond.")]
    seconds: Annotated[Seconds, about("Length of the interval, in seconds.")]
    rate: Annotated[Rate, about("Successful pulls per second.")]
    workers: Annotated[Count, about("Workers that were running at the end of the interval.")] = 0
    pulled: Annotated[Count, about("Pulls that succeeded and ended in the interval.")]
    failed: Annotated[Count, about("Pulls that failed and ended in the interval.")]
    errors: Annotated[
        Mapping[str, Count], about("Failed pulls of the interval by error class, the most frequent first.")
    ] = {}
    retried: Annotated[
        Count | None,
        about("Retries of the clients that ended in the interval; null if the client does not report them."),
    ] = None
    latency_ms: Annotated[
        Latency | None, about("Latency of the interval's successful pulls; null without one.")
    ]
    bytes: Annotated[
        Bytes | UnsetType,
        about("What the interval's successful pulls fetched, in bytes. Absent if a size is unknown."),
    ] = UNSET
    bytes_per_second: Annotated[
        BytesPerSecond | UnsetType,
        about("Bytes per second. Absent if a size is unknown."),
    ] = UNSET
    driver_cpu_seconds: Annotated[
        CpuSeconds, about("CPU time of the driver in the interval, in seconds.")
    ] = 0.0
    client_cpu_seconds: Annotated[
        CpuSeconds, about("CPU time of the clients in the interval, in seconds.")
    ] = 0.0
    machine: Annotated[
        MachineUse | None, about("How busy the whole machine was; null if this system does not tell.")
    ] = None
    paused_seconds: Annotated[
        Seconds,
        about(
            "Seconds in which the driver itself was stopped, by a signal or with its machine. Rate and latencies are "
            "then not those of the server. Of several hosts, those of the host that was stopped for longest."
        ),
    ] = 0.0
    limited_by: Annotated[
        str | None,
        about(
            "`client` if driver and clients used nearly all CPU time that they may use in the interval, or if the "
            "kernel throttled them; `machine` if other programs used it or the hypervisor took it away; else null. Of "
            "several hosts, one that was limited is enough."
        ),
    ] = None
    hosts: Annotated[
        Count | UnsetType,
        about("Hosts that reported the whole interval. Absent if one host only drove the load."),
    ] = UNSET
    limited_hosts: Annotated[
        Count | UnsetType,
        about("Hosts that were limited. Absent if none was, or if one host only drove the load."),
    ] = UNSET


def sample_line(sample: Sample) -> str:
    """Returns the sample as one line of JSON."""
    return json.dumps(msgspec.to_builtins(sample, builtin_types=(datetime,)), default=to_milliseconds)

"""The result of a capacity search, schema 1: `--summary-file` of `ocidriver capacity`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..latency import Latency
from ..results.summary import ClientInfo
from ..results.times import Moment
from ..units import Count, Rate, Seconds, Share, about

SCHEMA: Final = 1
SLO: Final = "slo"
UNSTARTED: Final = "unstarted"
CLIENT: Final = "client"
MACHINE: Final = "machine"
MAX_RATE: Final = "max-rate"
MAX_TIME: Final = "max-time"
Limit = Literal["slo", "unstarted", "client", "machine", "max-rate", "max-time"]


class TrialResult(msgspec.Struct, frozen=True, kw_only=True):
    """One trial at a fixed rate. The first tenth of its time is not judged, and counts in none of these figures."""

    rate: Annotated[Rate, about("Offered pulls per second.")]
    seconds: Annotated[
        Seconds, about("Length of the trial, in seconds. It ends early if it can no longer meet the SLOs.")
    ]
    held: Annotated[
        bool | None,
        about("Whether all trials at this rate so far met the SLOs; null if that was not certain at 95 %."),
    ]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    retried: Annotated[Count | None, about("Retries of the client; null if it does not report them.")]
    first: Annotated[
        Count, about("Successful pulls that were the first of their image, or the first after its prune.")
    ]
    latency_ms: Annotated[Latency | None, about("Latency of the successful pulls, from when they were due.")]
    error_rate: Annotated[Share | None, about("Failed pulls among all pulls; null without a pull.")]
    errors: Annotated[Mapping[str, Count], about("Failed pulls by error class.")]
    unstarted: Annotated[Count, about("Pulls that were due and never started.")]
    late_no_worker: Annotated[Count, about("Pulls that started late because all workers were busy.")]
    late_machine: Annotated[Count, about("Pulls that started late because this machine was slow.")]
    limited_by: Annotated[
        Literal["client", "machine"] | None,
        about(
            "What limited the trial, other than the server: the client side, or this machine. With `--hosts`, one "
            "limited host is enough. Null: nothing else."
        ),
    ]
    limited_hosts: Annotated[
        tuple[str, ...] | UnsetType,
        about(
            "Names of the hosts that were limited in this way. Only searches with `--hosts` have this field."
        ),
    ] = UNSET
    missed: Annotated[
        str | None, about("Why the rate did not hold, in words; null if nothing spoke against it.")
    ]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The highest rate that held."""

    rate: Annotated[Rate, about("Offered pulls per second.")]
    certain: Annotated[bool, about("Whether that is certain at 95 %.")]
    latency_ms: Annotated[
        Latency | None, about("Latency of the successful pulls in the last trial at this rate.")
    ]


class FailedAt(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest rate that did not hold."""

    rate: Annotated[Rate, about("Offered pulls per second.")]
    reason: Annotated[str, about("Why it did not hold.")]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What a capacity search found."""

    schema: Annotated[Literal[1], about("Version of this format.")] = SCHEMA
    started: Annotated[Moment, about("When the search began.")]
    elapsed_seconds: Annotated[Seconds, about("Length of the whole search, in seconds.")]
    interrupted: Annotated[bool, about("Whether a signal stopped the search.")]
    reason: Annotated[str | None, about("Why the search could not be carried out; null if it could.")]
    command: Annotated[tuple[str, ...], about("Command line, without its first word.")]
    settings: Annotated[Mapping[str, Any], about("Options, by name.")]
    slos: Annotated[tuple[str, ...], about("The SLOs, as given.")]
    client: Annotated[ClientInfo | None, about("Client; null if none was found.")]
    hosts: Annotated[
        tuple[str, ...] | UnsetType,
        about("Names of the hosts that made the pulls. Only searches with `--hosts` have this field."),
    ] = UNSET
    held: Annotated[Held | None, about("Highest rate that held; null if none did.")]
    failed_at: Annotated[FailedAt | None, about("Lowest rate that did not hold; null if all held.")]
    limit: Annotated[
        Limit | None,
        about(
            "What ended the search: an SLO, pulls that never started, client, machine, a bound; null if it was stopped."
        ),
    ]
    trials: Annotated[tuple[TrialResult, ...], about("The trials, in order.")]


def of_hosts(found: Capacity) -> tuple[str, ...]:
    """Returns the names of the hosts; none if this machine made the pulls."""
    return () if isinstance(found.hosts, UnsetType) else found.hosts


def capacity_text(found: Capacity) -> str:
    """Returns the content of the file."""
    shown: dict[str, Any] = msgspec.to_builtins(found, builtin_types=(datetime,))
    shown["started"] = found.started.isoformat(timespec="seconds")
    return json.dumps(shown, indent=2) + "\n"

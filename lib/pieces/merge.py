"""Adds the records of several hosts up to one summary, as if one host had carried out the whole load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..clock import Clock
from ..counted import counted
from ..errors import RunError, UsageError
from ..figures import three
from ..load.account import Account
from ..load.closed import SetTally
from ..load.counts import Counts
from ..load.curve import Curve, Rate
from ..load.plan import WITH_THE_LAST_WORKER, Step
from ..options.thresholds import Threshold
from ..results.facts import Facts
from ..results.summarize import summarize
from ..results.summary import HostCounts, KnownLimit, Lost, Summary, WarmUpCounts
from ..results.times import as_written
from .file import Record
from .fold import HostPieces, Load, fold
from .wire import Header, counts_of, set_tally

# Settings that may differ between the hosts of one load: where each writes, and when and with which share it begins.
_OWN: Final = frozenset(
    (
        *("metrics_file", "log_file", "summary_file", "events_file", "report_file", "pieces_file"),
        *("metrics_format", "metrics_listen", "progress", "annotations", "threshold", "start_at", "share"),
        *("ca_file", "client_cert", "client_key", "containerd_socket", "image_list"),
    )
)
# Hosts may begin the load as far apart as this share of a tally interval.
_APART: Final = 0.1
_BROKEN_OFF: Final = "its record breaks off"


def merge(records: Sequence[Record], thresholds: Sequence[Threshold], *, lost_hosts: int = 0) -> Summary:
    """Returns the summary of the whole load.

    Raises `UsageError` if the records are not of one load, or if a share is there twice. Raises `RunError` if more
    than `lost_hosts` shares are missing or break off, or if the counts of a record are incomplete.
    """
    _check_one_load(records)
    records = sorted(records, key=lambda record: record.share.number)
    _check_shares(records, lost_hosts)
    for record in records:
        _check_counts(record)
    header = records[0].header
    load = replace(load_of(header), sized=all(record.header.sized for record in records))
    account = fold(load, map(_pieces, records))
    account.image_sets = _image_sets(records)
    summary = summarize(_facts(records, thresholds), account)
    if records[0].share.is_whole and records[0].end is not None:
        return summary
    complete = len(records) == records[0].share.of and all(record.end is not None for record in records)
    return msgspec.structs.replace(summary, hosts=tuple(map(_host, records)), complete=complete)


def load_of(header: Header) -> Load:
    """Returns the whole load that a header describes."""
    steps = [
        Step(each.workers, each.direction, each.start, WITH_THE_LAST_WORKER if each.end is None else each.end)
        for each in header.steps
    ]
    rates = None if header.rates is None else tuple((Rate(r.first, r.last), r.seconds) for r in header.rates)
    return Load(
        steps=steps,
        workers=header.workers,
        retries_known=header.retries_known,
        sized=header.sized,
        curve=None if rates is None else Curve(rates),
    )


def cautions(records: Sequence[Record]) -> Iterator[str]:
    """Yields a warning for each reason why the records may not add up to one load."""
    begun = [record.header.clock_offset + record.header.began for record in records]
    apart = max(begun) - min(begun)
    interval = float(records[0].header.settings.get("tally_seconds", 0.0))
    if apart > _APART * interval:
        yield (
            f"the hosts began up to {three(apart)} s apart by their clocks, so an interval covers different times; "
            "give all of them the same --start-at, and check that their clocks are synchronized"
        )
    clients = {str(record.header.client) for record in records}
    if len(clients) > 1:
        yield f"the hosts had different clients: {', '.join(sorted(clients))}"


def _check_one_load(records: Sequence[Record]) -> None:
    first = records[0]
    for other in records[1:]:
        one, two = _of_load(first.header), _of_load(other.header)
        differing = next((name for name in {**one, **two} if one.get(name) != two.get(name)), None)
        if differing is not None:
            raise UsageError(
                f"{first.name} and {other.name} are of different loads: {differing} is {one.get(differing)} in the "
                f"first and {two.get(differing)} in the second; give the files of one load"
            )


def _of_load(header: Header) -> Mapping[str, Any]:
    """Returns what must be the same for all hosts of a load, by name."""
    settings = {
        f"--{name.replace('_', '-')}": value for name, value in header.settings.items() if name not in _OWN
    }
    client = header.client.name if header.client is not None else None
    return {
        **settings,
        "the version of ocidriver": header.version,
        "the client": client,
        "the number of images": header.images,
        "the number of workers": header.workers,
        "the load": header.load,
        "the plan": (header.steps, header.rates),
        "the number of shares": header.share.partition("/")[2],
    }


def _check_shares(records: Sequence[Record], lost_hosts: int) -> None:
    shares: dict[int, Record] = {}
    for record in records:
        first = shares.setdefault(record.share.number, record)
        if first is not record:
            raise UsageError(
                f"{first.name} and {record.name} are both share {record.share}; give each share once"
            )
    whole = records[0].share
    missing = [f"share {number}/{whole.of}" for number in range(1, whole.of + 1) if number not in shares]
    broken = [f"{record.name} breaks off" for record in records if record.end is None]
    if len(missing) + len(broken) > lost_hosts:
        what = ", ".join([*(f"{share} is missing" for share in missing), *broken])
        raise RunError(
            f"the load is not complete: {what}; give the missing files, or let {len(missing) + len(broken)} be lost "
            f"with --lost-hosts {len(missing) + len(broken)}"
        )


def _check_counts(record: Record) -> None:
    """Raises `RunError` if pieces are missing in a record that has its end."""
    if record.end is None:
        return
    total = fold(load_of(record.header), [_pieces(record, own=True)]).totals
    told = counts_of(record.end.totals)
    if (record.end.pieces, _compared(told)) != (len(record.pieces), _compared(total)):
        raise RunError(f"the counts of {record.name} are incomplete: it lacks pieces; give the whole file")


def _compared(counts: Counts) -> tuple[object, ...]:
    numbers = {
        name: getattr(counts, name) for name in ("pulled", "failed", "interrupted", "retried", "bytes")
    }
    return (numbers, counts.pruned, counts.prune_failed, counts.errors, counts.prune_errors)


def _pieces(record: Record, *, own: bool = False) -> HostPieces:
    number = record.share.number_in_whole
    return HostPieces(
        number_in_whole=(lambda index: index) if own else number, pieces=record.pieces, before=record.before
    )


def _image_sets(records: Sequence[Record]) -> list[SetTally]:
    sets = [SetTally() for _ in range(records[0].header.workers)]
    for record in records:
        for index, line in enumerate(record.end.image_sets if record.end is not None else ()):
            sets[record.share.number_in_whole(index)] = set_tally(line)
    return sets


def _facts(records: Sequence[Record], thresholds: Sequence[Threshold]) -> Facts:
    first = records[0].header
    ends = [record.end for record in records if record.end is not None]
    clock = Clock(first.clock_offset)
    image_sets, passes = [("", 0)] * first.workers, [0] * first.workers
    for record in records:
        for index, image_set in enumerate(record.header.image_sets):
            number = record.share.number_in_whole(index)
            image_sets[number] = image_set
            passes[number] = record.end.passes[index] if record.end is not None else 0
    working = [end.working for end in ends if end.working is not None]
    first_pulls = {end.first_pulls for end in ends}
    sized = [record.header.sized_images for record in records]
    return Facts(
        started=min(record.header.started for record in records),
        elapsed=max(_elapsed(record) for record in records),
        interrupted=any(end.interrupted for end in ends),
        reason=_reason(records),
        command=first.command,
        settings={name: value for name, value in first.settings.items() if name != "share"},
        thresholds=thresholds,
        load=first.load,
        client=first.client,
        listed=first.listed,
        foreign=first.foreign,
        images=first.images,
        image_sets=image_sets,
        passes=passes,
        unstarted=sum(end.unstarted for end in ends),
        working=(sum(each for each, _ in working), sum(each for _, each in working)) if working else None,
        sized_images=None if None in sized else min(first.images, sum(each or 0 for each in sized)),
        first_pulls=first_pulls.pop() if len(first_pulls) == 1 else "unknown",
        warm_up=_warm_up(records),
        herds=ends[0].herds if len(ends) == 1 else None,
        driver_cpu_seconds=sum(end.driver_cpu_seconds for end in ends),
        machine=_known_limit([record.header.machine for record in records]),
        wall=lambda second: clock.wall(first.began + second),
    )


def _elapsed(record: Record) -> float:
    return record.end.elapsed if record.end is not None else record.counted_until


def _reason(records: Sequence[Record]) -> str | None:
    """Returns why the load did not succeed, by the first host that says so; None if it did."""
    told = [(record.header.host, record.end.reason) for record in records if record.end is not None]
    failed = [(host, reason) for host, reason in told if reason is not None]
    if not failed:
        return None
    host, reason = failed[0]
    if len(records) == 1:
        return reason
    same = sum(each == reason for _, each in failed)
    return f"{host if same == 1 else counted(same, 'host')}: {reason}"


def _warm_up(records: Sequence[Record]) -> WarmUpCounts | None:
    found = [record.header.warm_up for record in records if record.header.warm_up is not None]
    if not found:
        return None
    return WarmUpCounts(
        pulled=sum(each.pulled for each in found),
        failed=sum(each.failed for each in found),
        seconds=max(each.seconds for each in found),
    )


def _known_limit(limits: Sequence[KnownLimit | None]) -> KnownLimit | None:
    """Returns what the hosts can drive together; None unless all of them were measured in the same way."""
    known = [each for each in limits if each is not None]
    ways = {(each.batch, each.layers, each.layer_bytes) for each in known}
    if len(known) < len(limits) or len(ways) != 1:
        return None
    return msgspec.structs.replace(
        known[0],
        rate=sum(each.rate for each in known),
        workers=sum(each.workers for each in known),
        measured=min(each.measured for each in known),
    )


def _host(record: Record) -> HostCounts:
    header, end = record.header, record.end
    account: Account = fold(load_of(header), [_pieces(record)])
    latency = account.latencies.result()
    began = Clock(header.clock_offset).wall(header.began)
    return HostCounts(
        name=header.host,
        share=str(record.share),
        cores=header.cores,
        client=header.client,
        workers=len(header.image_sets),
        images=sum(images for _, images in header.image_sets),
        pulled=account.pulled,
        failed=account.failed,
        interrupted_pulls=account.interrupted,
        rate=account.rate,
        latency_ms=None if latency is None else latency.rounded(),
        driver_cpu_seconds=round(
            end.driver_cpu_seconds
            if end is not None
            else sum(sample.driver_cpu_seconds for sample in account.samples),
            3,
        ),
        client_cpu_seconds=round(account.client_cpu_seconds, 3),
        limited_by=account.limited_by,
        began=as_written(began, "milliseconds"),
        counted_until=round(record.counted_until, 6),
        lost=None if end is not None else Lost(at=round(record.counted_until, 6), reason=_BROKEN_OFF),
    )

"""A load that several hosts carried out: the sum of their parts, and what the summary says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..clock import Clock
from ..counted import counted
from ..errors import UsageError
from ..figures import three
from ..load.closed import SetTally
from ..load.share import Share
from ..options.settings import OF_NO_WEIGHT
from ..options.thresholds import Threshold
from ..results.facts import Facts
from ..results.summarize import summarize
from ..results.summary import KnownLimit, Summary, WarmUpCounts
from .fold import Ended, Fold
from .part import Part, load_of
from .wire import Header, counts_of, set_tally

# Settings that may differ between the hosts of one load: where each writes, and when and with which share it begins.
_OWN: Final = (OF_NO_WEIGHT - {"grace", "keep_going"}) | {
    *("share", "ca_file", "client_cert", "client_key", "containerd_socket", "image_list")
}
# Hosts may begin the load as far apart as this share of a tally interval.
_APART: Final = 0.1


class Whole:
    """The whole load. `header` is that of any of its hosts."""

    def __init__(self, header: Header) -> None:
        self.fold = Fold(load_of(header))
        self._parts: list[Part] = []

    @property
    def parts(self) -> list[Part]:
        """The parts that have begun, in the order of their shares."""
        return sorted(self._parts, key=lambda part: part.share.number)

    def begin(self, name: str, header: Header, share: Share) -> Part:
        """Returns a part that has no pieces yet. Raises `UsageError` if it is of another load, or is there twice."""
        part = Part(name, header, share)
        if self._parts:
            _check_one_load(self._parts[0], part)
        for other in self._parts:
            if other.share.number == share.number:
                raise UsageError(f"{other.name} and {name} are both share {share}; give each share once")
        self._parts.append(part)
        self.fold.account.sized &= header.sized
        self.fold.before(counts_of(header.before), share.number_in_whole)
        return part

    def add(self, part: Part, ended: Ended) -> None:
        """Adds a piece of a part. It may be called once for each piece."""
        part.add(ended)
        self.fold.add(ended, part.share.number_in_whole)

    def facts(self, thresholds: Sequence[Threshold]) -> Facts:
        """Returns what the hosts say of the load besides its counts."""
        return _facts(self.parts, thresholds)

    def summary(self, facts: Facts) -> Summary:
        """Returns the summary of what has been added."""
        parts = self.parts
        account = self.fold.finish()
        account.image_sets = _image_sets(parts)
        summary = summarize(facts, account)
        first = parts[0]
        if first.share.is_whole and first.end is not None:
            return summary
        hosts = tuple(part.counts() for part in parts)
        complete = len(parts) == first.share.of and all(host.lost is None for host in hosts)
        return msgspec.structs.replace(summary, hosts=hosts, complete=complete)


def cautions(headers: Sequence[Header]) -> Iterator[str]:
    """Yields a warning for each reason why these records may not add up to one load."""
    begun = [each.clock_offset + each.began for each in headers]
    apart = max(begun) - min(begun)
    interval = float(headers[0].settings.get("tally_seconds", 0.0))
    if apart > _APART * interval:
        yield (
            f"the hosts began up to {three(apart)} s apart by their clocks, so an interval covers different times; "
            "give all of them the same --start-at, and check that their clocks are synchronized"
        )
    clients = {str(each.client) for each in headers}
    if len(clients) > 1:
        yield f"the hosts had different clients: {', '.join(sorted(clients))}"


def _check_one_load(one: Part, other: Part) -> None:
    """Raises `UsageError` if these records are of different loads."""
    first, second = _of_load(one.header), _of_load(other.header)
    differing = next((name for name in {**first, **second} if first.get(name) != second.get(name)), None)
    if differing is not None:
        raise UsageError(
            f"{one.name} and {other.name} are of different loads: {differing} is {first.get(differing)} in the "
            f"first and {second.get(differing)} in the second; give the files of one load"
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


def _image_sets(parts: Sequence[Part]) -> list[SetTally]:
    sets = [SetTally() for _ in range(parts[0].header.workers)]
    for part in parts:
        for index, line in enumerate(part.end.image_sets if part.end is not None else ()):
            sets[part.share.number_in_whole(index)] = set_tally(line)
    return sets


def _facts(parts: Sequence[Part], thresholds: Sequence[Threshold]) -> Facts:
    first = parts[0].header
    ends = [part.end for part in parts if part.end is not None]
    clock = Clock(first.clock_offset)
    image_sets, passes = [("", 0)] * first.workers, [0] * first.workers
    for part in parts:
        for index, image_set in enumerate(part.header.image_sets):
            number = part.share.number_in_whole(index)
            image_sets[number] = image_set
            passes[number] = part.end.passes[index] if part.end is not None else 0
    working = [end.working for end in ends if end.working is not None]
    first_pulls = {end.first_pulls for end in ends}
    sized = [part.header.sized_images for part in parts]
    return Facts(
        started=min(part.header.started for part in parts),
        elapsed=max(part.elapsed for part in parts),
        interrupted=any(end.interrupted for end in ends),
        reason=_reason(parts),
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
        warm_up=_warm_up(parts),
        herds=ends[0].herds if len(ends) == 1 else None,
        driver_cpu_seconds=sum(end.driver_cpu_seconds for end in ends),
        machine=_known_limit([part.header.machine for part in parts]),
        wall=lambda second: clock.wall(first.began + second),
        hosts=parts[0].share.of,
    )


def _reason(parts: Sequence[Part]) -> str | None:
    """Returns why the load did not succeed, by the first host that says so; None if it did."""
    told = [(part.header.host, part.end.reason) for part in parts if part.end is not None]
    failed = [(host, reason) for host, reason in told if reason is not None]
    if not failed:
        return None
    host, reason = failed[0]
    if len(parts) == 1:
        return reason
    same = sum(each == reason for _, each in failed)
    return f"{host if same == 1 else counted(same, 'host')}: {reason}"


def _warm_up(parts: Sequence[Part]) -> WarmUpCounts | None:
    found = [part.header.warm_up for part in parts if part.header.warm_up is not None]
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

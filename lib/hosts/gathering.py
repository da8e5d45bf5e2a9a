"""Gathers the hosts of a run: waits until enough workers have joined, asks what they are, and refuses wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .. import __version__
from ..clean import clean
from ..counted import counted
from ..durations import spoken
from ..errors import RunError
from ..options.hosts import Hosts
from .fleet import Answered, Joined
from .hearing import ANSWER_SECONDS, Hearing
from .member import Member
from .protocol import PROTOCOL, Failed, Hello, HostFacts
from .refusals import grouped, named

# How often the driver looks for new workers, in seconds.
_LOOK: Final = 0.2
_LONGEST_NAME: Final = 100


def gather(hearing: Hearing, hosts: Hosts, distributed: str) -> list[Member]:
    """Returns the hosts that have joined, one per machine, in the order of their names.

    `distributed` is the version of that package here. Raises `RunError` if too few join in time, or if one of them
    cannot take part.
    """
    joined = wait_for_workers(hearing, hosts)
    reason = too_few_workers(joined, hosts)
    if reason is not None:
        raise RunError(reason)
    roll = call_roll(hearing, joined, distributed)
    if roll.refused:
        raise RunError(f"not all hosts can take part: {grouped(roll.refused)}")
    members = take_on(hearing, roll, hosts)
    reason = too_few_machines(members, hosts)
    if reason is not None:
        raise RunError(reason)
    hearing.log(f"{counted(len(members), 'host')}: {', '.join(each.name for each in members)}")
    return members


@dataclass(frozen=True, slots=True)
class Roll:
    """The workers that can take part, with what they are by address, and (name, reason) of those that cannot."""

    able: Sequence[Joined]
    facts: Mapping[str, HostFacts]
    refused: Sequence[tuple[str, str]]


def wait_for_workers(hearing: Hearing, hosts: Hosts) -> Sequence[Joined]:
    """Waits until enough workers have joined, but only for so long, and returns all that are there.

    Raises `RunError` if the scheduler is lost.
    """
    until = hearing.now() + hosts.seconds
    while len(joined := hearing.fleet.workers()) < hosts.least:
        hearing.check_scheduler()
        if hearing.now() >= until:
            break
        hearing.pause(_LOOK)
    return sorted(joined, key=lambda each: (each.name, each.address))


def too_few_workers(joined: Sequence[Joined], hosts: Hosts) -> str | None:
    """Returns why the workers that have joined are too few; None if they are not."""
    if len(joined) >= hosts.least:
        return None
    who = f" ({named([each.name for each in joined])})" if joined else ""
    return (
        f"only {len(joined)} of {counted(hosts.least, 'host')} joined within {spoken(hosts.seconds)}{who}; "
        "start more Dask workers, or give a lower --min-hosts or a longer --hosts-timeout"
    )


def call_roll(hearing: Hearing, joined: Sequence[Joined], distributed: str) -> Roll:
    """Asks the workers what they are. Raises `RunError` if the scheduler is lost."""
    answers = hearing.ask_addresses({each.address: Hello() for each in joined}, ANSWER_SECONDS)
    hearing.check_scheduler()
    able, facts, refused = [], {}, []
    for each in joined:
        found = _facts_of(answers[each.address], distributed)
        if isinstance(found, str):
            refused.append((clean(each.name, _LONGEST_NAME), found))
        else:
            able.append(each)
            facts[each.address] = found
    return Roll(able, facts, refused)


def take_on(hearing: Hearing, roll: Roll, hosts: Hosts) -> list[Member]:
    """Returns the hosts that can take part, one per machine, as members of this run. Warns of further workers."""
    members = _one_for_each_machine(hearing, roll.able, roll.facts, is_local=hosts.local is not None)
    for member in members:
        member.answered = member.heard = hearing.now()
        hearing.members[member.address] = member
    return members


def too_few_machines(members: Sequence[Member], hosts: Hosts) -> str | None:
    """Returns why the hosts are too few; None if they are not."""
    if len(members) >= hosts.least:
        return None
    return (
        f"--min-hosts {hosts.least}: the Dask workers are on {counted(len(members), 'machine')} only; start one on "
        "each machine"
    )


def _facts_of(answered: Answered, distributed: str) -> HostFacts | str:
    """Returns what a worker's host is, or why it cannot take part."""
    answer = answered.answer
    if answer is None:
        return answered.error
    if isinstance(answer, Failed):
        return clean(answer.reason)
    if not isinstance(answer, HostFacts):
        return "it gave an answer of the wrong kind; install the same version of ocidriver"
    if answer.version != __version__:
        found = clean(answer.version, 40)
        return f"it has ocidriver {found}, and the controller has {__version__}; install the same version"
    if answer.protocol != PROTOCOL:
        return (
            f"its ocidriver has protocol {answer.protocol}, and that of the controller has {PROTOCOL}; "
            "install the same version"
        )
    if answer.distributed != distributed:
        found = clean(answer.distributed, 40)
        return f"it has distributed {found}, and the controller has {distributed}; install the same version"
    if answer.driving is not None:
        return f"it has been driving another run since {clean(answer.driving.since)} (by {clean(answer.driving.by)})"
    return answer


def _one_for_each_machine(
    hearing: Hearing, joined: Sequence[Joined], facts: Mapping[str, HostFacts], *, is_local: bool
) -> list[Member]:
    """Returns one member for each machine. All workers of `local:N` are on this machine."""
    chosen: dict[str, Joined] = {}
    left_out = []
    for each in joined:
        machine = each.address if is_local else facts[each.address].machine
        if chosen.setdefault(machine, each) is not each:
            left_out.append(clean(each.name, _LONGEST_NAME))
    if left_out:
        hearing.caution(
            f"{counted(len(left_out), 'Dask worker')} left out, because another one on the same machine takes part: "
            f"{named(left_out)}"
        )
    nodes = Counter(facts[each.address].node for each in chosen.values())
    members = []
    for each in chosen.values():
        found = facts[each.address]
        alone = bool(found.node) and nodes[found.node] == 1 and not is_local
        # if several machines have one name, the names of their workers tell them apart
        name = clean(found.node if alone else each.name, _LONGEST_NAME)
        members.append(Member(each.address, name, found, worker=each.name))
    names = Counter(each.name for each in members)
    for member in members:
        if names[member.name] > 1:
            member.name = member.address
    return members

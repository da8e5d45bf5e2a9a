"""Gathers the hosts of a run: waits until enough workers have joined, asks what they are, and refuses wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from .. import __version__
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


def gather(hearing: Hearing, hosts: Hosts, distributed: str) -> list[Member]:
    """Returns the hosts that have joined, one per machine, in the order of their names.

    `distributed` is the version of that package here. Raises `RunError` if too few join in time, or if one of them
    cannot take part.
    """
    joined = _joined(hearing, hosts)
    answers = hearing.ask_addresses({each.address: Hello() for each in joined}, ANSWER_SECONDS)
    _check_scheduler(hearing)
    refused, facts = [], {}
    for each in joined:
        answered = answers[each.address]
        reason = _why_not(answered, each, distributed)
        if reason is not None:
            refused.append((each.name, reason))
        elif isinstance(answered.answer, HostFacts):
            facts[each.address] = answered.answer
    if refused:
        raise RunError(f"not all hosts can take part: {grouped(refused)}")
    members = _one_for_each_machine(hearing, joined, facts, is_local=hosts.local is not None)
    if len(members) < hosts.least:
        raise RunError(
            f"--min-hosts {hosts.least}: the workers are on {counted(len(members), 'machine')} only; start a worker on "
            "each machine"
        )
    for member in members:
        member.answered = member.heard = hearing.now()
        hearing.members[member.address] = member
    hearing.log(f"{counted(len(members), 'host')}: {', '.join(each.name for each in members)}")
    return members


def _joined(hearing: Hearing, hosts: Hosts) -> Sequence[Joined]:
    """Waits until enough workers have joined, and returns all that are there."""
    until = hearing.now() + hosts.seconds
    while len(joined := hearing.fleet.workers()) < hosts.least:
        _check_scheduler(hearing)
        if hearing.now() >= until:
            who = f" ({named([each.name for each in joined])})" if joined else ""
            raise RunError(
                f"only {len(joined)} of {counted(hosts.least, 'host')} joined within {spoken(hosts.seconds)}{who}; "
                "start more Dask workers, or give a lower --min-hosts or a longer --hosts-timeout"
            )
        hearing.pause(_LOOK)
    return sorted(joined, key=lambda each: (each.name, each.address))


def _check_scheduler(hearing: Hearing) -> None:
    if hearing.scheduler_lost is not None:
        raise RunError(f"lost the scheduler: {hearing.scheduler_lost}")


def _why_not(answered: Answered, joined: Joined, distributed: str) -> str | None:
    """Returns why a worker cannot take part; None if it can."""
    answer = answered.answer
    if answer is None:
        return answered.error
    if isinstance(answer, Failed):
        return answer.reason
    if not isinstance(answer, HostFacts):
        return f"{joined.address} gave an answer of the wrong kind"
    if answer.version != __version__:
        return f"it has ocidriver {answer.version}, and this is {__version__}; install the same version"
    if answer.protocol != PROTOCOL:
        return (
            f"its ocidriver has protocol {answer.protocol}, and this one {PROTOCOL}; install the same version"
        )
    if answer.distributed != distributed:
        return f"it has distributed {answer.distributed}, and this is {distributed}; install the same version"
    if answer.driving is not None:
        return f"it has been driving another run since {answer.driving.since} (by {answer.driving.by})"
    return None


def _one_for_each_machine(
    hearing: Hearing, joined: Sequence[Joined], facts: dict[str, HostFacts], *, is_local: bool
) -> list[Member]:
    """Returns one member for each machine. All workers of `local:N` are on this machine."""
    chosen: dict[str, Joined] = {}
    left_out = []
    for each in joined:
        machine = each.address if is_local else facts[each.address].machine
        if chosen.setdefault(machine, each) is not each:
            left_out.append(each.name)
    if left_out:
        hearing.caution(
            f"{counted(len(left_out), 'worker')} left out, because another worker of the same machine takes part: "
            f"{named(left_out)}"
        )
    nodes = Counter(facts[each.address].node for each in chosen.values())
    return [
        Member(
            each.address, _name(each, facts[each.address].node, nodes, is_local=is_local), facts[each.address]
        )
        for each in chosen.values()
    ]


def _name(joined: Joined, node: str, nodes: Counter[str], *, is_local: bool) -> str:
    """Returns the name of the machine if no other host has it, else that of the worker."""
    return joined.name if is_local or nodes[node] > 1 or not node else node

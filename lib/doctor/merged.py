"""Puts together what several hosts have found: equal results become one check, and a few lines show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

from ..counted import counted
from ..hosts.protocol import Examined
from ..hosts.refusals import grouped
from ..hosts.refusals import hosts as in_words
from ..results.summary import ClientInfo
from .check import FAILURE, OK, WARNING, Check

_ORDER: Final = (OK, WARNING, FAILURE)
# So many lines show what only some hosts have found, for each check and status.
_LINES: Final = {OK: 3, WARNING: 8, FAILURE: 8}


def merged(found: Mapping[str, Sequence[Check]]) -> list[Check]:
    """Returns the checks of all hosts, by the name of the host. Equal ones are one check, with the hosts' names."""
    longest = sorted(found.values(), key=len, reverse=True)
    names = dict.fromkeys(check.name for checks in longest for check in checks)
    by_result: dict[Check, dict[str, None]] = {}
    for host, checks in found.items():
        for check in checks:
            by_result.setdefault(check, {})[host] = None
    together = [replace(check, hosts=tuple(hosts)) for check, hosts in by_result.items()]
    place = {name: number for number, name in enumerate(names)}
    return sorted(
        together, key=lambda check: (place[check.name], _ORDER.index(check.status), -len(check.hosts))
    )


def worded(checks: Iterable[Check], hosts: Callable[[], int]) -> Iterator[Check]:
    """Yields the checks as people read them: the messages name the hosts. `hosts` returns how many there are in all.

    Of many different results of one check, the first ones are shown, and an example of the others.
    """
    for (_, status, of_hosts), group in groupby(
        checks, key=lambda check: (check.name, check.status, bool(check.hosts))
    ):
        if not of_hosts:
            yield from group
            continue
        total, some = hosts(), list[Check]()
        for check in group:
            if len(check.hosts) == total > 1:
                yield _with(check, counted(total, "host"))
            else:
                some.append(check)
        yield from _of_some(some, _LINES[status])


def _of_some(checks: Sequence[Check], lines: int) -> Iterator[Check]:
    whole = len(checks) if len(checks) <= lines else 0 if checks[0].status == OK else lines - 1
    for check in checks[:whole]:
        yield _with(check, in_words(list(check.hosts)))
    rest = checks[whole:]
    if rest:
        hosts = dict.fromkeys(host for check in rest for host in check.hosts)
        yield _with(rest[0], f"{counted(len(hosts), 'host')}, such as {rest[0].hosts[0]}")


def _with(check: Check, who: str) -> Check:
    return replace(check, message=f"{who}: {check.message}", hosts=())


def common_changes(found: Sequence[Examined]) -> tuple[dict[str, str | None], bool]:
    """Returns the options that should change on all hosts, and whether the hosts differ in what to change.

    An option that one host recommends to leave out is left out.
    """
    changes: dict[str, str | None] = {}
    undecided = False
    for name in dict.fromkeys(name for each in found for name in each.changes):
        values = {each.changes[name] for each in found if name in each.changes}
        if values == {None} or (len(values) == 1 and all(name in each.changes for each in found)):
            (changes[name],) = values
        else:
            undecided = True
    return changes, undecided


def same_clients(clients: Mapping[str, ClientInfo]) -> Iterator[Check]:
    """Checks that all hosts, by name, pull with the same client."""
    if len({client.name for client in clients.values()}) > 1:
        names = grouped((host, client.name) for host, client in clients.items())
        advice = "install one client on all hosts, or name it with --client"
        yield Check("client", FAILURE, f"the hosts have different clients: {names}", advice)
    elif len({client.version for client in clients.values()}) > 1:
        versions = grouped((host, str(client)) for host, client in clients.items())
        advice = "install the same version on all hosts, so that their figures can be compared"
        yield Check("client", WARNING, f"the hosts have different versions of the client: {versions}", advice)

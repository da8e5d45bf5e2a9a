"""The pieces of several hosts add up to the tally of one that did it all."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.latency import Latency
from lib.load.account import Account
from lib.load.closed import Sample, StepTally
from lib.load.event import Event
from lib.load.piece import IntervalEnd, Piece, Place
from lib.load.plan import Step
from lib.load.share import WHOLE, Share
from lib.load.tally import Tally
from lib.pieces.fold import Ended, Fold, Load
from lib.pieces.wire import PieceLine, decoded, encoded, piece_line, piece_of
from tests.properties.test_accounts import WORKERS, events

HOSTS = 3
# A pull or prune by a host, or the end of a step, of an interval or of a beat on all of them.
HAPPENINGS = st.lists(events() | st.sampled_from(["step", "interval", "beat"]), max_size=50)


class Host:
    """Counts its own events, and keeps the lines of its pieces."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.lines: list[str] = []
        self.tally = Tally(WORKERS, retries_known=True, on_sample=lambda _: None, cores=2.0)
        self.tally.on_piece = self.keep
        self.tally.sized = True

    def keep(self, piece: Piece, place: Place, interval: IntervalEnd | None) -> None:
        self.lines.append(encoded(piece_line(piece, place, interval)))

    def ended(self) -> list[Ended]:
        found = []
        for text in self.lines:
            line = decoded(text)
            assert isinstance(line, PieceLine)
            place = Place(line.number, line.sample, line.step, line.ends)
            found.append(Ended(piece_of(line), place, line.interval))
        return found


def carried_out(happenings: list[Event | str], tallies: list[Host]) -> list[Step]:
    """All hosts close intervals and steps at the same times. Host k gets each event whose worker has its number."""
    steps, at, begun = [], 0.0, 0.0
    for happening in [*happenings, "interval", "step", "load"]:
        at += 1.0
        if happening == "nothing":
            continue
        if isinstance(happening, Event):
            host = tallies[happening.worker % len(tallies)]
            event = happening._replace(ended=at, size=happening.retries)
            host.tally.add(event._replace(worker=happening.worker // len(tallies)))
            continue
        if happening == "step":
            steps.append(Step(len(tallies), "up", begun, at))
            begun = at
        for number, host in enumerate(tallies):
            if happening == "interval":
                host.tally.close_sample(at, 1, driver_cpu_seconds=at * (number + 1) / 10)
            elif happening == "step":
                host.tally.close_step(at, steps[-1])
            elif happening == "beat":
                host.tally.beat(at)
            else:
                host.tally.end(at, 0)
    return steps


def folded(steps: list[Step], hosts: list[Host], shuffle: Callable[[list[Any]], None]) -> Account:
    """The pieces of all hosts, in any order."""
    whole = Fold(Load(steps=steps, workers=WORKERS, retries_known=True, sized=True, hosts=len(hosts)))
    pieces = [(each, host.share.number_in_whole) for host in hosts for each in host.ended()]
    shuffle(pieces)
    for each, number_in_whole in pieces:
        whole.add(each, number_in_whole)
    return whole.finish()


@given(HAPPENINGS, st.integers(0, 100))
def test_hosts_add_up_to_the_whole(happenings: list[Event | str], seed: int) -> None:
    whole, hosts = Host(WHOLE), [Host(Share(number, HOSTS)) for number in range(1, HOSTS + 1)]
    steps = carried_out(happenings, [whole])
    assert carried_out(happenings, hosts) == [replace(step, workers=HOSTS) for step in steps]
    found, one = folded(steps, hosts, random.Random(seed).shuffle), whole.tally
    counts = replace(one.totals, client_cpu_seconds=0.0, examples={}, workers={})
    assert replace(found.totals, client_cpu_seconds=0.0, examples={}, workers={}) == counts
    assert found.totals.client_cpu_seconds == pytest.approx(one.client_cpu_seconds)
    assert found.totals.examples.keys() == one.examples.keys()
    for index, worker in found.totals.workers.items():
        assert worker == one.totals.workers[index]
    for ours, theirs in ((found.first, one.first), (found.repeat, one.repeat)):
        assert exact(ours.result()) == exact(theirs.result())
    assert found.drain == one.drain
    assert list(map(of_sample, found.samples)) == list(map(of_sample, one.samples))
    assert [each.cores for each in found.samples] == [2.0 * HOSTS] * len(one.samples)
    assert list(map(of_step, found.steps)) == list(map(of_step, one.steps))
    for merged, single in zip(found.steps, one.steps, strict=True):
        assert merged.rate == pytest.approx(single.rate)
        assert merged.bytes_per_second == pytest.approx(single.bytes_per_second)


@given(HAPPENINGS, st.integers(0, 100))
def test_beats_change_no_figure(happenings: list[Event | str], seed: int) -> None:
    """Nothing happens in their place, so that both loads have the same times."""
    found = []
    for silent in (True, False):
        hosts = [Host(Share(number, HOSTS)) for number in range(1, HOSTS + 1)]
        played = ["nothing" if silent and each == "beat" else each for each in happenings]
        steps = carried_out(played, hosts)
        found.append((folded(steps, hosts, random.Random(seed).shuffle), [host.tally for host in hosts]))
    (without, tallies), (with_beats, same_tallies) = found
    for one, other in [(without, with_beats), *zip(tallies, same_tallies, strict=True)]:
        assert of_account(other) == of_account(one)


def of_account(account: Account) -> tuple[object, ...]:
    """All its figures; sums of fractions may be rounded otherwise."""
    totals = replace(account.totals, client_cpu_seconds=round(account.client_cpu_seconds, 6), examples={})
    return (
        totals,
        *(exact(each.result()) for each in (account.latencies, account.first, account.repeat)),
        [(of_sample(each), each.workers, round(each.client_cpu_seconds, 6)) for each in account.samples],
        [(of_step(each), round(each.rate, 6)) for each in account.steps],
        account.drain,
    )


def exact(latency: Latency | None) -> Latency | None:
    """The latencies but for the mean, whose sum may be rounded otherwise."""
    return None if latency is None else msgspec.structs.replace(latency, mean=round(latency.mean, 6))


def of_sample(sample: Sample) -> tuple[object, ...]:
    """What does not depend on how many hosts there are."""
    counts = (sample.pulled, sample.failed, sample.errors, sample.retried, sample.bytes)
    return (sample.at, sample.seconds, exact(sample.latency), *counts)


def of_step(step: StepTally) -> tuple[object, ...]:
    counts = (step.pulled, step.failed, step.retried, step.bytes)
    return (step.seconds, exact(step.latency), *counts)

"""What the views read of a load on several hosts: each interval once, in order, and at the end the whole load."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.images import Image
from lib.load.closed import Sample
from lib.load.counts import Counts
from lib.load.event import PULL, Event
from lib.load.plan import Step
from lib.load.share import Share
from lib.outcomes import OK
from lib.pieces.fold import Ended
from lib.pieces.gathered import Gathered
from lib.pieces.part import Part
from lib.pieces.whole import Whole
from lib.pieces.wire import Header, StepLine, counts_line
from tests.pieces.test_fold import HAPPENINGS, HOSTS, Host, carried_out, folded, of_sample, of_step
from tests.properties.test_accounts import WORKERS

PATIENCE = 5.0
NEVER = 0.0
STARTED = datetime(2026, 1, 1, tzinfo=timezone.utc)


def header_of(share: Share, steps: Sequence[Step]) -> Header:
    return Header(
        version="1", host=f"host-{share.number}", share=str(share), cores=2.0, started=STARTED, clock_offset=0.0,
        began=0.0, command=(), settings={}, client=None, listed=1, foreign=0, images=1,
        image_sets=[("*", 1)] * share.count(WORKERS), workers=WORKERS, load="a load",
        steps=[StepLine(each.workers, each.direction, each.start, each.end) for each in steps], rates=None,
        retries_known=True, sized=True, sized_images=None, warm_up=None, machine=None, before=counts_line(Counts()),
    )  # fmt: skip


@dataclass
class Scene:
    """Hosts that have carried out a load, and an account that has heard nothing of it yet."""

    happenings: list[Event | str]
    hosts: list[Host] = field(init=False)
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hosts = [Host(Share(number, HOSTS)) for number in range(1, HOSTS + 1)]
        self.steps = carried_out(self.happenings, self.hosts)
        headers = [header_of(host.share, self.steps) for host in self.hosts]
        self.whole = Whole(headers[0])
        self.parts = [
            self.whole.begin(header.host, header, host.share)
            for header, host in zip(headers, self.hosts, strict=True)
        ]
        self.gathered = Gathered(self.whole, schedule=None, on_sample=self.samples.append, patience=PATIENCE)
        self.pieces = [host.ended() for host in self.hosts]

    def all_pieces(self) -> list[tuple[Part, Ended]]:
        return [
            (part, ended) for part, pieces in zip(self.parts, self.pieces, strict=True) for ended in pieces
        ]

    def take(self, host: int, number: int) -> None:
        """The account gets this piece of this host; both count from 0."""
        self.gathered.take(self.parts[host], self.pieces[host][number])


def check_the_end(scene: Scene) -> None:
    """At the end, the account is that of one load, and its intervals add up to its totals."""
    gathered, whole = scene.gathered, folded(scene.steps, scene.hosts, lambda _: None)
    assert list(map(of_sample, gathered.samples)) == list(map(of_sample, whole.samples))
    assert list(map(of_step, gathered.steps)) == list(map(of_step, whole.steps))
    assert gathered.drain == whole.drain
    drained = (gathered.drain.pulled, gathered.drain.failed) if gathered.drain else (0, 0)
    assert sum(each.pulled for each in gathered.samples) + drained[0] == gathered.pulled == whole.pulled
    assert sum(each.failed for each in gathered.samples) + drained[1] == gathered.failed == whole.failed
    assert gathered.latencies.count == whole.latencies.count
    assert gathered.errors == whole.errors
    assert [each.hosts for each in gathered.samples] == [HOSTS] * len(whole.samples)


@given(HAPPENINGS, st.integers(0, 100))
def test_pieces_in_any_order_close_each_interval_once_and_complete(
    happenings: list[Event | str], seed: int
) -> None:
    scene, chance = Scene(happenings), random.Random(seed)
    pieces = scene.all_pieces()
    chance.shuffle(pieces)
    for part, ended in pieces:
        scene.gathered.take(part, ended)
        scene.gathered.close(NEVER, scene.parts)
    seen = list(scene.samples)
    assert scene.gathered.samples == seen
    scene.gathered.finish()
    check_the_end(scene)
    # nothing came too late, so what was closed on the way is what stands at the end; the drain comes last
    assert list(map(of_sample, seen)) == list(map(of_sample, scene.gathered.samples))
    drain = [scene.gathered.drain] if scene.gathered.drain else []
    assert [each.pulled for each in scene.samples[len(seen) :]] == [each.pulled for each in drain]
    timed = [each.latency.count if each.latency else 0 for each in scene.samples]
    assert timed == [each.pulled for each in scene.samples]


@given(HAPPENINGS, st.integers(0, 100), st.sets(st.integers(0, HOSTS - 1)))
def test_with_delays_and_lost_hosts_each_interval_is_closed_once_and_in_order(
    happenings: list[Event | str], seed: int, lost: set[int]
) -> None:
    scene, chance = Scene(happenings), random.Random(seed)
    pieces = scene.all_pieces()
    chance.shuffle(pieces)
    left = [part for number, part in enumerate(scene.parts) if number not in lost]
    for part, ended in pieces:
        scene.gathered.take(part, ended)
        if chance.random() < 0.5:
            scene.gathered.close(chance.choice([NEVER, 2 * PATIENCE, 100.0]), left)
    scene.gathered.finish()
    check_the_end(scene)
    ends = [each.at for each in scene.samples]
    assert ends == sorted(set(ends))
    assert sum(each.pulled for each in scene.samples) <= scene.gathered.pulled


def pull(worker: int, seconds: float) -> Event:
    return Event(PULL, worker, 1, Image("app", "v1"), OK, 0.0, seconds)


def test_an_interval_waits_for_all_hosts_and_then_for_their_patience() -> None:
    scene = Scene([pull(0, 0.1), pull(1, 0.1), pull(2, 0.1), "interval"])  # it ends at second 4
    for host in range(HOSTS - 1):
        scene.take(host, 0)
    scene.gathered.close(4.0 + PATIENCE, scene.parts)
    assert (scene.samples, scene.gathered.pulled) == ([], 2)
    scene.gathered.close(4.1 + PATIENCE, scene.parts)
    (sample,) = scene.samples
    assert (sample.at, sample.pulled, sample.hosts, sample.workers) == (4.0, 2, 2, 2)
    scene.take(2, 0)
    scene.gathered.close(4.2 + PATIENCE, scene.parts)
    assert (len(scene.samples), scene.gathered.pulled) == (1, 3)
    for part, ended in scene.all_pieces():
        if ended.place.number:
            scene.gathered.take(part, ended)
    scene.gathered.finish()
    assert [(each.pulled, each.hosts) for each in scene.gathered.samples] == [(3, 3), (0, 3)]
    assert [each.at for each in scene.samples] == [4.0, 5.0]


def test_an_interval_does_not_wait_for_a_lost_host() -> None:
    scene = Scene([pull(0, 0.1), pull(1, 0.1), pull(2, 0.1), "interval"])
    for host in range(HOSTS - 1):
        scene.take(host, 0)
    scene.gathered.close(NEVER, scene.parts[:-1])
    assert [(each.pulled, each.hosts) for each in scene.samples] == [(2, 2)]


def test_a_host_whose_load_is_over_delays_no_interval() -> None:
    """With fixed work, a host may be ready long before the others."""
    scene = Scene([pull(0, 0.1), "interval"])
    last = scene.pieces[0][-1]
    scene.take(0, 0)
    for host in (1, 2):
        for number in range(len(scene.pieces[host])):
            scene.take(host, number)
    scene.gathered.close(NEVER, scene.parts)
    assert [each.hosts for each in scene.samples] == [HOSTS]
    scene.gathered.take(scene.parts[0], replace(last, place=last.place._replace(number=1)))
    scene.gathered.close(NEVER, scene.parts)
    assert [each.hosts for each in scene.samples] == [HOSTS, HOSTS - 1]
    assert [each.hosts for each in scene.gathered.steps] == [HOSTS - 1]


def test_the_open_interval_tells_its_latency() -> None:
    scene = Scene([*(pull(0, 0.1) for _ in range(5)), "interval"])
    assert scene.gathered.open_latency(2) is None
    scene.take(0, 0)
    latency = scene.gathered.open_latency(2)
    assert latency is not None
    assert (latency.count, latency.max) == (5, 100.0)
    assert scene.gathered.open_latency(6) is None
    scene.gathered.close(NEVER, scene.parts[:1])
    assert scene.gathered.open_latency(2) is None
    assert scene.gathered.latencies.count == 5


def test_a_host_has_its_own_counts_and_the_rate_of_its_last_pieces() -> None:
    scene = Scene([*(pull(0, 0.1) for _ in range(8)), "interval", pull(0, 0.1), "interval", "interval"])
    for number in range(3):
        scene.take(0, number)
    line = scene.gathered.line(scene.parts[0], "running", 12.0)
    assert (line.name, line.state, line.workers, line.last_piece) == ("host-1", "running", 1, 12.0)
    assert (line.pulled, line.failed, line.interrupted) == (9, 0, 0)
    # 8 pulls in the first 9 seconds, then 1 in 2 seconds, then none in 1: the last ones alone are too short
    assert line.rate == pytest.approx(9 / 12)
    assert scene.gathered.line(scene.parts[0], "lost", 12.0).rate == 0.0
    assert scene.gathered.line(scene.parts[1], "ready", None).rate == 0.0
    assert scene.gathered.rate_until(13.0) == pytest.approx(9 / 12)
    assert scene.gathered.rate_until(6.0) == pytest.approx(9 / 6)


def test_prometheus_gets_the_buckets_that_one_host_would_count() -> None:
    seconds = [0.0042, 0.012, 0.012, 0.9, 7.0, 400.0]
    scene = Scene([*(pull(number % HOSTS, each) for number, each in enumerate(seconds)), "interval"])
    for part, ended in scene.all_pieces():
        scene.gathered.take(part, ended)
    first, repeat = scene.gathered.buckets()
    counts = [0] * len(first.counts)
    for host in scene.hosts:
        counts = list(map(sum, zip(counts, host.tally.repeat_buckets.counts, strict=True)))
    assert repeat.counts == counts
    assert repeat.sum == pytest.approx(sum(seconds))
    assert not any(first.counts)


def test_the_cpu_time_of_the_drivers_adds_up() -> None:
    scene = Scene([pull(0, 0.1), "interval"])
    for host in range(HOSTS):
        scene.take(host, 0)
    # host k has used k tenths of each of the 2 seconds
    assert scene.gathered.elsewhere_cpu_seconds == pytest.approx(2 * (0.1 + 0.2 + 0.3))


def test_it_gives_back_no_pull_twice() -> None:
    """Reading at the end changes nothing: the summary is made after it."""
    scene = Scene([pull(0, 0.1), "interval", pull(1, 0.2)])
    for part, ended in scene.all_pieces():
        scene.gathered.take(part, ended)
    scene.gathered.finish()
    before = scene.gathered.pulled, [each.pulled for each in scene.gathered.samples]
    scene.whole.fold.finish()
    assert (scene.gathered.pulled, [each.pulled for each in scene.gathered.samples]) == before

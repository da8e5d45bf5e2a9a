"""Who pulls which image when: a worker its own images, or any worker the images of the next number."""

from __future__ import annotations

import threading
from collections import Counter
from random import Random

import pytest

from lib.images import Image, ImageSet
from lib.load.curve import Curve, Rate
from lib.load.order import AsListed
from lib.load.pace import Schedule
from lib.load.turns import OwnTurns, SharedTurns, Turn

NEVER = threading.Event()


def image_set(name: str, count: int) -> ImageSet:
    return ImageSet(name, tuple(Image(f"{name}{k}", "v1") for k in range(count)))


def due_already(pulls: int) -> Schedule:
    """A schedule of which so many pulls are due and no more will be."""
    schedule = Schedule(Curve(((Rate(float(pulls), float(pulls)), 1.0),)))
    schedule.begin(-1e9)
    return schedule


def shared(pulls: int, *sets: ImageSet, batch: int = 1, shuffled: bool = False) -> SharedTurns:
    orders = [AsListed(each, Random(k) if shuffled else None) for k, each in enumerate(sets)]
    return SharedTurns(due_already(pulls), sets, batch=batch, orders=orders)


def take(turns: SharedTurns, count: int) -> list[Turn]:
    taken = [turns.next(NEVER) for _ in range(count)]
    return [turn for turn in taken if turn is not None]


def names(turns: list[Turn]) -> list[str]:
    return ["+".join(image.repository for image in turn.images) for turn in turns]


def test_image_sets_take_turns_and_each_goes_through_its_images() -> None:
    turns = take(shared(8, image_set("a", 2), image_set("b", 3)), 8)
    assert names(turns) == ["a0", "b0", "a1", "b1", "a0", "b2", "a1", "b0"]
    assert [(turn.image_set, turn.pass_number) for turn in turns[-4:]] == [(0, 2), (1, 1), (0, 2), (1, 2)]


@pytest.mark.parametrize("slow", [0.05, 0.5, 1.0, 2.0, 3.0])
def test_the_servers_speed_does_not_decide_which_images_are_pulled(slow: float) -> None:
    """Ten workers and 20 pulls per second; every second image is big. Whoever is free takes the next pull."""
    turns, free = shared(1200, image_set("big", 5), image_set("small", 5)), [0.0] * 10
    pulled: Counter[str] = Counter()
    for number in range(1200):
        worker = min(range(10), key=free.__getitem__)
        [turn] = take(turns, 1)
        kind = turn.images[0].repository[:-1]
        pulled[kind] += 1
        free[worker] = max(free[worker], number / 20) + (slow if kind == "big" else 0.05)
    assert abs(pulled["big"] - 600) <= 1


def test_batches_are_of_one_set() -> None:
    turns = take(shared(12, image_set("a", 5), image_set("b", 2), batch=2), 6)
    assert names(turns) == ["a0+a1", "b0+b1", "a2+a3", "b0+b1", "a4", "b0+b1"]


def test_sets_of_different_sizes_have_equal_shares_of_the_pulls_in_batches() -> None:
    turns = take(shared(400, image_set("small", 5), image_set("big", 20), batch=10), 60)
    assert {(turn.image_set, len(turn.images)) for turn in turns} == {(0, 5), (1, 10)}
    pulled: Counter[int] = Counter()
    for turn in turns:
        pulled[turn.image_set] += len(turn.images)
        assert abs(pulled[0] - pulled[1]) <= 10
    assert pulled == {0: 200, 1: 200}


def test_each_pass_is_shuffled_by_its_own_seed() -> None:
    first, again = (
        names(take(shared(40, image_set("a", 10), image_set("b", 10), shuffled=True), 40)) for _ in range(2)
    )
    assert first == again
    passes = [first[k:20:2] for k in (0, 1)], [first[20 + k :: 2] for k in (0, 1)]
    for before, after in zip(*passes, strict=True):
        assert sorted(before) == sorted(after)
        assert before != after


def test_half_a_pass_is_pruned_when_all_its_launches_have_ended() -> None:
    turns = shared(100, image_set("a", 4), image_set("b", 4))
    taken = take(turns, 8)
    of_a = [turn for turn in taken if turn.image_set == 0]
    assert turns.ended(of_a[1], of_a[1].images) == ()
    assert [image.repository for image in turns.ended(of_a[0], of_a[0].images)] == ["a1", "a0"]
    assert turns.ended(of_a[3], []) == ()  # it failed
    assert turns.passes(0) == 0
    assert [image.repository for image in turns.ended(of_a[2], of_a[2].images)] == ["a2"]
    assert (turns.passes(0), turns.passes(1)) == (1, 0)


def test_after_the_last_pull_a_worker_waits_for_the_end() -> None:
    turns, stopping = shared(1, image_set("a", 1)), threading.Event()
    assert turns.next(stopping) is not None
    threading.Timer(0.05, stopping.set).start()
    assert turns.next(stopping) is None
    assert stopping.is_set()


def test_who_is_stopped_while_waiting_gives_the_pull_back() -> None:
    schedule, stopping = Schedule(Curve(((Rate(0.5, 0.5), 10.0),))), threading.Event()
    schedule.begin(1e9)
    one = image_set("a", 1)
    turns = SharedTurns(schedule, [one], batch=1, orders=[AsListed(one)])
    stopping.set()
    assert turns.next(stopping) is None
    assert schedule.taken == 0


def test_a_batch_takes_the_time_of_as_many_pulls() -> None:
    schedule = Schedule(Curve(((Rate(1000, 1000), 5.0),)))
    schedule.begin(-1e9)
    many = image_set("a", 60)
    turns = SharedTurns(schedule, [many], batch=20, orders=[AsListed(many)])
    assert [turn.due + 1e9 for turn in take(turns, 3)] == pytest.approx([0.0, 0.02, 0.04])


def test_a_worker_of_the_closed_model_passes_over_its_own_images() -> None:
    turns = OwnTurns(3, AsListed(image_set("a", 3)), batch=2, passes=2)
    taken = []
    pruned = []
    while (turn := turns.next(NEVER)) is not None:
        taken.append(turn)
        pruned.append([image.repository for image in turns.ended(turn, turn.images)])
    assert names(taken) == ["a0+a1", "a2", "a0+a1", "a2"]
    assert {turn.image_set for turn in taken} == {3}
    assert pruned == [[], ["a0", "a1", "a2"], [], ["a0", "a1", "a2"]]
    assert turns.passes(3) == 2


def test_a_stopped_worker_gets_no_launch() -> None:
    stopping = threading.Event()
    stopping.set()
    assert OwnTurns(0, AsListed(image_set("a", 1)), batch=1, passes=None).next(stopping) is None

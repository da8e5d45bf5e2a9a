"""The trials of a capacity search in the process of a host, with a controller that the test plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import UnsetType

from lib.hosts.protocol import Armed, EndTrial, FirstOrder, Note, Ready, Refused, Started, Trial
from lib.lab.servers import lab_cache
from lib.load.pulls import Pull, unpack
from lib.pieces.wire import End, PieceLine
from tests.doubles.fake_crane import install, launches, wait_for_launches
from tests.support.driving import NOBODY
from tests.support.hosting import Controller, first_order
from tests.support.upstream import Upstream

IMAGES = ("ok/a:1", "ok/b:1", "refused/c:1", "ok/d:1")


@pytest.fixture
def client(tmp_path: Path) -> Path:
    return install(tmp_path / "bin")


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with Controller(tmp_path) as controller:
        yield controller


def order(client: Path, *words: object, images: tuple[str, ...] = IMAGES, share: str = "1/1") -> FirstOrder:
    given = (*NOBODY, f"--client={client}", "--rate=1", "--duration=1", *words)
    return of_trials(first_order(images, *given, workers=min(2, len(images)), share=share))


def of_trials(first: FirstOrder) -> FirstOrder:
    return msgspec.structs.replace(first, trials=True)


def begin_trial(controller: Controller, number: int, rate: float, seconds: float) -> Started:
    """Has it begin a trial. It says that it is ready once more than there are trials."""
    controller.send(Trial(number=number, rate=rate, seconds=seconds))
    controller.hear(Ready, number + 1)
    controller.arm()
    controller.hear(Armed, number)
    return controller.hear(Started, number)


def pieces_of(controller: Controller, number: int) -> list[PieceLine]:
    """The pieces of a trial, which has ended."""
    controller.hear(End, number)
    found: list[list[PieceLine]] = [[]]
    for body in controller.bodies:
        if isinstance(body, PieceLine):
            found[-1].append(body)
        elif isinstance(body, End):
            found.append([])
    return found[number - 1]


def pulls_of(controller: Controller, number: int) -> list[Pull]:
    found = []
    for piece in pieces_of(controller, number):
        assert not isinstance(piece.pulls, UnsetType)
        pulls = unpack(piece.pulls)
        counted = piece.counts.numbers
        assert len(pulls) == sum(counted.get(name, 0) for name in ("pulled", "failed", "interrupted"))
        found += pulls
    return found


def test_it_is_prepared_once_and_each_trial_has_its_pulls(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--deal=all"))
    for number, (rate, seconds) in enumerate([(20.0, 1.0), (40.0, 0.5)], start=1):
        started = begin_trial(controller, number, rate, seconds)
        assert [(each.first, each.seconds) for each in started.header.rates or ()] == [(rate, seconds)]
        end = controller.hear(End, number)
        pulls = pulls_of(controller, number)
        assert len(pulls) == 20 - end.unstarted
        assert all(-0.001 < pull.due < seconds for pull in pulls)
        assert {(pull.outcome, pull.error_class) for pull in pulls} == {("ok", None), ("failed", "refused")}
        assert sum(pull.first for pull in pulls if pull.outcome == "ok") <= 3
        assert [piece.number for piece in pieces_of(controller, number)] == list(range(end.pieces))
        assert (end.reason, end.interrupted) == (None, False)
    assert controller.notes.count("client crane") == 1
    assert controller.leave() == ""
    assert controller.all(Refused) == []
    assert "interrupted" not in controller.notes


def test_it_takes_its_share_of_the_schedule(client: Path, tmp_path: Path) -> None:
    due = []
    for share in ("1/2", "2/2"):
        (tmp_path / share[0]).mkdir()
        with Controller(tmp_path / share[0]) as controller:
            controller.send(order(client, "--deal=all", share=share))
            begin_trial(controller, 1, 20.0, 1.0)
            assert controller.hear(End).unstarted == 0
            due.append(sorted(round(pull.due, 4) for pull in pulls_of(controller, 1)))
            assert controller.leave() == ""
    assert due[0] == pytest.approx([0.05 * number for number in range(0, 20, 2)], abs=0.001)
    assert due[1] == pytest.approx([0.05 * number for number in range(1, 20, 2)], abs=0.001)


def test_a_trial_can_end_early_and_the_next_one_begins(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--deal=all", "--tally-seconds=0.2"))
    controller.hear(Ready)
    begin_trial(controller, 1, 20.0, 1000.0)
    controller.hear(PieceLine)
    controller.send(EndTrial(0), EndTrial(2))  # of other trials
    controller.hear(PieceLine, len(controller.all(PieceLine)) + 2)
    controller.send(EndTrial(1), EndTrial(1))
    end = controller.hear(End)
    assert (end.reason, end.interrupted) == (None, False)
    assert end.elapsed < 900
    begin_trial(controller, 2, 20.0, 0.5)
    assert len(pulls_of(controller, 2)) + controller.hear(End, 2).unstarted == 10
    assert controller.leave() == ""


def test_the_same_order_is_carried_out_once(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--deal=all"))
    controller.hear(Ready)
    again = Trial(number=1, rate=20.0, seconds=0.5)
    controller.send(again, again)
    begin_trial(controller, 1, 99.0, 9.0)
    controller.hear(End)
    controller.send(again)
    begin_trial(controller, 2, 10.0, 0.5)
    controller.hear(End, 2)
    assert len(controller.all(Ready)) == 3
    assert controller.leave() == ""


def test_with_prune_each_trial_begins_cold(upstream: Upstream, crane: str, controller: Controller) -> None:
    with lab_cache(upstream.address) as cache:
        controller.send(
            of_trials(
                first_order(
                    upstream.images, f"--pullthrough-url={cache.url}", f"--registry-url={upstream.url}",
                    f"--client={crane}", "--prune", "--rate=1", "--duration=1",
                )
            )
        )  # fmt: skip
        for number in (1, 2):
            started = begin_trial(controller, number, 6.0, 1.0)
            assert started.header.before.numbers["pruned"] == len(upstream.images)
            pulls = pulls_of(controller, number)
            assert pulls
            assert all(pull.first for pull in pulls)
        assert controller.leave() == ""


def test_a_warm_up_comes_before_the_first_trial_only(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--warm-up", images=("ok/a:1", "ok/b:1")))
    controller.hear(Ready)
    assert len(launches(client)) == 2
    begin_trial(controller, 1, 4.0, 0.5)
    controller.hear(End)
    begin_trial(controller, 2, 4.0, 0.5)
    ended = [controller.hear(End, number) for number in (1, 2)]
    assert len(launches(client)) == 2 + 4 - sum(each.unstarted for each in ended)
    assert controller.leave() == ""


def test_a_stop_ends_the_trial_and_the_search(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--grace=0.1", images=("stubborn/a:1",)))
    begin_trial(controller, 1, 4.0, 100.0)
    wait_for_launches(client, count=1)
    controller.lease(stop=1)
    end = controller.hear(End)
    assert (end.reason, end.interrupted) == ("interrupted by SIGTERM", True)
    assert {pull.outcome for pull in pulls_of(controller, 1)} == {"interrupted"}
    assert controller.leave() == ""
    warnings = [note.text for note in controller.all(Note) if note.caution]
    assert not [text for text in warnings if text.startswith("stopping")]  # the controller warns of it


def test_a_stop_between_two_trials_ends_the_search(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--deal=all"))
    begin_trial(controller, 1, 4.0, 0.5)
    controller.hear(End)
    controller.lease(stop=1)
    assert controller.hear(Refused).reason == "interrupted by SIGTERM"
    assert controller.leave() == ""


def test_without_a_controller_it_ends_at_once_and_keeps_nothing(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--grace=0.1", images=("stubborn/a:1",)))
    begin_trial(controller, 1, 4.0, 100.0)
    wait_for_launches(client, count=1)
    assert controller.close() == ""
    assert list(controller.folder.iterdir()) == []


def test_images_that_cannot_be_pruned_end_it(client: Path, controller: Controller) -> None:
    controller.send(order(client, "--prune", images=("ok/a:1", "ok/b:1")))
    controller.hear(Refused)
    assert controller.leave() == ""

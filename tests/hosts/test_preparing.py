"""The hosts get ready, or the run ends with all that is wrong; and nothing of them is left."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lib.errors import RunError, Stopped
from lib.hosts.preparing import share_images, share_repositories
from lib.hosts.protocol import Begin, Bye, Driving, Lease
from lib.hosts.selected import unpack
from lib.images import Image, ImageSet, deal, deal_all
from lib.listing.selection import Selection
from lib.load.share import Share
from tests.support.controlling import Control
from tests.support.fake_fleet import Scene


def refusal(control: Control) -> str:
    with pytest.raises(RunError) as raised:
        control.prepare()
    control.bye()
    text = str(raised.value)
    assert "\n" not in text
    return text


def left(control: Control) -> list[bool]:
    """For each host that has a process: whether it has left."""
    return [host.process.left for host in control.fleet.hosts.values() if host.process is not None]


def test_each_host_gets_its_share() -> None:
    control = Control(3, Scene(workers=7))
    control.prepare()
    found = []
    for _, request in control.fleet.asked_of(Begin):
        assert isinstance(request, Begin)
        selection = unpack(request.order.selection)
        found.append(
            (request.order.share, len(selection.image_sets), request.order.host, request.by, request.lock)
        )
        assert selection.total == 7
        assert request.order.run == "run-1"
        assert request.order.beat_seconds == 2.0
    assert found == [
        ("1/3", 3, "load-1", "me on here", "host"),
        ("2/3", 2, "load-2", "me on here", "host"),
        ("3/3", 2, "load-3", "me on here", "host"),
    ]


def test_all_that_is_wrong_is_told_and_all_processes_end() -> None:
    control = Control(5)
    for number in (1, 2, 4):
        control[number].refusal = "crane not found"
    control[5].refusal, control[5].usage, control[5].prepare_seconds = "cannot read /cert", True, 5.0
    assert refusal(control) == (
        "the load did not begin: 3 hosts (load-1, load-2, load-4): crane not found; host load-5: cannot read /cert"
    )
    assert left(control) == [True] * 5


def test_a_host_that_prepares_for_long_does_not_hold_up_a_refusal() -> None:
    control = Control(2)
    control[1].refusal, control[2].prepare_seconds = "no room", 1000.0
    before = control.time.now
    assert refusal(control) == "the load did not begin: host load-1: no room"
    assert control.time.now - before < 15
    assert left(control) == [True, True]


def test_a_machine_that_drives_another_run() -> None:
    control = Control(2)
    control[2].locked_by = Driving(run="other", since="2026-01-31 12:01:00", by="joe on there")
    assert refusal(control) == (
        "the load did not begin: host load-2: it has been driving another run since 2026-01-31 12:01:00 (by joe on "
        "there)"
    )
    assert left(control) == [True]


def test_a_host_that_prepares_for_an_hour_gets_leases() -> None:
    control = Control(2)
    control[2].prepare_seconds = 3600.0
    control.prepare()
    moments = [at for at, _ in control.fleet.orders(Lease, control[2])]
    assert len(moments) > 700
    assert max(later - earlier for earlier, later in pairwise(moments)) < 5.5


def test_hosts_that_have_begun_get_leases_while_others_begin() -> None:
    control = Control(2)
    control[2].begin_seconds = 50.0
    control.prepare()
    assert control.cautions == []
    assert len(control.fleet.orders(Lease, control[1])) >= 9


def test_a_begin_without_an_answer() -> None:
    control = Control(2)
    control[2].begin_seconds = 1000.0
    assert refusal(control) == "the load did not begin: host load-2: no answer within 60s"
    # it may have begun although it did not say so
    assert left(control) == [True, True]


def test_messages_that_come_before_the_answer_count() -> None:
    control = Control(2)
    control[2].begin_seconds, control[2].prepare_seconds = 10.0, 0.1
    control.prepare()
    assert [each.state for each in control.members] == ["ready", "ready"]


def test_a_host_that_is_lost_while_it_prepares() -> None:
    control = Control(2)
    control[2].prepare_seconds = 100.0
    control.time.after(10, lambda: control.fleet.lose(control[2], "its Dask worker is gone"))
    assert refusal(control) == "the load did not begin: host load-2: its Dask worker is gone"
    assert left(control) == [True, False]
    assert control.fleet.asked_of(Bye, control[2]) == []


def test_a_scheduler_that_is_lost_while_hosts_prepare() -> None:
    control = Control(2)
    control[2].prepare_seconds = 100.0
    control.time.after(10, control.fleet.lose_scheduler)
    before = control.time.now
    assert refusal(control) == (
        "lost the scheduler (connection refused) before the load began; repeat the run"
    )
    assert control.time.now - before < 12


@pytest.mark.parametrize("seconds", [0.0025, 0.3, 3.0, 20.0])
def test_a_signal_ends_the_preparation_and_all_processes(seconds: float) -> None:
    """Also while `Begin` has no answer yet."""
    control = Control(3)
    control[2].prepare_seconds, control[3].begin_seconds = 100.0, 10.0
    control.time.after(seconds, lambda: control.fleet.signal(1))
    with pytest.raises(Stopped):
        control.prepare()
    control.bye()
    assert left(control) == [True] * 3


def test_the_end_waits_for_the_answers_but_not_for_ever() -> None:
    control = Control(2)
    control.prepare()
    control.fleet.freeze(control[2], 1000)
    before = control.time.now
    control.bye()
    assert 19 < control.time.now - before < 21
    assert control.logs[-1] == "these hosts did not confirm the end of the run: load-2"


def test_the_end_hardly_waits_for_a_host_that_is_lost() -> None:
    control = Control(2)
    control.prepare()
    control.fleet.freeze(control[2], 1000)
    control.hearing.pause(40)
    before = control.time.now
    control.bye()
    assert control.time.now - before < 6


def test_a_further_signal_does_not_wait_for_the_end() -> None:
    control = Control(2)
    control.prepare()
    control.fleet.freeze(control[2], 1000)
    control.time.after(2, lambda: control.fleet.signal(2))
    before = control.time.now
    control.bye()
    assert control.time.now - before < 2.5


def test_the_end_after_a_lost_scheduler_takes_no_time() -> None:
    control = Control(2)
    control.prepare()
    control.fleet.lose_scheduler()
    control.hearing.pause(0.5)
    before = control.time.now
    control.bye()
    assert control.time.now - before < 0.5


def selection_with(sets: list[ImageSet]) -> Selection:
    return Selection(listed=9, image_sets=tuple(sets), lengths=tuple(len(each.images) for each in sets))


def test_hosts_that_share_images_are_found() -> None:
    images = [Image(f"app{number}", "v1") for number in range(6)]
    control = Control(3)
    members = control.gather()
    for number, member in enumerate(members, start=1):
        member.share = Share(number, 3)
    assert not share_images(members, selection_with(deal(images, 6)))
    assert share_images(members, selection_with(deal_all(images, 6, apart=False)))
    # workers of one host share images, hosts do not
    own = ImageSet("a", tuple(images[:2]))
    others = [ImageSet("b", (images[2],)), ImageSet("c", (images[3],))]
    assert not share_images(members, selection_with([own, *others, own, *others]))
    assert share_images(members, selection_with([own, *others, *others, own]))
    tags = [Image("app", f"v{number}") for number in range(6)]
    assert not share_repositories(members, selection_with(deal(images, 6)))
    assert share_repositories(members, selection_with(deal(tags, 6)))
    assert not share_images(members, selection_with(deal(tags, 6)))

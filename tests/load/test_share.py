"""Shares of a load are a partition of it: of its workers, of its pulls on a schedule, and of its images."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import UsageError
from lib.load.arrivals import Even, Poisson
from lib.load.curve import Curve, Rate
from lib.load.pace import Schedule
from lib.load.ramp import plan_ramp
from lib.load.share import WHOLE, Share, parse_share
from tests.doubles.fake_crane import image_list, install
from tests.support.driving import NOBODY, drive

HOSTS = st.integers(1, 12)


def shares(of: int) -> list[Share]:
    return [Share(number, of) for number in range(1, of + 1)]


@given(HOSTS, st.integers(0, 50))
def test_the_workers_of_the_shares_are_those_of_the_load(of: int, workers: int) -> None:
    picked = [share.pick(range(workers)) for share in shares(of)]
    assert sorted(chain(*picked)) == list(range(workers))
    for share, own in zip(shares(of), picked, strict=True):
        assert [share.number_in_whole(place) for place in range(len(own))] == list(own)
        assert share.count(workers) == len(own)


@given(HOSTS, st.integers(1, 30))
def test_the_steps_of_the_shares_add_up(of: int, workers: int) -> None:
    plan = plan_ramp(workers, 2.0)
    parts = [plan.share(share) for share in shares(of)]
    for place, step in enumerate(plan.steps):
        own = [part.steps[place] for part in parts]
        assert sum(each.workers for each in own) == step.workers
        assert {(each.start, each.end, each.direction) for each in own} == {
            (step.start, step.end, step.direction)
        }


@given(HOSTS, st.floats(0.5, 40), st.floats(0.5, 40), st.floats(0, 12), st.booleans())
def test_the_pulls_of_the_shares_are_those_of_the_schedule(
    of: int, first: float, last: float, second: float, poisson: bool
) -> None:
    curve = Curve(((Rate(first, last), 10.0),))

    def schedule(share: Share = WHOLE) -> Schedule:
        return Schedule(curve, Poisson(3) if poisson else Even(), share)

    def due(made: Schedule) -> list[float]:
        found: list[float] = []
        while (at := made.second_of(len(found))) < 1e9:
            found.append(at)
        return found

    whole, parts = schedule(), [schedule(share) for share in shares(of)]
    assert sorted(chain(*map(due, parts))) == due(whole)
    assert sum(part.due_pulls(second) for part in parts) == whole.due_pulls(second)
    assert sum(part.unstarted(second) for part in parts) == whole.unstarted(second)
    offered = whole.offered(0.0, 5.0)
    assert offered is not None
    assert sum(part.offered(0.0, 5.0) or 0.0 for part in parts) == pytest.approx(offered)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 / 2", "1/\u0661"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--share"):
        parse_share("--share", text)


@pytest.mark.parametrize("more", [[], ["--deal=all", "--draw=zipf:1", "--seed=4"]])
def test_the_shares_of_a_run_make_its_pulls(tmp_path: Path, more: list[str]) -> None:
    client = install(tmp_path / "bin")
    names = image_list(client, [f"ok/app{number}:1" for number in range(9)])
    words = (*NOBODY, f"--image-list={names}", f"--client={client}", "--workers=5", "--passes=2", *more)
    (tmp_path / "whole").mkdir()
    whole = drive(tmp_path / "whole", *words)
    found = []
    for share in shares(3):
        folder = tmp_path / str(share.number)
        folder.mkdir()
        ended = drive(folder, *words, f"--share={share}")
        assert (ended.status, ended.summary["settings"]["share"]) == (0, str(share))
        ended.check_accounts()
        found += [(event["worker"], event["image"]) for event in ended.events]
    assert sorted(found) == sorted((event["worker"], event["image"]) for event in whole.events)
    assert len(found) == whole.summary["pulled"] > 0


def test_a_share_without_a_worker_is_refused(tmp_path: Path) -> None:
    client = install(tmp_path / "bin")
    names = image_list(client, ["ok/a:1", "ok/b:1"])
    ended = drive(
        tmp_path, *NOBODY, f"--image-list={names}", f"--client={client}", "--workers=2", "--share=3/3"
    )
    assert ended.status == 1
    assert "--share 3/3 has no worker, because the load has 2 workers" in ended.stderr


def test_random_gaps_need_the_same_seed_on_all_machines(tmp_path: Path) -> None:
    client = install(tmp_path / "bin")
    words = (*NOBODY, f"--client={client}", "--workers=2", "--rate=3", "--arrivals=poisson", "--share=1/2")
    ended = drive(tmp_path, *words)
    assert (ended.status, ended.stderr.count("\n")) == (2, 1)
    assert "needs --seed" in ended.stderr

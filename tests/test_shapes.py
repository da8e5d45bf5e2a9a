"""Every shape of the load against a real docker-registry as a proxy: its log has what the driver counts.

How many workers run when does not depend on the speed of the machine: the plan says it, and the log tells each start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.lab.servers import Server, docker_registry_proxy
from tests.doubles.fake_crane import image_list
from tests.support.driving import NOBODY, Ended, drive
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.test_pull_through import served


@pytest.fixture(scope="module")
def proxy(upstream: Upstream) -> Iterator[Server]:
    with docker_registry_proxy(upstream.url) as server:
        yield server


# For each shape: its options, and its steps as (workers, direction, seconds).
SHAPES: dict[str, tuple[list[str], list[tuple[int, str, float]]]] = {
    "hold": (
        ["--hold=1s", "--iteration-seconds=0.5"],
        [(1, "up", 0.5), (2, "up", 0.5), (3, "hold", 1), (2, "down", 0.5), (1, "down", 0.5)],
    ),
    "duration": (["--duration=1.5s"], [(3, "hold", 1.5)]),
    "stages": (
        ["--stage=1500ms:3", "--stage=1s:3", "--stage=0.5s:1", "--stage=500ms:2"],
        [*((n, "up", 0.5) for n in range(3)), (3, "hold", 1), (3, "down", 0.25), (2, "down", 0.25), (1, "up", 0.5)],
    ),
    "rate": (["--duration=2s", "--rate=8"], [(3, "hold", 2)]),
    "stages of rates": (
        ["--stage=1s:8/s", "--stage=1s:8/s", "--stage=1s:0/s"],
        [(3, "up", 1), (3, "hold", 1), (3, "down", 1)],
    ),
    "poisson": (["--duration=2s", "--rate=8", "--arrivals=poisson", "--seed=3"], [(3, "hold", 2)]),
    "draw": (["--draw=zipf:1", "--passes=2", "--seed=5"], []),
}  # fmt: skip


def pulled_through(
    proxy: Server, upstream: Upstream, crane: str, folder: Path, *options: str
) -> tuple[Ended, Counter[str]]:
    """A run, and what the server's log says of it."""
    begun = proxy.log_path.stat().st_size
    ended = drive(
        folder,
        *(f"--pullthrough-url={proxy.address}", f"--registry-url={upstream.url}", "--layout=distribution"),
        *(f"--client={crane}", "--workers=3", "--tally-seconds=0.5", *options),
    )
    wait_until(lambda: served(proxy.log_path, begun).total() >= ended.summary["pulled"])
    return ended, served(proxy.log_path, begun)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_log_of_the_server_has_what_the_driver_counts(
    shape: str, proxy: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    options, steps = SHAPES[shape]
    ended, logged = pulled_through(proxy, upstream, crane, tmp_path, *options)
    assert (ended.status, ended.summary["failed"]) == (0, 0)
    ended.check_accounts()
    assert logged == Counter(event["image"] for event in ended.events if event["outcome"] == "ok")
    assert logged.total() == ended.summary["pulled"] > 0
    if steps:
        found = [(each["workers"], each["direction"]) for each in ended.summary["steps"]]
        assert found == [(workers, direction) for workers, direction, _ in steps]
        lengths = [each["seconds"] for each in ended.summary["steps"]]
        assert lengths == pytest.approx([seconds for _, _, seconds in steps], abs=1e-6)


def test_the_summary_of_a_plain_ramp_names_no_other_shape(tmp_path: Path) -> None:
    """So the file of a plain ramp is that of a version without these options."""
    ended = drive(
        tmp_path, *NOBODY, f"--image-list={image_list(tmp_path / 'crane', ['ok/a:1'])}", "--dry-run", "--workers=1",
        "--iteration-seconds=0.1",
    )  # fmt: skip
    assert ended.status == 0
    later = {
        "passes",
        "hold",
        "duration",
        "stage",
        "stages",
        "arrivals",
        "draw",
        "deal",
        "herd",
        "herds",
        "warm_up",
    }
    assert not later & {*ended.summary, *ended.summary["settings"], *ended.events[0]}


def test_a_schedule_starts_as_many_pulls_as_are_due(
    proxy: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    """What a slow machine does not start is `unstarted`, so that the sum is the same everywhere."""
    ended, _ = pulled_through(proxy, upstream, crane, tmp_path, *SHAPES["stages of rates"][0])
    assert ended.summary["pulled"] + ended.summary["unstarted"] == 16
    assert [each["offered"] for each in ended.summary["steps"]] == pytest.approx([4, 8, 4])


def test_two_runs_with_the_same_seed_draw_the_same_images(
    proxy: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    drawn = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        ended, _ = pulled_through(
            proxy, upstream, crane, tmp_path / name, "--draw=zipf:1", "--passes=3", f"--seed={seed}"
        )
        assert ended.summary["pulled"] == 3 * len(upstream.images)
        assert f"draw zipf:1, arrivals even, seed {seed}" in ended.log
        drawn.append(
            {
                worker: [event["image"] for event in ended.events if event["worker"] == worker]
                for worker in range(3)
            }
        )
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_seed_is_chosen_and_can_be_given_again(
    proxy: Server, upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    ended, _ = pulled_through(proxy, upstream, crane, tmp_path, "--draw=uniform", "--passes=1")
    seed = ended.summary["settings"]["seed"]
    assert f"draw uniform, arrivals even, seed {seed}" in ended.log
    (tmp_path / "again").mkdir()
    again, _ = pulled_through(
        proxy, upstream, crane, tmp_path / "again", "--draw=uniform", "--passes=1", f"--seed={seed}"
    )
    images = [Counter(event["image"] for event in each.events) for each in (ended, again)]
    assert images[0] == images[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--hold=2", "--duration=3"], "--hold and --duration are two shapes of the load"),
        (["--duration=3", "--passes=3"], "--duration and --passes are two shapes of the load"),
        (["--stage=2s:2", "--passes=3"], "--stage and --passes are two shapes of the load"),
        (["--stage=2s:4"], "--stage goes up to 4 workers, but there are 3"),
        (["--stage=2s:3", "--rate=5"], "--stage and --rate cannot be combined"),
        (["--stage=2s:3", "--iteration-seconds=5"], "--stage has no --iteration-seconds"),
        (["--duration=2s", "--iteration-seconds=5"], "--duration has no --iteration-seconds"),
        (["--arrivals=poisson"], "--arrivals poisson needs a schedule"),
        (["--stage=2s:3", "--arrivals=poisson"], "--arrivals poisson needs a schedule"),
        (["--draw=uniform", "--shuffle"], "--draw and --shuffle are two orders"),
        (["--passes=2", "--rate=2"], "--passes and --rate cannot be combined"),
        (["--duration=5x"], "'5x' is not a time"),
    ],
)
def test_shapes_that_cannot_be_combined(options: list[str], told: str, tmp_path: Path) -> None:
    ended = drive(tmp_path, "--pullthrough-url=a:1", "--registry-url=b:1", "--workers=3", *options)
    assert (ended.status, ended.stderr.count("\n")) == (2, 1)
    assert told in ended.stderr

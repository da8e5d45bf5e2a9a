"""The commands that doctor prints for what comes next."""

from __future__ import annotations

import click
import pytest

from lib.cli import check_load_test
from lib.doctor.command import doctor
from lib.doctor.next_steps import next_steps
from lib.options.settings import Settings, make_settings

SERVERS = ("--pullthrough-url", "cache:8080", "--registry-url=up.local:5000")


def settings(*words: str) -> Settings:
    with doctor.make_context("doctor", list(words)) as context:
        options = dict(context.params)
    options.pop("as_json")
    return make_settings(options)


def test_each_command_keeps_the_servers_and_has_a_load_of_its_own() -> None:
    words = [
        *SERVERS,
        "--patterns=-0001,-0002",
        "--rate",
        "5",
        "--iteration-seconds=3",
        "--metrics-file",
        "m",
        "--no-lean",
    ]
    steps = next_steps("ocidriver", words, settings(*words))
    same = [*SERVERS, "--patterns=-0001,-0002", "--no-lean"]
    assert list(steps) == ["a first look", "cached", "cold", "capacity"]
    assert all(
        list(each)[: len(same) + 1] == ["ocidriver", *same]
        for name, each in steps.items()
        if name != "capacity"
    )
    assert steps["capacity"][: len(same) + 2] == ["ocidriver", "capacity", *same]


@pytest.mark.parametrize(
    "more",
    [
        ("--patterns", "a,b", "--passes", "2", "--prune"),
        ("--workers=3", "--duration=5m", "--rate=3", "--threshold", "p95<1s"),
        ("--workers=3", "--herd", "--prune", "--prune-first"),
        ("--workers=8", "--stage=20s:4", "--warm-up", "--dry-run", "--keep-going"),
        ("--workers=8", "--layout=direct", "--draw=zipf:1"),
    ],
)
def test_each_command_is_one_that_the_driver_accepts(more: tuple[str, ...]) -> None:
    words = [*SERVERS, *more]
    for name, (_, *line) in next_steps("ocidriver", words, settings(*words)).items():
        if name == "capacity":
            from lib.capacity.command import capacity

            with capacity.make_context("capacity", line[1:]) as context:
                assert isinstance(context, click.Context)
        else:
            check_load_test(line)


def test_without_a_prune_there_is_no_cold_load() -> None:
    words = [*SERVERS, "--workers=2"]
    assert "cold" not in next_steps("ocidriver", words, settings(*words), prunable=False)


def test_nothing_is_pruned_at_the_upstream_itself() -> None:
    words = [*SERVERS, "--workers=2", "--layout=direct"]
    assert "cold" not in next_steps("ocidriver", words, settings(*words))

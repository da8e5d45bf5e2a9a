"""Prunes of the lab's cache: what they select, and that it is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lib.lab.cache.prune import parse_duration
from tests.support.images import push, tag_again
from tests.support.lab_cache import Lab, in_lab, lab, stored


def test_a_prune_makes_the_next_pull_fetch_again(upstream: str, tmp_path: Path) -> None:
    images = [push(upstream, f"prune/img-{n}", "v1", os.urandom(100), os.urandom(100)) for n in range(4)]

    async def work(running: Lab) -> None:
        for number in range(1, 4):
            for image in images:
                assert await running.pull(image) == [200] * 4
            assert await running.upstream_requests() == (4 * number, 12 * number)
            assert await running.prune("prune/img-") == 200
            assert (await running.numbers())["lab_pruned_images_total"] == 4 * number
            assert stored(tmp_path) == []
        assert (await running.numbers())["lab_pulls_total"] == 12

    in_lab(upstream, tmp_path, work)


def test_a_prune_while_an_image_is_on_its_way_leaves_it_whole(upstream: str, tmp_path: Path) -> None:
    shared = os.urandom(500)
    here = push(upstream, "race/here", "v1", shared)
    coming = push(upstream, "race/coming", "v1", shared, os.urandom(500))

    async def main() -> None:
        async with (
            lab(upstream, tmp_path / "up", latency=0.3) as slow,
            lab(slow.address, tmp_path) as running,
        ):
            await running.pull(here)
            pull = asyncio.create_task(running.pull(coming))
            while await running.upstream_requests() != (2, 4):
                pass  # until its manifest has come and its own layer has not
            assert await running.prune("race/") == 200
            assert await pull == [200] * 4
            _, body = await running.ask("GET", "/cmd/image/list?pattern=race/")
            assert re.findall(rb"race/\w+:", body) == [b"race/coming:"]
            await running.prune("race/")
            assert stored(tmp_path) == []

    asyncio.run(main())


def test_pruning_one_tag_takes_the_name_by_digest_away(upstream: str, tmp_path: Path) -> None:
    image = push(upstream, "two/tags", "a", b"same")
    tag_again(upstream, image, "b")

    async def work(running: Lab) -> None:
        for tag in ("a", "b"):
            assert await running.manifest(image, tag) == 200
        await running.prune("two/tags:a$")
        assert await running.upstream_requests() == (2, 2)
        assert await running.manifest(image, "b") == 200
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (3, 2)
        await running.prune("two/tags:b$")
        assert await running.manifest(image, image.digest) == 200
        assert await running.upstream_requests() == (3, 2)  # asked for by digest, it is an entry of its own
        await running.prune("two/tags")
        assert stored(tmp_path) == []

    in_lab(upstream, tmp_path, work)


def test_a_pruning_by_age_sees_when_an_image_came(
    upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = push(upstream, "aged/one", "v1", b"one")
    monkeypatch.setattr("lib.lab.cache.upstream.now", lambda: datetime.now() - timedelta(hours=2))

    async def work(running: Lab) -> None:
        async def prune(kind: str, age: str) -> list[str]:
            query = f"type={kind}&dur={age}&dryRun=false"
            assert (await running.ask("DELETE", f"/cmd/prune?{query}"))[0] == 200
            return stored(tmp_path)

        await running.manifest(image)
        for kind in ("created", "accessed"):
            assert len(await prune(kind, "3h")) == 2
        assert await running.manifest(image) == 200
        assert len(await prune("accessed", "1h")) == 2
        assert await prune("created", "1h") == []

    in_lab(upstream, tmp_path, work)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("-1d", timedelta(days=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5s", timedelta(seconds=1.5)),
        ("250ms", timedelta(milliseconds=250)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "1", "d", "1x", "h1", "1d2h", "1 h", "--1h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration"):
        parse_duration(text)

"""The part of a selection that a host gets is the part that it would have selected itself."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.hosts.selected import Packer, unpack
from lib.images import Image, ImageSet, deal, deal_all, distinct
from lib.listing.selection import Selection
from lib.load.share import Share

NAMES = st.text("abcé/-.", min_size=1, max_size=8)
IMAGES = st.builds(
    Image, NAMES, st.sampled_from(["v1", "latest", "sha256:" + 64 * "0"]), st.sampled_from(["", "docker.io"])
)


def selection_of(sets: list[ImageSet]) -> Selection:
    return Selection(
        listed=99,
        image_sets=tuple(sets),
        foreign=2,
        lengths=tuple(len(each.images) for each in sets),
        total=None,
    )


@given(
    st.lists(st.tuples(NAMES, st.lists(IMAGES, min_size=1, max_size=5)), min_size=1, max_size=6),
    st.integers(1, 6),
)
def test_the_shares_add_up_to_the_selection(found: list[tuple[str, list[Image]]], hosts: int) -> None:
    sets = [ImageSet(pattern, tuple(images), len(images) - 1) for pattern, images in found]
    whole, packer = selection_of(sets), Packer(selection_of(sets))
    of = min(hosts, len(sets))
    parts: list[ImageSet | None] = [None] * len(sets)
    for number in range(1, of + 1):
        share = Share(number, of)
        part = unpack(packer.pack(share))
        assert (part.listed, part.foreign, part.lengths) == (99, 2, whole.lengths)
        assert part.total == len(distinct(whole.image_sets))
        for own, image_set in enumerate(part.image_sets):
            parts[share.number_in_whole(own)] = image_set
    assert parts == sets


def test_images_that_workers_share_go_once() -> None:
    images = [Image(f"app{number}", "v1") for number in range(1000)]
    apart = Packer(selection_of(deal_all(images, 400, apart=True))).pack(Share(1, 2))
    alone = Packer(selection_of(deal_all(images, 1, apart=True))).pack(Share(1, 1))
    assert len(apart) < 2 * len(alone)
    sets = unpack(apart).image_sets
    assert len(sets) == 200
    assert all(each.images is sets[0].images for each in sets)
    assert len({each.start for each in sets}) > 100


def packed(document: object) -> str:
    return base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


GOOD = {
    "listed": 1,
    "foreign": 0,
    "lengths": [1],
    "total": 1,
    "lists": [[["app", "v1", ""]]],
    "sets": [["p", 0, 0]],
}


def test_the_text_is_json() -> None:
    assert unpack(packed(GOOD)).first == Image("app", "v1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "§",
        base64.b64encode(b"no zlib").decode(),
        base64.b64encode(zlib.compress(b"no json")).decode(),
        base64.b64encode(zlib.compress(json.dumps(GOOD).encode())[:20]).decode(),
        packed([]),
        packed({**GOOD, "listed": -1}),
        packed({**GOOD, "sets": [["p", 1, 0]]}),
        packed({**GOOD, "sets": [["p", 0, 1]]}),
        packed({**GOOD, "sets": [["p", 0, -1]]}),
        packed({**GOOD, "lists": [[]]}),
        packed({**GOOD, "lists": [[["app", 1, ""]]]}),
    ],
)
def test_what_is_not_valid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(text)


def test_a_dealt_selection() -> None:
    sets = deal([Image(f"app{number}", "v1") for number in range(7)], 3)
    assert unpack(Packer(selection_of(sets)).pack(Share(2, 3))).image_sets == (sets[1],)

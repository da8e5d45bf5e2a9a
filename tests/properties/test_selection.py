"""Which worker pulls what: nothing twice, nothing lost, and patterns that mean what a regex means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import RunError
from lib.images import Image, by_patterns, choose_tags, compile_regex, deal, deal_all, distinct, overlaps

REPOSITORIES = st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2})?(-000[1-3])?", fullmatch=True)
TAGS = st.from_regex(r"v?[0-9]{1,2}", fullmatch=True)
IMAGES = st.lists(st.builds(Image, REPOSITORIES, TAGS), unique=True, min_size=1, max_size=40)
LISTINGS = st.dictionaries(REPOSITORIES, st.lists(TAGS, unique=True, max_size=5), max_size=10).map(
    lambda content: [(name, tuple(tags)) for name, tags in content.items()]
)
# Regexes that Python and RE2 read alike.
REGEXES = st.sampled_from(
    [
        "a",
        "-0001",
        "-0001:",
        ":v9",
        "^cache",
        "b$",
        "a|b",
        "[ab]/",
        "(c+)-000[12]",
        r"\d$",
        ".",
        "/b",
        "a.*b",
        "x",
    ]
)
BEFORE = "cache:8080/up.local:5000/"


@given(IMAGES, st.data())
def test_dealing_gives_each_image_to_one_worker(images: list[Image], data: st.DataObject) -> None:
    workers = data.draw(st.integers(1, len(images)))
    sets = deal(images, workers)
    dealt = [image for each in sets for image in each.images]
    assert len(sets) == workers
    assert sorted(dealt, key=str) == sorted(images, key=str)
    sizes = [len(each.images) for each in sets]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert overlaps(sets) == {}


@given(IMAGES, st.integers(1, 5))
def test_more_workers_than_images_is_an_error(images: list[Image], more: int) -> None:
    with pytest.raises(RunError, match=f"give at most {len(images)}"):
        deal(images, len(images) + more)


@given(IMAGES, st.integers(1, 40), st.booleans())
def test_every_worker_has_all_images_in_the_same_cycle(
    images: list[Image], workers: int, apart: bool
) -> None:
    sets = deal_all(images, workers, apart=apart)
    assert [each.pattern for each in sets] == [f"{k + 1}/{workers}" for k in range(workers)]
    assert all(
        each.images is sets[0].images for each in sets
    )  # a million images for a hundred workers fit in memory
    starts = [images.index(next(each.in_order())) for each in sets]
    assert starts == sorted(starts)
    assert len(set(starts)) == (min(workers, len(images)) if apart else 1)
    for each, start in zip(sets, starts, strict=True):
        assert list(each.in_order()) == [*images[start:], *images[:start]]
    assert list(distinct(sets)) == images


@given(IMAGES, st.lists(REGEXES, min_size=1, max_size=4))
def test_a_pattern_takes_the_images_in_whose_name_it_is_found(
    images: list[Image], patterns: list[str]
) -> None:
    expected = [
        tuple(image for image in images if re.search(pattern, BEFORE + image.name)) for pattern in patterns
    ]
    if not all(expected):
        with pytest.raises(RunError, match="none of"):
            by_patterns(images, patterns, BEFORE)
        return
    sets = by_patterns(images, patterns, BEFORE)
    assert [(each.pattern, each.images) for each in sets] == list(zip(patterns, expected, strict=True))


@given(IMAGES, st.lists(REGEXES, min_size=1, max_size=4))
def test_shared_images_are_told_just_where_there_are_some(images: list[Image], patterns: list[str]) -> None:
    try:
        sets = by_patterns(images, patterns, BEFORE)
    except RunError:
        return
    taken = [image for each in sets for image in each.images]
    assert bool(overlaps(sets)) == (len(taken) != len(set(taken)))


@given(LISTINGS, st.none() | REGEXES)
def test_all_tags_are_those_that_pass(listing: list[tuple[str, tuple[str, ...]]], regex: str | None) -> None:
    accept = compile_regex("--filter", regex) if regex is not None else None
    chosen = list(choose_tags(listing, accept, all_tags=True))
    assert chosen == [
        Image(name, tag)
        for name, tags in listing
        for tag in tags
        if regex is None or re.search(regex, f"{name}:{tag}")
    ]


@given(LISTINGS, st.none() | REGEXES)
def test_else_it_is_the_first_that_passes(
    listing: list[tuple[str, tuple[str, ...]]], regex: str | None
) -> None:
    accept = compile_regex("--filter", regex) if regex is not None else None
    every = list(choose_tags(listing, accept, all_tags=True))
    first = list(choose_tags(listing, accept, all_tags=False))
    assert first == list({image.repository: image for image in reversed(every)}.values())[::-1]

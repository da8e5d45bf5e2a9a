"""Which images the workers pull."""

from __future__ import annotations

import pytest

from lib.errors import RunError, UsageError
from lib.images import Image, by_patterns, choose_tags, compile_regex, deal, overlaps

LISTING = [("app-0001", ("v1", "v2")), ("app-0002", ("v2",)), ("empty", ()), ("lib-0001", ("x",))]


def names(images: object) -> list[str]:
    return [image.name for image in images]  # type: ignore[attr-defined]


def test_names() -> None:
    assert Image("a/b", "v1").name == "a/b:v1"
    assert Image("a/b", "sha256:00").name == "a/b@sha256:00"


@pytest.mark.parametrize(
    ("filter_", "all_tags", "chosen"),
    [
        (None, False, ["app-0001:v1", "app-0002:v2", "lib-0001:x"]),
        (None, True, ["app-0001:v1", "app-0001:v2", "app-0002:v2", "lib-0001:x"]),
        (":v2$", False, ["app-0001:v2", "app-0002:v2"]),
        ("^lib", True, ["lib-0001:x"]),
    ],
)
def test_the_first_tag_that_passes_the_filter(filter_: str | None, all_tags: bool, chosen: list[str]) -> None:
    accept = compile_regex("--filter", filter_) if filter_ else None
    assert names(choose_tags(LISTING, accept, all_tags)) == chosen


IMAGES = [Image("app-0001", "v1"), Image("app-0002", "v9"), Image("app-0012", "v1")]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("-0001", ["app-0001:v1"]),
        ("/app-", ["app-0001:v1", "app-0002:v9", "app-0012:v1"]),
        (":v9", ["app-0002:v9"]),
        ("^cache:8080/up:5000/app-0001", ["app-0001:v1"]),
        ("^app", None),
        ("-00[01][12]:v1$", ["app-0001:v1", "app-0012:v1"]),
    ],
)
def test_patterns_see_the_whole_name(pattern: str, chosen: list[str] | None) -> None:
    if chosen is None:
        with pytest.raises(RunError, match=r"selects none of 3 images.*cache:8080/up:5000/app-0001:v1"):
            by_patterns(IMAGES, [pattern], "cache:8080/up:5000/")
    else:
        (only,) = by_patterns(IMAGES, [pattern], "cache:8080/up:5000/")
        assert names(only.images) == chosen


def test_shared_images_are_counted_by_pair() -> None:
    sets = by_patterns(IMAGES, ["app", "-0001", ":v9"], "")
    assert overlaps(sets) == {("app", "-0001"): 1, ("app", ":v9"): 1}
    assert overlaps(by_patterns(IMAGES, ["-0001", "-0002"], "")) == {}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_dealing_is_even_and_disjoint(workers: int) -> None:
    sets = deal(IMAGES, workers)
    sizes = [len(each.images) for each in sets]
    assert sorted(names(image for each in sets for image in each.images)) == sorted(names(IMAGES))
    assert max(sizes) - min(sizes) <= 1


def test_more_workers_than_images() -> None:
    with pytest.raises(RunError, match="at most 3"):
        deal(IMAGES, 4)


@pytest.mark.parametrize(
    ("regex", "subject", "found"), [("a.c", "xabcx", True), ("a+b", "a+b", False), ("a b", "a b", True)]
)
def test_regexes(regex: str, subject: str, found: bool) -> None:
    assert compile_regex("--filter", regex)(subject) is found


@pytest.mark.parametrize("regex", ["*", "(", "a(?=b)", "[z-a]", "a\udcff|b"])
def test_what_re2_refuses_is_wrong_usage_and_silent(regex: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="not a valid RE2 regex"):
        compile_regex("--patterns", regex)
    assert capfd.readouterr().err == ""

"""Which images the workers pull."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lib.errors import RunError, Stopped, UsageError
from lib.images import (
    Image,
    ImageSet,
    PassedOver,
    PatternSet,
    by_patterns,
    choose_tags,
    compile_regex,
    deal,
    overlaps,
    shared_images,
)

LISTING = [("app-0001", ("v1", "v2")), ("app-0002", ("v2",)), ("empty", ()), ("lib-0001", ("x",))]


def names(images: object) -> list[str]:
    return [image.name for image in images]  # type: ignore[attr-defined]


def test_names() -> None:
    assert Image("a/b", "v1").name == "a/b:v1"
    assert Image("a/b", "sha256:00").name == "a/b@sha256:00"
    assert Image("a/b", "v1", "quay.io").name == "quay.io/a/b:v1"
    assert Image("a/b", "v1", "quay.io").filtered_name == "a/b:v1"


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


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("tags", "chosen", "passed_over"),
    [
        ((f"sha256-{HEX}.sig", f"sha256-{HEX}.att", "v1", f"sha256-{HEX}.sbom"), "v1", 2),
        ((f"sha256-{HEX}", "v1"), "v1", 1),
        ((f"sha512-{HEX}", "v1"), "v1", 1),
        ((f"sha256-{HEX}.sigstore.json", "v1.sigstore", "1.2.att", "v1"), "v1", 3),
        (("buildcache", "main-buildcache", "main"), "main", 2),
        ((f"sha256-{HEX}.sig",), None, 1),
        (("v1", f"sha256-{HEX}.sig"), "v1", 0),
        # these may be images: commits, dates, words that begin so
        (("sha256-abc",), "sha256-abc", 0),
        ((HEX,), HEX, 0),
        (("v1.2.signed",), "v1.2.signed", 0),
    ],
)
def test_tags_that_are_no_images_are_passed_over(
    tags: tuple[str, ...], chosen: str | None, passed_over: int
) -> None:
    count = PassedOver()
    found = list(choose_tags([("app", tags)], None, all_tags=False, passed_over=count))
    assert [image.reference for image in found] == ([chosen] if chosen else [])
    assert (count.tags, count.repositories) == (passed_over, int(chosen is None))
    every = list(choose_tags([("app", tags)], None, all_tags=True, passed_over=count))
    assert [image.reference for image in every] == list(tags)


def test_the_first_image_after_the_filter_is_taken() -> None:
    tags = ("v1", f"sha256-{HEX}.sig", "v2", "v3")
    accept = compile_regex("--filter", r"sig$|v[23]$")
    assert names(choose_tags([("app", tags)], accept, all_tags=False)) == ["app:v2"]


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


def test_an_image_of_another_upstream_is_searched_below_it() -> None:
    images = [Image("app", "v1"), Image("app", "v1", "quay.io")]
    sets = by_patterns(images, ["^c:1/up:5/app:v1$", "^c:1/quay.io/app:v1$"], "c:1/up:5/")
    assert [each.images for each in sets] == [(images[0],), (images[1],)]


SHARED = [Image(f"app-{k}", "v1") for k in range(5)]


@pytest.mark.parametrize(
    ("sets", "pairs", "images"),
    [
        ([("a", 0, 5)] * 2, {("a", "a"): 5}, 5),
        ([("a", 0, 5)] * 3, {("a", "a"): 5}, 5),
        ([("a", 0, 5), ("b", 0, 5), ("a", 0, 5)], {("a", "a"): 5, ("a", "b"): 5}, 5),
        ([("a", 0, 2), ("b", 1, 4), ("c", 1, 5)], {("a", "b"): 1, ("a", "c"): 1, ("b", "c"): 3}, 3),
        ([("a", 0, 2), ("b", 2, 5)], {}, 0),
        ([("b", 0, 3), ("a", 2, 5)], {("b", "a"): 1}, 1),
    ],
)
def test_a_shared_image_counts_once(
    sets: list[tuple[str, int, int]], pairs: dict[tuple[str, str], int], images: int
) -> None:
    made = [ImageSet(pattern, tuple(SHARED[start:end])) for pattern, start, end in sets]
    assert (overlaps(made), shared_images(made)) == (pairs, images)


def test_hundreds_of_patterns_that_share_all_are_bounded() -> None:
    made = [ImageSet(f"p{k}", tuple(SHARED)) for k in range(300)]
    found = overlaps(made)
    assert (len(found), set(found.values())) == (100, {5})
    assert found["p0", "p1"] == 5


@pytest.mark.parametrize("max_mem", [1 << 12, 1 << 16, 64 << 20])
@pytest.mark.parametrize("pattern", ["-{0:03d}", "-{0:03d}.*x?y$", "a|-{0:03d}"])
def test_many_patterns_mean_together_what_each_means_alone(pattern: str, max_mem: int) -> None:
    """Also where RE2 has too little memory to search them together, which it does not report."""
    patterns = [pattern.format(number) for number in range(200)]
    together = PatternSet(patterns, max_mem=max_mem)
    alone = [compile_regex("--patterns", each) for each in patterns]
    for number in (0, 7, 199, 200):
        text = f"cxches/img-{number:03d}:xy"
        assert sorted(together.found_in(text)) == [k for k, matches in enumerate(alone) if matches(text)]


def test_a_stop_ends_each_loop_over_images() -> None:
    images = [Image(f"app-{k}", "v1") for k in range(20_000)]

    def stopped_after(count: int) -> Callable[[], None]:
        left = iter(range(count))

        def heed() -> None:
            if next(left, None) is None:
                raise Stopped

        return heed

    sets = [ImageSet("a", tuple(images))] * 2
    for loop in (
        lambda: by_patterns(images, ["app"] * 3000, "", stopped_after(6)),
        lambda: overlaps(sets, stopped_after(4)),
        lambda: shared_images(sets, stopped_after(4)),
        lambda: list(choose_tags([("app", ("v1",) * 20_000)], None, True, heed=stopped_after(2))),
    ):
        with pytest.raises(Stopped):
            loop()


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

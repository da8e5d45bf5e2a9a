"""Images, and the choice of images for each worker: the filter, the patterns, the dealing.

Patterns and the filter are RE2 regexes, as in Go. A search takes linear time.

A list may have a million images. So each loop over images calls `heed`, which raises `Stopped` after a signal.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import re2

from .counted import counted
from .errors import RunError, UsageError
from .names import is_artifact_tag

T = TypeVar("T")
Heed = Callable[[], object]

_LITERAL = re.compile(r"[^\\.+*?()|\[\]{}^$]+")
# Between two calls of `heed`, a loop handles this many images: a few milliseconds.
_PIECE = 4096
# At most this many patterns are searched together. One search for many patterns takes about as long as for one.
_TOGETHER = 1000
# Up to this many patterns without operators are searched one by one, which is faster.
_FEW = 8
# Bytes that one such search may use for its automaton.
_SEARCH_MEMORY = 64 << 20
# `overlaps` returns at most this many pairs.
PAIRS = 100


class Image(NamedTuple):
    """An image; `reference` is a tag, or a digest with its algorithm (`sha256:…`).

    `upstream` is the name of the registry that has it. It is empty for the upstream of the run.
    """

    repository: str
    reference: str
    upstream: str = ""

    @property
    def is_digest(self) -> bool:
        """Whether `reference` is a digest."""
        return ":" in self.reference

    @property
    def path(self) -> str:
        """The repository, below the name of its upstream if that is not the upstream of the run."""
        return f"{self.upstream}/{self.repository}" if self.upstream else self.repository

    @property
    def name(self) -> str:
        """The image's name in logs and results: `repository:tag` or `repository@digest`, as for `path`."""
        repository, reference, upstream = self  # read once: this is the inner loop of the dealing
        before = f"{upstream}/" if upstream else ""
        return f"{before}{repository}{'@' if ':' in reference else ':'}{reference}"

    @property
    def filtered_name(self) -> str:
        """The name that --filter is searched in: `repository:tag`, without any registry."""
        return f"{self.repository}{'@' if self.is_digest else ':'}{self.reference}"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of one worker; `pattern` is the user's, or `k/N` if the images were dealt to N workers.

    Passes begin with the image at the index `start`. So workers that have all images can share one tuple.
    """

    pattern: str
    images: tuple[Image, ...]
    start: int = 0

    def in_order(self) -> Iterator[Image]:
        """Yields the images in the order of a pass."""
        yield from itertools.islice(self.images, self.start, None)
        yield from itertools.islice(self.images, self.start)


def no_heed() -> None:
    """Heeds nothing."""


def heeding(items: Iterable[T], heed: Heed) -> Iterator[T]:
    """Yields the items, and calls `heed` before every few thousand of them."""
    left = iter(items)
    while piece := list(itertools.islice(left, _PIECE)):
        heed()
        yield from piece


def compile_regex(option: str, text: str) -> Callable[[str], bool]:
    """Returns a function that searches a text for an RE2 regex. Raises UsageError if the regex is not valid.

    A regex without operators becomes a substring search, which is thirty times as fast.
    """
    if _LITERAL.fullmatch(text):
        return lambda subject: text in subject
    try:
        regex = re2.compile(text, _options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        hint = "; to select every image, write '.'" if text == "*" else ""
        raise UsageError(f"{option}: '{text}' is not a valid RE2 regex: {reason}{hint}") from None
    except UnicodeEncodeError:
        raise UsageError(f"{option}: '{text}' is not a valid RE2 regex: it is not UTF-8") from None
    return lambda subject: regex.search(subject) is not None


def _options(max_mem: int = 0) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    if max_mem:
        options.max_mem = max_mem
    return options


class PatternSet:
    """Searches a text for many valid regexes at once.

    RE2 compiles them into one automaton. If that needs more than `max_mem` bytes, each half of them gets its own.
    """

    def __init__(self, patterns: Sequence[str], *, max_mem: int = _SEARCH_MEMORY) -> None:
        self._patterns = patterns
        self._max_mem = max_mem
        self._set: re2.Set | None = None
        self._halves: tuple[PatternSet, PatternSet] | None = None
        self._each: list[Callable[[str], bool]] | None = None
        if len(patterns) == 1 or (len(patterns) <= _FEW and all(map(_LITERAL.fullmatch, patterns))):
            self._each = [compile_regex("--patterns", pattern) for pattern in patterns]
            return
        try:
            self._set = re2.Set.SearchSet(_options(max_mem))
            for pattern in patterns:
                self._set.Add(pattern)
            # RE2 reports no error if the search runs out of memory. The empty regex is found in every text, so a search
            # that does not find it has failed.
            self._always = self._set.Add("")
            self._set.Compile()
        except re2.error:
            self._split()

    def found_in(self, text: str) -> Iterable[int]:
        """Returns the numbers of the patterns that are found in the text, in any order."""
        if self._each is not None:
            return [number for number, matches in enumerate(self._each) if matches(text)]
        if self._set is not None:
            found: list[int] = self._set.Match(text) or []
            if self._always in found:
                found.remove(self._always)
                return found
            self._split()
        assert self._halves is not None
        first, second = self._halves
        half = len(self._patterns) // 2
        return [*first.found_in(text), *(half + number for number in second.found_in(text))]

    def _split(self) -> None:
        half = len(self._patterns) // 2
        self._set = None
        self._halves = (
            PatternSet(self._patterns[:half], max_mem=self._max_mem),
            PatternSet(self._patterns[half:], max_mem=self._max_mem),
        )


@dataclass(slots=True)
class PassedOver:
    """What `choose_tags` passed over because it is no image: tags, and repositories that have no other tag."""

    tags: int = 0
    repositories: int = 0
    example: Image | None = None


def choose_tags(
    repositories: Iterable[tuple[str, Sequence[str]]],
    accept: Callable[[str], bool] | None,
    all_tags: bool,
    passed_over: PassedOver | None = None,
    heed: Heed = no_heed,
) -> Iterator[Image]:
    """Yields the images that the filter accepts: all of them if `all_tags`, else one of each repository.

    That one has the first tag that does not belong to a signature or the like (`names.is_artifact_tag`).
    """
    count = PassedOver() if passed_over is None else passed_over
    for repository, tags in repositories:
        artifacts, chosen = 0, False
        for tag in heeding(tags, heed):
            image = Image(repository, tag)
            if accept is not None and not accept(image.filtered_name):
                continue
            if not all_tags and is_artifact_tag(tag):
                artifacts += 1
                count.example = count.example or image
                continue
            chosen = True
            yield image
            if not all_tags:
                break
        count.tags += artifacts
        count.repositories += bool(artifacts and not chosen)


def by_patterns(
    images: Sequence[Image], patterns: Sequence[str], searched_in: str, heed: Heed = no_heed
) -> list[ImageSet]:
    """Returns one ImageSet per pattern. Raises RunError if a pattern selects no image.

    Patterns are searched in `searched_in` + the image's name: pullthrough/registry/repository:tag. If the image has an
    upstream of its own, that is the registry.
    """
    sets = match_patterns(images, patterns, searched_in, heed)
    empty = [f"'{each.pattern}'" for each in sets if not each.images]
    if empty:
        raise RunError(nothing_selected(empty, len(images), searched_name(images[0], searched_in)))
    return sets


def match_patterns(
    images: Sequence[Image], patterns: Sequence[str], searched_in: str, heed: Heed = no_heed
) -> list[ImageSet]:
    """Returns one ImageSet per pattern, also for a pattern that selects no image."""
    chosen: list[list[Image]] = [[] for _ in patterns]
    for start in range(0, len(patterns), _TOGETHER):
        heed()
        together = PatternSet(patterns[start : start + _TOGETHER])
        here = chosen[start : start + _TOGETHER]
        for image in heeding(images, heed):
            for number in together.found_in(searched_name(image, searched_in)):
                here[number].append(image)
    return [ImageSet(pattern, tuple(own)) for pattern, own in zip(patterns, chosen, strict=True)]


def searched_name(image: Image, searched_in: str) -> str:
    """Returns the text that patterns are searched in."""
    if image.upstream:
        return f"{searched_in.partition('/')[0]}/{image.name}"
    return searched_in + image.name


def nothing_selected(empty: Sequence[str], images: int, example: str) -> str:
    """Returns the message for patterns, in quotation marks, that select no image."""
    what = f"the pattern {empty[0]} selects" if len(empty) == 1 else f"the patterns {', '.join(empty)} select"
    hint = "; a comma separates patterns" if any(set(each) & set("{}") for each in empty) else ""
    return (
        f"{what} none of {counted(images, 'image')}; patterns are searched in names such as '{example}'{hint}"
    )


def deal(images: Sequence[Image], workers: int) -> list[ImageSet]:
    """Deals the images in turn to `workers` disjoint sets, whose sizes differ by at most one.

    Raises RunError if there are fewer images than workers.
    """
    if workers > len(images):
        raise RunError(
            f"--workers {workers} is more than the {counted(len(images), 'image')} in the selection; "
            f"give at most {len(images)}, or give every worker all images with --deal all"
        )
    return [ImageSet(f"{k + 1}/{workers}", tuple(images[k::workers])) for k in range(workers)]


def deal_all(images: Sequence[Image], workers: int, *, apart: bool) -> list[ImageSet]:
    """Gives each worker all images. With `apart`, each begins at a different place: a share of the list after the last.

    With more workers than images, some workers begin at the same image.
    """
    whole = tuple(images)
    return [
        ImageSet(f"{k + 1}/{workers}", whole, k * len(whole) // workers if apart else 0)
        for k in range(workers)
    ]


def distinct(sets: Sequence[ImageSet]) -> dict[Image, None]:
    """Returns all images without duplicates, in order. Sets that share one tuple of images take no time."""
    tuples = {id(each.images): each.images for each in sets}
    return dict.fromkeys(itertools.chain.from_iterable(tuples.values()))


def shared_images(sets: Sequence[ImageSet], heed: Heed = no_heed) -> int:
    """Returns the number of images that more than one set has."""
    return sum(_sharers(sets, heed).values())


def overlaps(sets: Sequence[ImageSet], heed: Heed = no_heed) -> dict[tuple[str, str], int]:
    """Returns the number of shared images for each pair of patterns that shares any, for at most `PAIRS` pairs.

    An image counts once for a pair, also if one of the patterns is given several times.
    """
    sharers = _sharers(sets, heed)
    pairs: dict[tuple[int, int], int] = {}
    for each in heeding(sharers, heed):
        for pair in itertools.islice(_pairs(each), PAIRS):
            if len(pairs) < PAIRS:
                pairs.setdefault(pair, 0)
        if len(pairs) == PAIRS:
            break
    for each, images in heeding(sharers.items(), heed):
        numbers = Counter(each)
        for one, other in pairs:
            both = numbers[one] > 1 if one == other else one in numbers and other in numbers
            pairs[one, other] += images if both else 0
    patterns = list(dict.fromkeys(each.pattern for each in sets))
    return {(patterns[one], patterns[other]): count for (one, other), count in sorted(pairs.items())}


def _pairs(sharers: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yields the pairs of patterns among these numbers, and a number twice if it is there twice."""
    return iter(dict.fromkeys(itertools.islice(itertools.combinations(sharers, 2), PAIRS * PAIRS)))


def _sharers(sets: Sequence[ImageSet], heed: Heed) -> Counter[tuple[int, ...]]:
    """Returns, for the images that several sets have, how many images have the same sets.

    A set stands as the number of its pattern. A pattern that is given twice has one number, which occurs twice.
    """
    total = sum(len(each.images) for each in sets)
    heed()
    seen: set[Image] = set()
    for each in sets:
        heed()
        seen.update(each.images)
    if len(seen) == total:
        return Counter()
    # most images share their list of sets with others, so each list is kept once, and has a number
    lists: list[tuple[int, ...]] = [()]
    longer: dict[tuple[int, int], int] = {}
    owners: dict[Image, int] = {}
    numbers: dict[str, int] = {}
    for each in sets:
        number = numbers.setdefault(each.pattern, len(numbers))
        for image in heeding(each.images, heed):
            step = (owners.get(image, 0), number)
            if step not in longer:
                longer[step] = len(lists)
                lists.append((*lists[step[0]], number))
            owners[image] = longer[step]
    sharers: Counter[tuple[int, ...]] = Counter()
    for own, images in Counter(owners.values()).items():
        if len(lists[own]) > 1:
            sharers[tuple(sorted(lists[own]))] += images
    return sharers

"""Images, and the choice of images for each worker: the filter, the patterns, the dealing.

Patterns and the filter are RE2 regexes, as in Go. A search takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import re2

from .counted import counted
from .errors import RunError, UsageError

_LITERAL = re.compile(r"[^\\.+*?()|\[\]{}^$]+")


class Image(NamedTuple):
    """An image of the upstream; `reference` is a tag, or a digest with its algorithm (`sha256:…`)."""

    repository: str
    reference: str

    @property
    def is_digest(self) -> bool:
        """Whether `reference` is a digest."""
        return ":" in self.reference

    @property
    def name(self) -> str:
        """The image's name without a host: `repository:tag` or `repository@digest`."""
        return f"{self.repository}{'@' if self.is_digest else ':'}{self.reference}"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """The images of one worker; `pattern` is the user's, or `k/N` if the images were dealt to N workers."""

    pattern: str
    images: tuple[Image, ...]


def compile_regex(option: str, text: str) -> Callable[[str], bool]:
    """Returns a function that searches a text for an RE2 regex. Raises UsageError if the regex is not valid.

    A regex without operators becomes a substring search, which is thirty times as fast.
    """
    if _LITERAL.fullmatch(text):
        return lambda subject: text in subject
    options = re2.Options()
    options.log_errors = False
    try:
        regex = re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        hint = "; to select every image, write '.'" if text == "*" else ""
        raise UsageError(f"{option}: '{text}' is not a valid RE2 regex: {reason}{hint}") from None
    except UnicodeEncodeError:
        raise UsageError(f"{option}: '{text}' is not a valid RE2 regex: it is not UTF-8") from None
    return lambda subject: regex.search(subject) is not None


def choose_tags(
    repositories: Iterable[tuple[str, Sequence[str]]], accept: Callable[[str], bool] | None, all_tags: bool
) -> Iterator[Image]:
    """Yields every image that the filter accepts if `all_tags`, else the first such image of each repository."""
    for repository, tags in repositories:
        for tag in tags:
            image = Image(repository, tag)
            if accept is None or accept(image.name):
                yield image
                if not all_tags:
                    break


def by_patterns(images: Sequence[Image], patterns: Sequence[str], searched_in: str) -> list[ImageSet]:
    """Returns one ImageSet per pattern. Raises RunError if a pattern selects no image.

    Patterns are searched in `searched_in` + the image's name: pullthrough/registry/repository:tag.
    """
    subjects = [searched_in + image.name for image in images]
    sets = []
    for pattern in patterns:
        matches = compile_regex("--patterns", pattern)
        chosen = tuple(image for image, subject in zip(images, subjects, strict=True) if matches(subject))
        sets.append(ImageSet(pattern, chosen))
    empty = [f"'{each.pattern}'" for each in sets if not each.images]
    if empty:
        raise RunError(_nothing_selected(empty, subjects))
    return sets


def _nothing_selected(empty: list[str], subjects: list[str]) -> str:
    what = f"the pattern {empty[0]} selects" if len(empty) == 1 else f"the patterns {', '.join(empty)} select"
    hint = "; a comma separates patterns" if any(set(each) & set("{}") for each in empty) else ""
    return (
        f"{what} none of {counted(len(subjects), 'image')}; "
        f"patterns are searched in names such as '{subjects[0]}'{hint}"
    )


def deal(images: Sequence[Image], workers: int) -> list[ImageSet]:
    """Deals the images in turn to `workers` disjoint sets, whose sizes differ by at most one.

    Raises RunError if there are fewer images than workers.
    """
    if workers > len(images):
        raise RunError(
            f"--workers {workers} is more than the {counted(len(images), 'image')} in the selection; "
            f"give at most {len(images)}"
        )
    return [ImageSet(f"{k + 1}/{workers}", tuple(images[k::workers])) for k in range(workers)]


def overlaps(sets: Sequence[ImageSet]) -> dict[tuple[str, str], int]:
    """Returns the number of shared images for each pair of patterns that shares any."""
    if sum(len(each.images) for each in sets) == len({image for each in sets for image in each.images}):
        return {}
    owner: dict[Image, int] = {}
    shared: dict[tuple[str, str], int] = {}
    for index, each in enumerate(sets):
        for image in each.images:
            first = owner.setdefault(image, index)
            if first != index:
                pair = (sets[first].pattern, each.pattern)
                shared[pair] = shared.get(pair, 0) + 1
    return shared

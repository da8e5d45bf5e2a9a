"""Checks whether each pattern and each worker has images to pull."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..counted import counted
from ..errors import RunError
from ..images import overlaps
from ..listing.selection import Listing, select
from .check import FAILURE, OK, WARNING, Check
from .examination import Checks, Examination


def selection(exam: Examination, upstream_answers: bool) -> Checks:
    """Checks the selection of images. Returns whether there is one, possibly with fewer patterns or workers."""
    preparation, settings = exam.preparation, exam.settings
    if not (yield from exam.carry_out("images", preparation.listing)):
        exam.undecided |= upstream_answers  # so the user needs another upstream or an image list
        return False
    yield from exam.warnings("images")
    try:
        everything = select(
            replace(settings, patterns=(), workers=1), preparation.listing(), preparation.connections()
        )
    except RunError as error:
        yield Check("images", FAILURE, str(error))
        exam.undecided = True
        return False
    yield Check("images", OK, f"{everything.listed} listed, {len(everything.images)} to choose from")
    yield from _patterns(exam, [(image.repository, (image.reference,)) for image in everything.images])
    if not (yield from exam.carry_out("images", exam.preparation.selection)):
        most = len(everything.images)
        if settings.workers is None or settings.workers <= most:
            exam.undecided = True
            return False
        exam.mend("--workers", str(most), workers=most)
    shared = sum(overlaps(exam.preparation.selection().image_sets).values())
    if shared:
        advice = "change the patterns so that each image matches only one; else later pulls of it come from the cache"
        yield Check("pattern", WARNING, f"more than one pattern selects {counted(shared, 'image')}", advice)
    exam.cautions.clear()  # the checks above say the same
    return True


def _patterns(exam: Examination, images: Listing) -> Iterator[Check]:
    settings, connections = exam.settings, exam.preparation.connections()
    good: list[str] = []
    for pattern in settings.patterns:
        try:
            one = select(replace(settings, patterns=(pattern,)), images, connections)
            yield Check("pattern", OK, f"'{pattern}' selects {counted(len(one.images), 'image')}")
            good.append(pattern)
        except RunError as error:
            yield Check("pattern", FAILURE, str(error), "correct the pattern or leave it out")
    if len(good) == len(settings.patterns):
        return
    exam.is_told(exam.preparation.selection)
    if good:
        exam.mend("--patterns", ",".join(good), patterns=tuple(good))

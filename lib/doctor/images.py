"""Checks whether each pattern and each worker has images to pull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..choices import ALL, SPLIT
from ..counted import counted
from ..errors import RunError
from ..figures import data
from ..images import Image, match_patterns, nothing_selected, searched_name, shared_images
from ..listing.selection import searched_in, select
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
            replace(settings, patterns=(), workers=1, deal=SPLIT),
            preparation.listing(),
            preparation.connections(),
        )
    except RunError as error:
        yield Check("images", FAILURE, str(error))
        exam.undecided = True
        return False
    yield Check("images", OK, f"{everything.listed} listed, {len(everything.images)} to choose from")
    yield from _patterns(exam, everything.images)
    if not (yield from exam.carry_out("images", exam.preparation.selection)):
        most = len(everything.images)
        if settings.workers is None or settings.workers <= most:
            exam.undecided = True
            return False
        exam.mend("--workers", str(most), workers=most)
    sets = exam.preparation.selection().image_sets
    shared = shared_images(sets, exam.heed) if settings.deal != ALL else 0
    if shared:
        advice = "change the patterns so that each image matches only one; else later pulls of it come from the cache"
        yield Check("pattern", WARNING, f"more than one pattern selects {counted(shared, 'image')}", advice)
    exam.cautions.clear()  # the checks above say the same
    return True


def sizes(exam: Examination) -> Iterator[Check]:
    """Reports for how many images the sizes are known, if the run reads them."""
    found = exam.preparation.sizes()
    if found is None:
        return
    count = len(exam.preparation.selection().images)
    if found.known == count:
        yield Check("sizes", OK, f"known for all images: {data(found.total)} in all")
        return
    yield Check(
        "sizes",
        WARNING,
        f"unknown for {count - found.known:,} of {counted(count, 'image')}, so the run may not report bytes",
        "the log of the run says why; --sizes never turns bytes off",
    )


def _patterns(exam: Examination, images: Sequence[Image]) -> Iterator[Check]:
    settings, good = exam.settings, list[str]()
    before = searched_in(settings)
    for each in match_patterns(images, settings.patterns, before, exam.heed):
        if each.images:
            yield Check("pattern", OK, f"'{each.pattern}' selects {counted(len(each.images), 'image')}")
            good.append(each.pattern)
        else:
            message = nothing_selected([f"'{each.pattern}'"], len(images), searched_name(images[0], before))
            yield Check("pattern", FAILURE, message, "correct the pattern or leave it out")
    if len(good) == len(settings.patterns):
        return
    exam.is_told(exam.preparation.selection)
    if good:
        exam.mend("--patterns", ",".join(good), patterns=tuple(good))

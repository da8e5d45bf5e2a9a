"""Pulling images, one or a batch a launch of the client, and finding out which images made a batch fail."""

from __future__ import annotations

import errno
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, Protocol

from ..clients.classify import failure_of
from ..clients.client import Client
from ..images import Image
from ..outcomes import FAILED, INTERRUPTED, OK, Failure
from ..processes.launch import Launcher, Outcome

# A client that cannot even be started fails in microseconds; the pause keeps such a run from spinning.
_PAUSE_AFTER_NO_START = 0.1
# The exit status of a launch that ended with 0 although it did not pull its images.
_NOT_PULLED = 1
# Seconds after which a clean-up that hangs is killed.
_CLEAN_UP_SECONDS = 60.0
# What a dry run spends on an image, in seconds.
_DRY_PULL = 0.005


class Pulled(NamedTuple):
    """What came of pulling one image; `launch` numbers the launch that it shared with others, `started` is its start.

    A launch is `whole` when it pulled all its images: then they share its seconds, and the first of them has its CPU
    seconds and retries. An image that was pulled alone after its launch had failed is `repulled`, its seconds its own.
    """

    image: Image
    outcome: str
    started: float
    seconds: float
    launch: int
    retries: int | None = None
    failure: Failure | None = None
    cpu_seconds: float = 0.0
    repulled: bool = False

    @property
    def whole(self) -> bool:
        return self.outcome == OK and not self.repulled


class Puller(Protocol):
    """Pulls images with one launch; each of them is told once, in any order.

    `scratch` is the worker's own folder. What fails is found out by further launches while the answer is read, until
    `stopped` says so. Where it says so before the first launch has started, nothing is told.
    """

    def pull(
        self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
    ) -> Iterable[Pulled]: ...


class ClientPuller:
    """With a launch of the client, and after the failure of one with several images one for each of them."""

    def __init__(
        self, client: Client, launcher: Launcher, reference: Callable[[Image], str], timeout: float
    ) -> None:
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._timeout = timeout
        self._numbers = itertools.count(1)

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterable[Pulled]:
        number, outcome = next(self._numbers), self._launch(images, scratch, stopped)
        if outcome.dropped:
            return []
        retries = self._retries(outcome)
        if outcome.returncode == 0:
            # what nearly every launch comes to, so without the detours of the others
            none = None if retries is None else 0
            told = [
                Pulled(
                    image=image,
                    outcome=OK,
                    started=outcome.started,
                    seconds=outcome.seconds,
                    launch=number,
                    retries=none,
                )
                for image in images[1:]
            ]
            first = Pulled(
                image=images[0],
                outcome=OK,
                started=outcome.started,
                seconds=outcome.seconds,
                launch=number,
                retries=retries,
                cpu_seconds=outcome.cpu_seconds,
            )
            return [first, *told]
        return self._told_of_failure(images, number, outcome, retries, scratch, stopped)

    def _told_of_failure(
        self,
        images: Sequence[Image],
        number: int,
        outcome: Outcome,
        hidden: int | None,
        scratch: Path,
        stopped: Callable[[], bool],
    ) -> Iterator[Pulled]:
        if len(images) > 1 and not outcome.interrupted:
            told = self._find_out(images, number, outcome, scratch, stopped)
        else:
            told = (self._told(image, number, outcome) for image in images)
        cpu = outcome.cpu_seconds
        for pulled in told:  # what the launch itself took is the first one's
            retried = None if hidden is None else (pulled.retries or 0) + hidden
            yield pulled._replace(
                retries=retried, cpu_seconds=pulled.cpu_seconds + cpu, started=outcome.started
            )
            hidden, cpu = 0 if hidden is not None else None, 0.0

    def _launch(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Outcome:
        references = [self._reference(image) for image in images]
        try:
            argv = self._client.pull(references, scratch)
        except OSError as error:
            why = f"cannot write to {scratch}: {error.strerror}"
            return Outcome(127, why, monotonic(), 0.0, error=error)
        outcome = self._launcher.run(argv, self._timeout, stopped)
        if outcome.returncode == 0 and not self._client.succeeded(outcome.stderr):
            outcome = outcome._replace(returncode=_NOT_PULLED)
        if outcome.returncode or self._leaves_files(len(images)):
            _empty(scratch)
        if outcome.error is not None:
            sleep(_PAUSE_AFTER_NO_START)
        return self._cleaned_up(outcome, references, scratch)

    def _leaves_files(self, images: int) -> bool:
        least = self._client.abilities.leaves_files_from
        return least is not None and images >= least

    def _cleaned_up(self, outcome: Outcome, references: Sequence[str], scratch: Path) -> Outcome:
        """Removes what the launch left elsewhere. This counts in its CPU seconds, but not in its latency.

        What stays would make the next pull of the image a pull of nothing, so the launch then counts as failed.
        """
        argv = self._client.clean_up(references, scratch, outcome)
        if argv is None or outcome.dropped or outcome.error is not None:
            return outcome
        removed = self._launcher.run(argv, _CLEAN_UP_SECONDS)
        cpu = outcome.cpu_seconds + removed.cpu_seconds + self._client.service_cpu_seconds()
        outcome = outcome._replace(cpu_seconds=cpu)
        if removed.returncode == 0 or removed.interrupted or outcome.returncode:
            return outcome
        why = removed.error or OSError(errno.EIO, removed.stderr)
        stderr = f"pulled, but the image could not be removed afterwards: {removed.stderr}"
        return outcome._replace(returncode=_NOT_PULLED, stderr=stderr, error=why)

    def _told(self, image: Image, number: int, outcome: Outcome) -> Pulled:
        """What a launch says of an image, without what the launch took."""
        ended = INTERRUPTED if outcome.interrupted else FAILED if outcome.returncode else OK
        failure = failure_of(self._client, outcome) if ended == FAILED else None
        return Pulled(
            image=image,
            outcome=ended,
            started=outcome.started,
            seconds=outcome.seconds,
            launch=number,
            retries=0,
            failure=failure,
        )

    def _find_out(
        self,
        images: Sequence[Image],
        number: int,
        failed: Outcome,
        scratch: Path,
        stopped: Callable[[], bool],
    ) -> Iterator[Pulled]:
        """Pull each alone, the one that the client complained of last: where all others succeed, the failure was its.

        So every launch that failed has at least one failed image, also when its fault has gone by then.
        """
        suspect = self._suspect(images, failed.stderr)
        to_find, culprits = [image for image in images if image is not suspect], 0
        while to_find and not stopped():
            alone = self._pull_alone(to_find[0], number, scratch, stopped)
            if alone is None:
                break
            del to_find[0]
            culprits += alone.outcome == FAILED
            yield alone
            if alone.outcome == INTERRUPTED:
                break
        last = None
        if culprits and not to_find and not stopped():
            last = self._pull_alone(suspect, number, scratch, stopped)
        if last is not None:
            yield last
        elif culprits:
            to_find.append(suspect)
        else:
            yield self._told(suspect, number, failed)
        yield from (
            Pulled(
                image=image,
                outcome=INTERRUPTED,
                started=failed.started,
                seconds=failed.seconds,
                launch=number,
                retries=0,
            )
            for image in to_find
        )

    def _pull_alone(
        self, image: Image, number: int, scratch: Path, stopped: Callable[[], bool]
    ) -> Pulled | None:
        outcome = self._launch([image], scratch, stopped)
        if outcome.dropped:
            return None
        hidden, cpu = self._retries(outcome), outcome.cpu_seconds
        return self._told(image, number, outcome)._replace(retries=hidden, cpu_seconds=cpu, repulled=True)

    def _suspect(self, images: Sequence[Image], stderr: str) -> Image:
        """The image that the client named last, in a URL or a reference; else the first of all.

        Of two that end alike the longer name is meant: `lib/app` holds `app`. A blob's URL names the repository alone.
        """

        def named(image: Image) -> tuple[int, int]:
            forms = (
                f"/{image.repository}/manifests/{image.reference}",
                f"/{image.name}",
                f"/{image.repository}/",
            )
            places = [(stderr.rfind(form), len(form)) for form in forms]
            return max((place + length, length) if place >= 0 else (-1, 0) for place, length in places)

        return max(images, key=named)

    def _retries(self, outcome: Outcome) -> int | None:
        return self._client.retries(outcome.stderr, succeeded=outcome.returncode == 0)


class DryPuller:
    """Takes a few milliseconds an image and touches nothing."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterable[Pulled]:
        started, number = monotonic(), next(self._numbers)
        sleep(_DRY_PULL * len(images))
        return [
            Pulled(
                image=image,
                outcome=OK,
                started=started,
                seconds=monotonic() - started,
                launch=number,
                retries=0,
            )
            for image in images
        ]


def batches(images: Sequence[Image], size: int) -> Iterator[list[Image]]:
    """The images in their order, up to `size` together.

    Two digests of one repository are kept apart: crane gives both the same name in its tarball, and pulls one.
    """
    batch: list[Image] = []
    by_digest: set[str] = set()
    for image in images:
        if len(batch) == size or (image.is_digest and image.repository in by_digest):
            yield batch
            batch, by_digest = [], set()
        batch.append(image)
        if image.is_digest:
            by_digest.add(image.repository)
    if batch:
        yield batch


def _empty(folder: Path) -> None:
    """Remove what a client left in its folder; the folder itself stays."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

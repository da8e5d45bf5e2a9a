"""Pulls images, one or a batch per launch of the client, and finds the images that made a batch fail."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple, Protocol

from ..clients.classify import LEFT_BEHIND, failure_of, unshown_answer
from ..clients.client import Client
from ..clients.renewal import Renewal
from ..images import Image
from ..outcomes import FAILED, INTERRUPTED, OK, ErrorClass, Failure
from ..processes.launch import Launcher, Outcome
from ..servers.ask_status import StatusAsker

# Seconds to pause after a client could not be started. Such a failure takes microseconds, so the workers would spin.
_PAUSE_AFTER_NO_START = 0.1
# The exit status of a launch that ended with 0 although it did not pull its images.
_NOT_PULLED = 1
# The classes of a pull whose login may have expired; some clouds answer 403 then.
_LOGIN_REFUSED = (ErrorClass.UNAUTHORIZED.value, ErrorClass.FORBIDDEN.value)
# Seconds after which a clean-up that hangs is killed.
_CLEAN_UP_SECONDS = 60.0
# Seconds that a dry run sleeps per image.
_DRY_PULL = 0.005


class Pulled(NamedTuple):
    """The result of pulling one image.

    `launch` is the number of the launch; the images of a batch share it. `started` is the launch's start (monotonic).
    If the launch succeeded, all its images have its `seconds`, and the first one has its CPU seconds and retries.
    `repulled`: the image was pulled alone after its batch had failed, and `seconds` is the time of that pull.
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
        """Whether the launch pulled all its images."""
        return self.outcome == OK and not self.repulled


class Puller(Protocol):
    """Pulls images with one launch and returns one `Pulled` per image, in any order.

    `scratch` is the worker's folder. If the launch fails, further launches find the images that failed. They run while
    the caller reads the result, and end when `stopped` returns True. The result is empty if `stopped` returns True
    before the first launch starts.
    """

    def pull(
        self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
    ) -> Iterable[Pulled]: ...


class ClientPuller:
    """Pulls with one launch of the client. If a batch fails, pulls its images again one by one.

    `asker` finds out the class of a failure if the client does not show the status of the server's answer. `renewal`
    gives the client with the user's newest logins for each launch.
    """

    def __init__(
        self,
        client: Client,
        launcher: Launcher,
        reference: Callable[[Image], str],
        timeout: float,
        *,
        asker: StatusAsker | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._timeout = timeout
        self._asker = asker
        self._renewal = renewal
        self._numbers = itertools.count(1)

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterable[Pulled]:
        number, outcome = next(self._numbers), self._launch(images, scratch, stopped)
        if outcome.dropped:
            return []
        retries = self._retries(outcome)
        if outcome.returncode == 0:
            # the fast path: nearly every launch ends here
            none = None if retries is None else 0
            others = [
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
            return [first, *others]
        return self._after_failure(images, number, outcome, retries, scratch, stopped)

    def _after_failure(
        self,
        images: Sequence[Image],
        number: int,
        outcome: Outcome,
        hidden: int | None,
        scratch: Path,
        stopped: Callable[[], bool],
    ) -> Iterator[Pulled]:
        """Yields the result for each image of a launch that did not succeed."""
        if len(images) > 1 and not outcome.interrupted:
            results = self._pull_one_by_one(images, number, outcome, scratch, stopped)
        else:
            results = (self._result(image, number, outcome) for image in images)
        cpu = outcome.cpu_seconds
        for pulled in results:  # the first image gets the retries and CPU seconds of the failed launch
            retried = None if hidden is None else (pulled.retries or 0) + hidden
            yield pulled._replace(
                retries=retried, cpu_seconds=pulled.cpu_seconds + cpu, started=outcome.started
            )
            hidden, cpu = 0 if hidden is not None else None, 0.0

    def _launch(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Outcome:
        references = [self._reference(image) for image in images]
        client = self._client if self._renewal is None else self._renewal.newest()
        try:
            argv = client.pull(references, scratch)
        except OSError as error:
            why = f"cannot write to {scratch}: {error.strerror}"
            return Outcome(127, why, monotonic(), 0.0, error=error)
        outcome = self._launcher.run(argv, self._timeout, stopped, client.answer(references))
        if outcome.returncode == 0 and not self._client.succeeded(outcome.stderr):
            outcome = outcome._replace(returncode=_NOT_PULLED)
        if outcome.error is not None:
            sleep(_PAUSE_AFTER_NO_START)
        cleaned = self._cleaned_up(outcome, references, scratch)
        if cleaned.returncode or self._leaves_files(len(images)):
            _empty(scratch)
        return cleaned

    def _leaves_files(self, images: int) -> bool:
        least = self._client.abilities.leaves_files_from
        return least is not None and images >= least

    def _cleaned_up(self, outcome: Outcome, references: Sequence[str], scratch: Path) -> Outcome:
        """Removes what the launch left outside its folder. The CPU seconds include this, the latency does not.

        If the clean-up fails, the launch counts as failed: the next pull of the image would transfer nothing.
        """
        argv = self._client.clean_up(references, scratch, outcome)
        if argv is None or outcome.dropped or outcome.error is not None:
            return outcome
        removed = self._launcher.run(argv, _CLEAN_UP_SECONDS)
        cpu = outcome.cpu_seconds + removed.cpu_seconds + self._client.service_cpu_seconds()
        outcome = outcome._replace(cpu_seconds=cpu)
        if removed.returncode == 0 or removed.interrupted or outcome.returncode:
            return outcome
        stderr = f"pulled, but the image could not be removed afterwards: {removed.stderr}"
        error = OSError(LEFT_BEHIND, "the image could not be removed")
        return outcome._replace(returncode=_NOT_PULLED, stderr=stderr, error=error)

    def _result(self, image: Image, number: int, outcome: Outcome) -> Pulled:
        """Returns the result of a launch for one image, without the launch's retries and CPU seconds."""
        ended = INTERRUPTED if outcome.interrupted else FAILED if outcome.returncode else OK
        failure = self._failure(image, outcome) if ended == FAILED else None
        if self._renewal is not None and failure is not None and failure.error_class in _LOGIN_REFUSED:
            self._renewal.refused()
        return Pulled(
            image=image,
            outcome=ended,
            started=outcome.started,
            seconds=outcome.seconds,
            launch=number,
            retries=0,
            failure=failure,
        )

    def _failure(self, image: Image, outcome: Outcome) -> Failure:
        failure = failure_of(self._client, outcome)
        answer = unshown_answer(self._client, outcome) if self._asker is not None else None
        if self._asker is None or answer is None:
            return failure
        return self._asker.settle(image, failure, answer)

    def _pull_one_by_one(
        self,
        images: Sequence[Image],
        number: int,
        failed: Outcome,
        scratch: Path,
        stopped: Callable[[], bool],
    ) -> Iterator[Pulled]:
        """Pulls each image alone; the image that the error message names comes last.

        If all other images succeed, the named image counts as failed and is not pulled again. So every failed launch
        has at least one failed image, even if the fault is gone by now.
        """
        suspect = self._suspect(images, failed.stderr)
        left, culprits = [image for image in images if image is not suspect], 0
        while left and not stopped():
            alone = self._pull_alone(left[0], number, scratch, stopped)
            if alone is None:
                break
            del left[0]
            culprits += alone.outcome == FAILED
            yield alone
            if alone.outcome == INTERRUPTED:
                break
        last = None
        if culprits and not left and not stopped():
            last = self._pull_alone(suspect, number, scratch, stopped)
        if last is not None:
            yield last
        elif culprits:
            left.append(suspect)
        else:
            yield self._result(suspect, number, failed)
        yield from (
            Pulled(
                image=image,
                outcome=INTERRUPTED,
                started=failed.started,
                seconds=failed.seconds,
                launch=number,
                retries=0,
            )
            for image in left
        )

    def _pull_alone(
        self, image: Image, number: int, scratch: Path, stopped: Callable[[], bool]
    ) -> Pulled | None:
        outcome = self._launch([image], scratch, stopped)
        if outcome.dropped:
            return None
        hidden, cpu = self._retries(outcome), outcome.cpu_seconds
        return self._result(image, number, outcome)._replace(retries=hidden, cpu_seconds=cpu, repulled=True)

    def _suspect(self, images: Sequence[Image], stderr: str) -> Image:
        """Returns the image that stderr names last, in a URL or a reference; the first image if it names none.

        If two names match at the same place, the longer one counts (`lib/app` contains `app`). The URL of a blob names
        only the repository.
        """

        def named(image: Image) -> tuple[int, int]:
            forms = (
                f"/{image.path}/manifests/{image.reference}",
                f"/{image.name}",
                f"/{image.path}/",
            )
            places = [(stderr.rfind(form), len(form)) for form in forms]
            return max((place + length, length) if place >= 0 else (-1, 0) for place, length in places)

        return max(images, key=named)

    def _retries(self, outcome: Outcome) -> int | None:
        return self._client.retries(outcome.stderr, succeeded=outcome.returncode == 0)


class DryPuller:
    """Simulates pulls: sleeps a few milliseconds per image and starts no client."""

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


def batches(images: Iterable[Image], size: int) -> Iterator[list[Image]]:
    """Yields the images in order, in batches of at most `size`.

    A batch never holds an image twice. It never holds two digests of one repository, either: crane would give both the
    same name in its tarball and pull one.
    """
    batch: list[Image] = []
    held: set[Image | str] = set()
    for image in images:
        name = image.path if image.is_digest else image
        if len(batch) == size or name in held:
            yield batch
            batch, held = [], set()
        batch.append(image)
        held.add(name)
    if batch:
        yield batch


def _empty(folder: Path) -> None:
    """Removes everything in the folder, but not the folder itself."""
    with suppress(OSError):
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

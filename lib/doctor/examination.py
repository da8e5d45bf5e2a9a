"""The state of doctor's checks: the preparation that they carry out stage by stage, and the findings so far."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..errors import RunError, Stopped, UsageError
from ..options.settings import Settings
from ..prepare import Preparation
from ..processes.signals import Stop
from .check import FAILURE, WARNING, Check

# A generator of checks that returns whether none of them failed.
Checks = Generator[Check, None, bool]


class Examination:
    """Carries out the stages of a preparation, each as a check. The stages add their warnings to `cautions`.

    `changes` collects options to set (or, with None, to leave out) in the recommended command. If `undecided`, no
    command is recommended: an option has to change, and only the user knows how. `hosts` are the names of the
    hosts that were examined.
    """

    def __init__(self, preparation: Preparation, cautions: list[str], stop: Stop) -> None:
        self.preparation = preparation
        self.stop = stop
        self.cautions = cautions
        self.changes: dict[str, str | None] = {}
        self.undecided = False
        self.hosts: tuple[str, ...] = ()
        self._reported: set[Exception] = set()

    def heed(self) -> None:
        """Raises Stopped after a signal."""
        self.stop.heed()

    @property
    def settings(self) -> Settings:
        return self.preparation.settings

    def carry_out(self, name: str, stage: Callable[[], object], advice: str = "") -> Checks:
        """Carries out a stage and yields its failure. Skips a failure that has been reported before."""
        error = failure(stage)
        if error is not None and error not in self._reported:
            self._reported.add(error)
            yield Check(name, FAILURE, str(error), advice)
        return error is None

    @contextmanager
    def until_stop(self) -> Iterator[None]:
        """Around launches of the client: a signal ends them, and raises `Stopped`."""
        launcher, network = self.preparation.client_setup().launcher, self.preparation.around.network

        def kill() -> None:
            network.kill_all()
            if launcher is not None:
                launcher.kill_all()

        with self.stop.calling(kill):
            yield
        if self.stop.count:
            raise Stopped

    def is_told(self, stage: Callable[[], object]) -> None:
        """Marks the failure of this stage as reported, because other checks have explained it."""
        error = failure(stage)
        if error is not None:
            self._reported.add(error)

    def mend(self, option: str, value: str | None, **settings: Any) -> None:
        """Recommends this option, and continues the preparation with these settings."""
        self.changes[option] = value
        self.preparation = self.preparation.again(replace(self.settings, **settings))

    def warnings(self, name: str) -> Iterator[Check]:
        """Yields the warnings of the stages since the last call."""
        for message in self.cautions:
            yield Check(name, WARNING, message)
        self.cautions.clear()


def failure(stage: Callable[[], object]) -> UsageError | RunError | None:
    """Carries out a stage and returns its error, or None if it succeeds."""
    try:
        stage()
    except (UsageError, RunError) as error:
        return error
    return None

"""The state of an examination: the preparation that it carries out stage by stage, and what it has found so far."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from ..errors import RunError, UsageError
from ..options.settings import Settings
from ..prepare import Preparation
from .check import FAILURE, WARNING, Check

# A generator of checks that ends with whether all is well.
Checks = Generator[Check, None, bool]


class Examination:
    """Carries out the stages of a preparation, each as a check. `cautions` are its warnings, which the stages fill.

    `changes` collects options to set (or, with None, to leave out) in the recommended command. There is none to
    recommend if `undecided`: an option has to change, and only the user can say how.
    """

    def __init__(self, preparation: Preparation, cautions: list[str]) -> None:
        self.preparation = preparation
        self.cautions = cautions
        self.changes: dict[str, str | None] = {}
        self.undecided = False
        self._told: set[Exception] = set()

    @property
    def settings(self) -> Settings:
        return self.preparation.settings

    def carry_out(self, name: str, stage: Callable[[], object], advice: str = "") -> Checks:
        """Carries out a stage. The failure of a stage that it builds on has been told before."""
        error = failure(stage)
        if error is not None and error not in self._told:
            self._told.add(error)
            yield Check(name, FAILURE, str(error), advice)
        return error is None

    def is_told(self, stage: Callable[[], object]) -> None:
        """Other checks have told why this stage fails."""
        error = failure(stage)
        if error is not None:
            self._told.add(error)

    def mend(self, option: str, value: str | None, **settings: Any) -> None:
        """Recommends this option, and goes on with these settings."""
        self.changes[option] = value
        self.preparation = self.preparation.again(replace(self.settings, **settings))

    def warnings(self, name: str) -> Iterator[Check]:
        """What the stages have warned of since the last call."""
        for message in self.cautions:
            yield Check(name, WARNING, message)
        self.cautions.clear()


def failure(stage: Callable[[], object]) -> UsageError | RunError | None:
    """Why a stage fails; None if it succeeds."""
    try:
        stage()
    except (UsageError, RunError) as error:
        return error
    return None

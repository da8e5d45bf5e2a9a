"""A stage of a preparation: a method that is carried out once, and whose value or failure is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .errors import RunError, UsageError

T = TypeVar("T")
S = TypeVar("S", bound="Staged")


class Staged:
    """A class with stages. A stage calls the stages that it builds on, so it fails with the failure of the first.

    So each stage is carried out at most once, whoever asks for it, and a failure is always the same exception.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.failures: dict[str, UsageError | RunError] = {}


def stage(method: Callable[[S], T]) -> Callable[[S], T]:
    """Makes a method without arguments a stage."""
    name = method.__name__

    @wraps(method)
    def once(self: S) -> T:
        if name in self.failures:
            raise self.failures[name]
        if name not in self.values:
            try:
                self.values[name] = method(self)
            except (UsageError, RunError) as error:
                self.failures[name] = error
                raise
        value: T = self.values[name]
        return value

    once.is_stage = True  # type: ignore[attr-defined]
    return once


def stages_of(staged: type[Staged]) -> tuple[str, ...]:
    """The names of its stages, in the order of their definition."""
    return tuple(name for name, method in vars(staged).items() if hasattr(method, "is_stage"))

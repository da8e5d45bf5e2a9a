"""Stages of a preparation: methods that run at most once and whose value or failure is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .errors import RunError, UsageError

T = TypeVar("T")
S = TypeVar("S", bound="Staged")


class Staged:
    """A class with stages. A stage calls the stages that it builds on, so it fails if one of them fails.

    Each stage runs at most once. Later calls return its value or raise the same exception again.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.failures: dict[str, UsageError | RunError] = {}

    def heed(self) -> None:
        """Called before each stage. It may raise Stopped, so that a stop ends the preparation."""


def stage(method: Callable[[S], T]) -> Callable[[S], T]:
    """Turns a method without arguments into a stage."""
    name = method.__name__

    @wraps(method)
    def once(self: S) -> T:
        if name in self.failures:
            raise self.failures[name]
        if name not in self.values:
            self.heed()
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
    """Returns the names of the stages of a class, in the order of their definition."""
    return tuple(name for name, method in vars(staged).items() if hasattr(method, "is_stage"))

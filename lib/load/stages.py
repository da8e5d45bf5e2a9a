"""Stages, as in k6: in each, the number of workers (or the rate of a schedule) goes to a target in a given time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..counted import counted
from ..durations import LONGEST, parse_duration, spoken
from ..errors import UsageError
from .curve import MOST_PULLS_PER_SECOND, Curve, Rate
from .plan import DOWN, HOLD, UP, Plan, steps_of

_MOST_WORKERS: Final = 100_000
_STAGE: Final = re.compile(r"(?P<time>[^:]+):(?:(?P<workers>\d+)|(?P<rate>\d+(?:\.\d*)?|\.\d+)/s)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of `seconds`. Its target is a number of workers, or a rate in pulls per second: one of them is None."""

    seconds: float
    workers: int | None
    rate: float | None

    @property
    def target(self) -> float:
        return self.workers if self.workers is not None else self.rate or 0.0

    def __str__(self) -> str:
        return f"{spoken(self.seconds)}:{self.target:g}{'/s' if self.workers is None else ''}"


def parse_stages(option: str, texts: Sequence[str]) -> tuple[Stage, ...]:
    """Parses stages such as `20s:4` or `5m:200/s`. Raises UsageError for others, and for stages of two kinds."""
    stages = tuple(_parse(option, text) for text in texts)
    if len({stage.workers is None for stage in stages}) > 1:
        raise UsageError(f"{option}: give all stages as numbers of workers, or all as rates such as 200/s")
    if stages and not any(stage.target for stage in stages):
        raise UsageError(f"{option}: all stages go to 0, so there is no load; give one that goes higher")
    if [stage.workers for stage in stages if stage.workers != 0] == [1] and stages[-1].workers:
        raise UsageError(
            f"{option}: the only worker starts when the last stage ends; add a stage in which it runs, "
            f"such as {option} {stages[-1]}"
        )
    return stages


def _parse(option: str, text: str) -> Stage:
    match = _STAGE.fullmatch(text.strip())
    try:
        seconds = parse_duration(match["time"]) if match is not None else 0.0
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None
    if match is None:
        raise UsageError(
            f"{option}: '{text}' is not a stage; give a time and a number of workers, such as 20s:4, "
            "or a time and a rate, such as 5m:200/s"
        )
    if not 0 < seconds <= LONGEST:
        raise UsageError(
            f"{option}: the time of '{text}' is out of range; give more than 0 and at most a year"
        )
    rate = match["workers"] is None
    target = float(match["rate"] if rate else match["workers"])  # int() refuses thousands of digits
    if target > (MOST_PULLS_PER_SECOND if rate else _MOST_WORKERS):
        raise UsageError(f"{option}: the target of '{text}' is out of range; give at most {_MOST_WORKERS}")
    return Stage(seconds, None, target) if rate else Stage(seconds, int(target), None)


def most_workers(stages: Sequence[Stage]) -> int:
    """Returns the greatest number of workers that the stages reach; 0 for rates."""
    return max((stage.workers or 0 for stage in stages), default=0)


def plan_stages(stages: Sequence[Stage], workers: int) -> Plan:
    """Returns the plan for the stages. `workers` run all the time if the stages are rates.

    From p to n workers in s seconds, the i-th change is at i·s/|n - p| (k6's executor `ramping-vus`). So n workers are
    reached at the end of the stage.
    """
    shown = ", ".join(map(str, stages))
    whole = spoken(sum(stage.seconds for stage in stages))
    if stages[0].workers is None:
        steps = [(workers, direction, stage.seconds) for stage, direction, _ in _with_directions(stages)]
        rates = tuple(
            (Rate(before, stage.target), stage.seconds) for stage, _, before in _with_directions(stages)
        )
        about = f"stages {shown}, {whole} in all, on a schedule, {counted(workers, 'worker')} throughout"
        return Plan(steps_of(steps), about, Curve(rates))
    changes: list[tuple[int, str, float]] = []
    for stage, direction, before in _with_directions(stages):
        span = abs(int(stage.target) - int(before))
        sign = 1 if direction == UP else -1
        changes += [
            (int(before) + sign * done, direction, stage.seconds / max(span, 1))
            for done in range(max(span, 1))
        ]
    return Plan(steps_of(changes), f"stages {shown}, {whole} in all")


def _with_directions(stages: Sequence[Stage]) -> Iterator[tuple[Stage, str, float]]:
    """Yields each stage with its direction, and with the target before it."""
    before = 0.0
    for stage in stages:
        direction = UP if stage.target > before else DOWN if stage.target < before else HOLD
        yield stage, direction, before
        before = stage.target

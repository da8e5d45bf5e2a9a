"""Fixed work: each worker makes a given number of passes over its images and then ends, however long that takes."""

from __future__ import annotations

from collections.abc import Sequence

from ..counted import counted
from ..durations import spoken
from .plan import HOLD, UP, WITH_THE_LAST_WORKER, Plan, Step


def plan_passes(images: Sequence[int], passes: int, seconds: float | None) -> Plan:
    """Returns the plan for fixed work. `images` has the number of images of each worker.

    Workers start together, or `seconds` apart. While workers start, each number of workers is one `up` step. The `hold`
    step after that lasts until the last worker has ended.
    """
    workers, apart = len(images), seconds or 0.0
    starting = range(1, workers) if seconds else ()
    up = [Step(n, UP, (n - 1) * apart, n * apart) for n in starting]
    hold = Step(workers, HOLD, len(up) * apart, WITH_THE_LAST_WORKER)
    pulls = passes * sum(images)
    about = (
        f"fixed work: {counted(workers, 'worker')}, {counted(passes, 'pass', 'passes')} each, "
        f"{counted(pulls, 'pull')} in all, workers start {f'{spoken(seconds)} apart' if seconds else 'together'}"
    )
    return Plan((*up, hold), about, passes=passes, pulls=pulls)

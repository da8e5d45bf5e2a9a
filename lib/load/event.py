"""The result of one pull or prune of one image. All counts, latencies and event lines come from these values."""

from __future__ import annotations

from typing import NamedTuple

from ..images import Image
from ..outcomes import Failure

PULL = "pull"
PRUNE = "prune"


class HerdPull(NamedTuple):
    """The place of one pull in its herd: the number of the herd, from 1, and the number of its pulls.

    `started` is the start of the client (monotonic). The prune before a herd has the same number, and no start.
    """

    number: int
    size: int
    started: float | None = None


class Event(NamedTuple):
    """One pull or prune of one image.

    `ended` is monotonic. `seconds` is the time from launch to exit; with a schedule it starts when the pull was due.
    `first`: the first pull of the image in this run, or since its last prune. `failure` is set only if `outcome` is
    FAILED. `retries` is None if the client does not report retries. `launch` is the number of the pull's launch. In a
    batch, one image is `timed` (its `seconds` count as the latency), and the first has the retries and CPU seconds.
    `repulled`: pulled alone after its batch had failed. `late`: why the pull started late (see `pace`), or None.
    `began`: start of the launch (monotonic). `image_set`: index of the image set that the image was taken from.
    `herd` is set if workers pull in herds. `size`: the bytes that a successful pull fetched; None if unknown.
    """

    op: str
    worker: int
    pass_number: int
    image: Image
    outcome: str
    ended: float
    seconds: float
    first: bool = False
    retries: int | None = None
    failure: Failure | None = None
    cpu_seconds: float = 0.0
    launch: int | None = None
    timed: bool = True
    repulled: bool = False
    late: str | None = None
    began: float | None = None
    image_set: int | None = None
    herd: HerdPull | None = None
    size: int | None = None

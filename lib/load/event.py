"""What came of one pull or prune of one image: the value that every count, latency and line is made of."""

from __future__ import annotations

from typing import NamedTuple

from ..images import Image
from ..outcomes import Failure

PULL = "pull"
PRUNE = "prune"


class Event(NamedTuple):
    """`ended` is monotonic, `seconds` from launch (by a schedule: from when it was due) to exit.

    `first`: the first pull of the image, or since its prune. `failure` is there just where `outcome` is FAILED.
    `retries` is None where the client does not tell. `launch` numbers the pull's launch; of the images that one has
    pulled just one is `timed`, and the first has its retries and CPU seconds. `repulled`: alone, after that had failed.
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
    late: bool = False

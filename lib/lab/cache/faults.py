"""The faults that the cache can make on purpose, and the choice of the answers that get them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from aiohttp import web

from ..fault_names import Fault, Repertoire
from .wire import BLOB, MANIFEST, oci_error

CONTENT_FAULTS = ("truncate", "corrupt")
REPERTOIRE = Repertoire(
    usage="[manifest-|blob-]NAME[:RATE], where NAME is a status (400 to 599), reset, hang, truncate or corrupt, "
    "and RATE is 0.1, 10% or, for the first two answers only, 2x",
    places=(MANIFEST, BLOB),
    kinds=("reset", "hang", *CONTENT_FAULTS),
    everywhere=True,
    rates=True,
)

_STATUS_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}


class Faults:
    """Chooses the fault of each answer, or none. The same seed and order of requests give the same faults."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._left = [fault.first for fault in faults]
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret

    def draw(self, kind: str) -> Fault | None:
        for index, fault in enumerate(self._faults):
            if fault.place in (None, kind) and self._strikes(index, fault):
                return fault
        return None

    def _strikes(self, index: int, fault: Fault) -> bool:
        left = self._left[index]
        if left is None:
            return fault.rate >= 1 or self._random.random() < fault.rate
        self._left[index] = max(0, left - 1)
        return left > 0


def status_fault(status: int, kind: str) -> web.Response:
    """Returns an error answer: with a code if the OCI Distribution Specification has one, else with no body."""
    code = f"{kind}_unknown".upper() if status == 404 else _STATUS_CODES.get(status)
    response = oci_error(code, status) if code else web.Response(status=status)
    if status == 429:
        response.headers["Retry-After"] = "1"
    return response

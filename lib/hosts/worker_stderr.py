"""The stderr of the Dask worker, for the last words of a host process that outlives its worker.

A host process writes to a pipe, which its agent reads. After the end of the worker, nobody reads it. So the host
process also inherits the worker's own stderr, as a descriptor that this variable names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_VARIABLE: Final = "OCIDRIVER_WORKER_STDERR"


@contextmanager
def inherited() -> Iterator[tuple[int, dict[str, str]]]:
    """In the worker: gives a descriptor for the host process, and the variable that names it."""
    descriptor = os.dup(2)
    try:
        yield descriptor, {_VARIABLE: str(descriptor)}
    finally:
        os.close(descriptor)


def take() -> int | None:
    """In the host process: returns the descriptor, and keeps it from the clients. Returns None without a worker."""
    with suppress(ValueError, OSError):
        descriptor = int(os.environ.pop(_VARIABLE, ""))
        os.set_inheritable(descriptor, False)
        return descriptor
    return None


def use(descriptor: int | None) -> None:
    """In the host process: writes to the worker's stderr from now on."""
    if descriptor is not None:
        os.dup2(descriptor, 2)

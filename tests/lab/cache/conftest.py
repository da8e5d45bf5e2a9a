"""What the tests of the lab's cache share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.lab.servers import crane_registry
from tests.support.programs import or_skip


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """`host:port` of a crane registry; each test pushes under names of its own."""
    with or_skip(crane_registry()) as server:
        yield server.address

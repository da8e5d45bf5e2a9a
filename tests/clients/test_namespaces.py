"""The names of the namespaces of a run."""

from __future__ import annotations

import pytest

from lib.clients.namespaces import Namespaces, lives


@pytest.mark.parametrize("foreign", ["mine", "a-b", "1-2", "1-2-mine"])
def test_a_namespace_that_no_run_has_made_is_never_taken_for_a_dead_runs(foreign: str) -> None:
    assert lives(f"ocidriver-0123abcd-{foreign}")


def test_a_namespace_of_a_run_that_has_ended_is_known() -> None:
    assert not lives("ocidriver-0123abcd-1-1-worker-0-0")
    assert lives(Namespaces("/bin/ctr", "/none", {}).current("worker-0"))

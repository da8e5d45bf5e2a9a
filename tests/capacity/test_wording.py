"""The answer of a capacity search claims only what its trials showed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lib.capacity.result import Capacity
from lib.capacity.wording import answer

TRIAL: dict[str, Any] = {
    "rate": 10.0, "seconds": 30.0, "held": False, "pulled": 290, "failed": 0, "retried": 0, "first": 10,
    "latency_ms": None, "error_rate": 0.0, "errors": {}, "unstarted": 0, "late_no_worker": 0, "late_machine": 0,
    "limited_by": None, "missed": "p95 was 300 ms, must be under 250 ms",
}  # fmt: skip
FAILED = {"rate": 20.0, "reason": "p95 was 300 ms, must be under 250 ms"}
HELD = {"rate": 10.0, "certain": True, "latency_ms": None}


def found(**changes: Any) -> Capacity:
    fields = {
        "started": "2026-01-31T12:00:00+00:00", "elapsed_seconds": 60.0, "interrupted": False, "reason": None,
        "command": (), "settings": {}, "slos": ("p95<250ms",), "client": None, "held": None, "failed_at": None,
        "limit": None, "trials": [TRIAL], **changes,
    }  # fmt: skip
    return msgspec.convert(fields, Capacity)


@pytest.mark.parametrize(
    ("search", "lines"),
    [
        (
            found(held=HELD, failed_at=FAILED, limit="slo"),
            ["The server sustains 10 pulls/s: 0 % failed.",
             "It does not sustain 20 pulls/s: p95 was 300 ms, must be under 250 ms."],
        ),
        (
            found(failed_at={**FAILED, "rate": 10.0}, limit="slo"),
            ["The search found no rate that the server sustains; give a lower --from.",
             "It does not sustain 10 pulls/s: p95 was 300 ms, must be under 250 ms."],
        ),
        # nothing is known of the server
        (
            found(limit="machine", trials=[{**TRIAL, "limited_by": "machine"}]),
            ["The search has no result for the server.",
             "At 10 pulls/s, this machine was the limit, not the server; run ocidriver on a machine of its own."],
        ),
        (
            found(interrupted=True, trials=[{**TRIAL, "held": None, "missed": None}]),
            ["The search has no result for the server.", "No rate has a verdict: a signal ended the search."],
        ),
        (
            found(held=HELD, limit="max-time"),
            ["The server sustains 10 pulls/s: 0 % failed.",
             "No higher rate has a verdict: --max-time ended the search."],
        ),
        (
            found(held={**HELD, "certain": False}, limit="max-rate"),
            ["The server sustains 10 pulls/s (likely, but not certain at 95 %): 0 % failed.",
             "The search ended at --max-rate. The server may sustain a higher rate."],
        ),
        (
            found(held=HELD, settings={"dry_run": True}),
            ["This was a dry run. It pulled nothing, so these numbers do not describe a server."],
        ),
        (found(trials=[]), []),
    ],
)  # fmt: skip
def test_the_answer(search: Capacity, lines: list[str]) -> None:
    assert list(answer(search)) == lines

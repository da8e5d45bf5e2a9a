"""A summary for tests that need one: of a small good run, changed as the test says."""

from __future__ import annotations

from typing import Any

from lib.results.summary import Summary
from lib.results.summary_file import summary_of

LATENCY = {
    "count": 100, "min": 1.0, "mean": 2.0, "p50": 2.04, "p90": 3.0, "p95": 4.0, "p99": 5.0, "max": 6.0,
}  # fmt: skip
_PART = {"workers": 1, "seconds": 1.0, "pulled": 5, "failed": 1, "rate": 5.0, "latency_ms": LATENCY}
_STEP = {**_PART, "low": 4.0, "high": 6.0, "offered": None, "bytes": None, "bytes_per_second": None}
_SAMPLE = {
    "time": "2026-01-31T12:00:01.000+00:00",
    **_PART,
    "errors": {"dns": 1},
    "retried": None,
    "driver_cpu_seconds": 0.05,
    "client_cpu_seconds": 0.5,
    "machine": {"idle": 0.5, "steal": 0.0, "pressure": None, "throttled": None},
    "paused_seconds": 0.0,
    "limited_by": None,
}
DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "started": "2026-01-31T12:00:00+00:00",
    "elapsed_seconds": 2.0,
    "interrupted": False,
    "reason": None,
    "command": ["./ocidriver.py"],
    "settings": {"pullthrough_url": "http://cache:8080"},
    "load": "a ramp",
    "client": {"name": "crane", "version": "0.20"},
    "listed": 3,
    "foreign": 0,
    "images": 3,
    "pulled": 10,
    "failed": 2,
    "interrupted_pulls": 1,
    "pruned": 0,
    "prune_failed": 0,
    "retried": None,
    "repulled": 0,
    "late": 0,
    "late_no_worker": 0,
    "late_machine": 0,
    "unstarted": 0,
    "error_rate": 1 / 6,
    "rate": 5.0,
    "pulling_rate": None,
    "bytes": None,
    "bytes_per_second": None,
    "errors": {},
    "prune_errors": {},
    "latency_unit": "pull",
    "latency_ms": LATENCY,
    "first_latency_ms": None,
    "repeat_latency_ms": LATENCY,
    "workers": [{"pattern": "-0001", "images": 3, "passes": 4, "pulled": 10, "failed": 2, "pruned": 0}],
    "image_sets": [{"pattern": "-0001", "images": 3, "pulled": 10, "failed": 2, "latency_ms": LATENCY}],
    "first_pulls": "unknown",
    "steps": [{**_STEP, "direction": "up"}, {**_STEP, "direction": "down"}],
    "samples": [_SAMPLE],
    "drain": None,
    "peak": {"rate": 5.0, "low": 4.0, "high": 6.0, "workers": 1, "offered": None, "latency_ms": LATENCY},
    "knee": None,
    "precision": {"percent": 14.1, "seconds_for_2_percent": 99.4},
    "driver_cpu_seconds": 0.1,
    "client_cpu_seconds": 1.0,
    "limited_by": None,
    "thresholds": [],
}


def a_summary(**changes: Any) -> Summary:
    return summary_of({**DOCUMENT, **changes})


def a_host(number: int, of: int, **changes: Any) -> dict[str, Any]:
    """A host of a load on several hosts, as the summary has it."""
    return {
        "name": f"host-{number}", "share": f"{number}/{of}", "cores": 2.0,
        "client": {"name": "crane", "version": "0.20"},
        "workers": 1, "images": 3, "pulled": 5, "failed": 1, "interrupted_pulls": 0, "rate": 2.5, "rates": [2.5],
        "latency_ms": LATENCY, "driver_cpu_seconds": 0.1, "client_cpu_seconds": 1.0, "limited_by": None,
        "began": "2026-01-31T12:00:00.000+00:00", "counted_until": 2.0, "lost": None, **changes,
    }  # fmt: skip

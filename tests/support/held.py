"""Summaries of runs with one step at a constant load, from the counts of their intervals."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lib.compare.pulls import Pulls
from lib.compare.recorded_run import Recorded, recorded
from lib.results.summary_file import summary_of
from tests.support.made import BEGAN, SETTINGS, latency

SECONDS = 15.0


def held(
    pulled: Sequence[int],
    errors: Mapping[str, Sequence[int]] | None = None,
    *,
    ms: float = 400.0,
    seconds: float = SECONDS,
    **changes: Any,
) -> dict[str, Any]:
    """The document of a run with these successful pulls and failures by class in each interval of `seconds`."""
    classes = errors or {}
    failed = [sum(counts[k] for counts in classes.values()) for k in range(len(pulled))]
    one = latency([ms * (0.8 + 0.004 * k) for k in range(100)])
    whole = seconds * len(pulled)
    return {
        "schema": 1,
        "started": BEGAN.isoformat(),
        "elapsed_seconds": whole,
        "interrupted": False,
        "settings": {**SETTINGS},
        "client": {"name": "crane", "version": "0.22.1"},
        "workers": [],
        "thresholds": [],
        "images": 20,
        "pulled": sum(pulled),
        "failed": sum(failed),
        "interrupted_pulls": 0,
        "error_rate": sum(failed) / (sum(pulled) + sum(failed)),
        "rate": sum(pulled) / whole,
        "errors": {name: sum(counts) for name, counts in classes.items()},
        "latency_ms": one,
        "first_latency_ms": one,
        "repeat_latency_ms": one,
        "steps": [
            {
                "workers": 4, "direction": "hold", "seconds": whole, "pulled": sum(pulled), "failed": sum(failed),
                "rate": sum(pulled) / whole, "latency_ms": one,
            },
        ],
        "samples": [
            {
                "time": (BEGAN + timedelta(seconds=seconds * (k + 1))).isoformat(timespec="milliseconds"),
                "seconds": seconds, "rate": pulled[k] / seconds, "pulled": pulled[k], "failed": failed[k],
                "errors": {name: counts[k] for name, counts in classes.items() if counts[k]},
                "latency_ms": one,
            }
            for k in range(len(pulled))
        ],
        "limited_by": None,
        **changes,
    }  # fmt: skip


def older(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same as an earlier version wrote it: the intervals do not say which classes failed."""
    changed = copy.deepcopy(dict(document))
    for sample in changed["samples"]:
        del sample["errors"]
    return changed


def run(document: Mapping[str, Any], file: str = "run.json") -> Recorded:
    return recorded(file, summary_of(document))


def run_with_events(
    document: Mapping[str, Any], file: str = "run.json", *, drained: Sequence[float] = ()
) -> Recorded:
    """The same with its pulls, whose latencies are those of `held`, and with pulls of the drain in milliseconds."""
    summary = summary_of(document)
    rows: list[tuple[float, float]] = []
    for k, sample in enumerate(summary.samples):
        assert sample.latency_ms is not None
        ms = sample.latency_ms.min / 0.8
        rows += [
            (SECONDS * (k + (n + 0.5) / sample.pulled), ms * (0.8 + 0.004 * (n * 37 % 100)))
            for n in range(sample.pulled)
        ]
    rows += [(SECONDS * len(summary.samples) + taken / 1000, taken) for taken in drained]
    nothing = np.zeros(len(rows), dtype=np.intp)
    pulls = Pulls(
        at=np.array([at for at, _ in rows]),
        milliseconds=np.array([taken for _, taken in rows]),
        first=nothing > 0,
        timed=nothing == 0,
        error=nothing - 1,
        errors=(),
        image=nothing - 1,
        images=(),
        retries=None,
    )
    return recorded(file, summary, pulls)


def write(folder: Path, name: str, document: Mapping[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path

"""A summary file, checked: the page can rely on its shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..summary import SCHEMA

_LONGEST_SECONDS = 10 * 366 * 86400.0

_PARTS: Mapping[str, type | tuple[type, ...]] = {
    "settings": dict,
    "errors": dict,
    "workers": list,
    "steps": list,
    "samples": list,
    "thresholds": list,
    "started": str,
    "interrupted": bool,
    **dict.fromkeys(("pulled", "failed", "interrupted_pulls", "elapsed_seconds", "rate"), (int, float)),
}
_ENTRIES: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "steps": {"workers": int, "direction": str, "seconds": (int, float), "rate": (int, float), "pulled": int},
    "samples": {"time": str, "seconds": (int, float), "rate": (int, float), "pulled": int, "failed": int},
    "workers": {"pattern": str, "images": int, "passes": int, "pulled": int, "failed": int, "pruned": int},
    "thresholds": {"expression": str, "passed": bool},
}


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of a run; UsageError where the file is none."""
    try:
        summary = json.loads(path.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON; give the file of --summary-file") from None
    wrong = _wrong(summary)
    if wrong is not None:
        raise UsageError(f"{path} is not a summary of ocidriver: {wrong}; give the file of --summary-file")
    return dict(summary)


def _no_number(word: str) -> Any:
    """NaN and Infinity, which JSON does not have but Python reads."""
    raise ValueError(word)


def _wrong(summary: Any) -> str | None:
    """What is not as it should be; None where all is well."""
    if not isinstance(summary, dict):
        return "it is no object"
    if summary.get("schema") != SCHEMA:
        return f"its schema is not {SCHEMA}"
    for name, kind in _PARTS.items():
        if not isinstance(summary.get(name), kind):
            return f"'{name}' is missing or of another kind"
    for part, shape in _ENTRIES.items():
        for each in summary[part]:
            if not isinstance(each, dict) or not all(isinstance(each.get(k), t) for k, t in shape.items()):
                return f"an entry of '{part}' is of another kind"
    for kinds in ("", "first_", "repeat_"):
        if not _is_latency(summary.get(f"{kinds}latency_ms")):
            return f"'{kinds}latency_ms' is of another kind"
    if not all(
        _is_latency(each.get("latency_ms")) for part in ("steps", "samples") for each in summary[part]
    ):
        return "a latency is of another kind"
    if not all(isinstance(summary.get(name, 0), int) for name in ("late", "unstarted")):
        return "'late' or 'unstarted' is of another kind"
    if not all(isinstance(each.get("offered") or 0, (int, float)) for each in summary["steps"]):
        return "an 'offered' is of another kind"
    return _wrong_time(summary)


def _is_latency(value: Any) -> bool:
    names = ("min", "mean", "p50", "p90", "p95", "p99", "max")
    return value is None or (
        isinstance(value, dict) and all(isinstance(value.get(n), (int, float)) for n in names)
    )


def _wrong_time(summary: Mapping[str, Any]) -> str | None:
    try:
        for text in (summary["started"], *(sample["time"] for sample in summary["samples"])):
            if datetime.fromisoformat(text).tzinfo is None:
                return "a time has no zone"
    except ValueError:
        return "a time is none"
    lengths = [each["seconds"] for part in ("steps", "samples") for each in summary[part]]
    if not all(
        0 <= seconds <= _LONGEST_SECONDS for seconds in (*lengths, sum(lengths), summary["elapsed_seconds"])
    ):
        return "a time is out of range"
    return None


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the ramp took."""

    begin: datetime
    seconds: float

    def at(self, seconds: float) -> datetime:
        return self.begin + timedelta(seconds=seconds)


def span_of(summary: Mapping[str, Any]) -> Span:
    """From the samples, which know the ramp's beginning; without any, from the run's."""
    samples = summary["samples"]
    if not samples:
        return Span(datetime.fromisoformat(summary["started"]), float(summary["elapsed_seconds"]))
    begin = datetime.fromisoformat(samples[0]["time"]) - timedelta(seconds=samples[0]["seconds"])
    return Span(begin, float(sum(sample["seconds"] for sample in samples)))

"""A summary file, read and checked: report and compare can rely on its shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .summary import SCHEMA

# No count, time in seconds or milliseconds, or rate of a run is larger.
_MOST = 1e15
_LONGEST_SECONDS = 10 * 366 * 86400.0
_NUMBER = (int, float)

_Kinds = Mapping[str, type | tuple[type, ...]]

_PARTS: _Kinds = {
    "settings": dict,
    "errors": dict,
    "workers": list,
    "steps": list,
    "samples": list,
    "thresholds": list,
    "started": str,
    "interrupted": bool,
    "client": (dict, type(None)),
    "error_rate": (*_NUMBER, type(None)),
    "limited_by": (str, type(None)),
    **dict.fromkeys(("pulled", "failed", "interrupted_pulls", "images"), int),
    **dict.fromkeys(("elapsed_seconds", "rate"), _NUMBER),
}
# Parts that summaries of the open model have.
_SCHEDULE = ("late", "unstarted")
_ENTRIES: Mapping[str, _Kinds] = {
    "steps": {"workers": int, "direction": str, "seconds": _NUMBER, "rate": _NUMBER, "pulled": int},
    "samples": {"time": str, "seconds": _NUMBER, "rate": _NUMBER, "pulled": int, "failed": int},
    "workers": {"pattern": str, "images": int, "passes": int, "pulled": int, "failed": int, "pruned": int},
    "thresholds": {"expression": str, "passed": bool},
}
_LATENCY: _Kinds = dict.fromkeys(("min", "mean", "p50", "p90", "p95", "p99", "max"), _NUMBER)


def read_summary(path: Path) -> dict[str, Any]:
    """The summary of a run; UsageError where the file is none."""
    try:
        summary = json.loads(path.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON; give a file that --summary-file wrote") from None
    if not isinstance(summary, dict) or "schema" not in summary:
        raise UsageError(f"{path} is not a summary of ocidriver; give a file that --summary-file wrote")
    if summary["schema"] != SCHEMA:
        raise UsageError(
            f"{path}: its schema is {summary['schema']!r}, this ocidriver reads {SCHEMA}; read it with the ocidriver "
            "that wrote it"
        )
    wrong = _wrong(summary)
    if wrong is not None:
        raise UsageError(f"{path} is not a whole summary of ocidriver: {wrong}; make it with --summary-file")
    return summary


def _no_number(word: str) -> Any:
    """NaN and Infinity, which JSON does not have but Python reads."""
    raise ValueError(word)


def _wrong(summary: Mapping[str, Any]) -> str | None:
    """What is not as it should be; None where all is well."""
    for name, kind in _PARTS.items():
        if not (name in summary and _is(summary[name], kind)):
            return f"'{name}' is missing or of another kind"
    for name in _SCHEDULE:
        if not _is(summary.get(name, 0), int):
            return f"'{name}' is of another kind"
    if not all(_is(count, int) for count in summary["errors"].values()):
        return "a count of 'errors' is of another kind"
    for part, kinds in _ENTRIES.items():
        if not all(_has(each, kinds) for each in summary[part]):
            return f"an entry of '{part}' is of another kind"
    if not all(_is(each.get("offered"), (*_NUMBER, type(None))) for each in summary["steps"]):
        return "an 'offered' is of another kind"
    return _wrong_latency(summary) or _wrong_time(summary)


def _has(value: Any, kinds: _Kinds) -> bool:
    return isinstance(value, dict) and all(
        name in value and _is(value[name], kind) for name, kind in kinds.items()
    )


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    """Of that kind; a number is one that a run can have."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind) and (not isinstance(value, _NUMBER) or 0 <= value <= _MOST)


def is_number(value: Any) -> bool:
    """Whether a run can have this count, time or rate."""
    return _is(value, _NUMBER)


def _wrong_latency(summary: Mapping[str, Any]) -> str | None:
    for name in ("latency_ms", "first_latency_ms", "repeat_latency_ms"):
        if not _has_latency(summary, name):
            return f"'{name}' is missing or of another kind"
    if not all(_has_latency(each, "latency_ms") for part in ("steps", "samples") for each in summary[part]):
        return "a latency is of another kind"
    return None


def _has_latency(part: Mapping[str, Any], name: str) -> bool:
    return name in part and (part[name] is None or _has(part[name], _LATENCY))


def _wrong_time(summary: Mapping[str, Any]) -> str | None:
    try:
        for text in (summary["started"], *(sample["time"] for sample in summary["samples"])):
            if datetime.fromisoformat(text).tzinfo is None:
                return "a time has no zone"
    except ValueError:
        return "a time is none"
    lengths = [each["seconds"] for part in ("steps", "samples") for each in summary[part]]
    if max(*lengths, sum(lengths), summary["elapsed_seconds"], 0.0) > _LONGEST_SECONDS:
        return "a time is out of range"
    return None

"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pages.command_line import option
from ..pages.tables import Mark, Number, table
from .events import EventSeries


def _latency(latency: Mapping[str, Any] | None, name: str) -> Number:
    return Number(latency[name] if latency else None, ",.1f")


def steps(summary: Mapping[str, Any]) -> str:
    """With what a schedule offered, where there was one."""
    scheduled = bool(summary["settings"].get("rate"))
    heads = (
        "step",
        "direction",
        "workers",
        "seconds",
        "pulled",
        "failed",
        "pulls/s",
        *(["offered"] if scheduled else []),
        "p50 ms",
        "p95 ms",
        "p99 ms",
    )
    return table(
        heads,
        (
            (
                Number(place),
                each["direction"],
                Number(each["workers"]),
                Number(each["seconds"], ",.1f"),
                Number(each["pulled"]),
                Number(each.get("failed")),
                Number(each["rate"], ",.2f"),
                *([Number(each.get("offered"), ",.2f")] if scheduled else []),
                *(_latency(each.get("latency_ms"), name) for name in ("p50", "p95", "p99")),
            )
            for place, each in enumerate(summary["steps"], 1)
        ),
    )


def workers(summary: Mapping[str, Any]) -> str:
    counts = ("images", "passes", "pulled", "failed", "pruned")
    return table(
        ("worker", "pattern", *counts),
        (
            (Number(place), each["pattern"], *(Number(each[name]) for name in counts))
            for place, each in enumerate(summary["workers"])
        ),
    )


def latencies(summary: Mapping[str, Any]) -> str:
    names = ("min", "mean", "p50", "p90", "p95", "p99", "max")
    kinds = (
        ("all pulls", "latency_ms"),
        ("first pulls", "first_latency_ms"),
        ("repeat pulls", "repeat_latency_ms"),
    )
    return table(
        ("ms", *names), ((kind, *(_latency(summary[key], name) for name in names)) for kind, key in kinds)
    )


def errors(counts: Mapping[str, Any]) -> str:
    return table(("class", "failed"), ((name, Number(_number(count))) for name, count in counts.items()))


def thresholds(summary: Mapping[str, Any]) -> str:
    return table(
        ("threshold", "it was", "verdict"),
        (
            (
                each["expression"],
                Number(_number(each.get("value")), ",.6g"),
                Mark("passed" if each["passed"] else "missed", each["passed"]),
            )
            for each in summary["thresholds"]
        ),
    )


def slowest(events: EventSeries) -> str:
    return table(
        ("image", "slowest ms", "mean ms", "pulled", "failed"),
        (
            (
                each.name,
                Number(each.slowest * 1000, ",.1f"),
                Number(each.total / each.pulled * 1000, ",.1f"),
                Number(each.pulled),
                Number(each.failed),
            )
            for each in events.slowest()
        ),
    )


def settings(summary: Mapping[str, Any]) -> str:
    return table(
        ("setting", "value"), ((option(name), _shown(value)) for name, value in summary["settings"].items())
    )


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None

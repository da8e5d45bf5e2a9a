"""The result of a run as one JSON object (schema 1), also of a run that failed or was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clock import Clock
from ..load.latency import latency_json
from ..load.tally import StepTally
from .run_state import Run

SCHEMA = 1


def summarize(run: Run, clock: Clock) -> dict[str, Any]:
    """The contract's object; its thresholds are judged on it."""
    tally = run.tally
    summary = {
        "schema": SCHEMA,
        "started": run.started.isoformat(timespec="seconds"),
        "elapsed_seconds": round(run.elapsed, 6),
        "interrupted": run.interrupted,
        "reason": run.reason,
        "command": list(run.command),
        "settings": run.settings.as_json(),
        "client": {"name": run.client.name, "version": run.client.executable.version} if run.client else None,
        "listed": run.listed,
        "images": len({image for each in run.image_sets for image in each.images}),
        "pulled": tally.pulled,
        "failed": tally.failed,
        "interrupted_pulls": tally.interrupted,
        "pruned": tally.pruned,
        "prune_failed": tally.prune_failed,
        "retried": tally.retried,
        "repulled": tally.repulled,
        "late": tally.late,
        "unstarted": run.unstarted,
        "error_rate": tally.error_rate,
        "rate": run.rate,
        "errors": dict(tally.errors.most_common()),
        "prune_errors": dict(tally.prune_errors.most_common()),
        "latency_unit": "pull" if run.settings.batch == 1 else "launch",
        "latency_ms": latency_json(tally.latencies.result()),
        "first_latency_ms": latency_json(tally.first.result()),
        "repeat_latency_ms": latency_json(tally.repeat.result()),
        "workers": _workers(run),
        "steps": [_step(each) for each in tally.steps],
        "samples": [each.as_json(clock.wall((run.begin or 0.0) + each.at)) for each in tally.samples],
        "driver_cpu_seconds": round(run.driver_cpu_seconds, 3),
        "client_cpu_seconds": round(tally.client_cpu_seconds, 3),
        "limited_by": tally.limited_by,
    }
    judged = [(threshold, *threshold.judge(summary)) for threshold in run.settings.thresholds]
    summary["thresholds"] = [
        {"expression": threshold.expression, "value": value, "passed": passed}
        for threshold, value, passed in judged
    ]
    return summary


def missed(summary: Mapping[str, Any]) -> list[str]:
    """The thresholds that did not pass, each with its value, for a message."""
    return [
        f"{each['expression']} (it was {'not measured' if each['value'] is None else format(each['value'], '.6g')})"
        for each in summary["thresholds"]
        if not each["passed"]
    ]


def _workers(run: Run) -> list[dict[str, Any]]:
    counts = zip(run.image_sets, run.tally.workers, strict=False)
    passes = [worker.passes for worker in run.workers]
    return [
        {
            "pattern": each.pattern,
            "images": len(each.images),
            "passes": passes[index] if index < len(passes) else 0,
            "pulled": count.pulled,
            "failed": count.failed,
            "pruned": count.pruned,
        }
        for index, (each, count) in enumerate(counts)
    ]


def _step(each: StepTally) -> dict[str, Any]:
    return {
        "workers": each.step.workers,
        "direction": each.step.direction,
        "seconds": round(each.seconds, 6),
        "pulled": each.pulled,
        "failed": each.failed,
        "rate": each.rate,
        "latency_ms": latency_json(each.latency),
        "offered": each.offered,
    }

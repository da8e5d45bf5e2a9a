"""Runs made up of known pulls, as their summary and events files."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
SETTINGS = {
    "pullthrough_url": "http://cache:8080",
    "registry_url": "http://up:5000",
    "patterns": ["-0001", "-0002"],
    "workers": None,
    "iteration_seconds": 20.0,
    "tally_seconds": 5.0,
    "summary_file": "a.json",
    "prune": False,
}


def latency(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    at = {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 95, 99)}
    return {"min": ordered[0], "mean": sum(ordered) / len(ordered), **at, "max": ordered[-1]}


class Made:
    """A run with known pulls: closed workers, latencies of `ms` with some spread, one in `failing` fails."""

    def __init__(
        self,
        seed: int = 1,
        *,
        ms: float = 400.0,
        workers: int = 2,
        step: float = 20.0,
        tally: float = 5.0,
        failing: float = 0.0,
        until: float | None = None,
        **settings: Any,
    ) -> None:
        chance = random.Random(seed)
        whole = 2 * workers * step
        self.end = min(whole, until or whole)
        pulls: list[tuple[float, float, bool, bool]] = []
        for worker in range(workers):
            now, number = worker * step, 0
            while now < min(self.end, whole - worker * step):
                taken = ms * chance.lognormvariate(0, 0.2) * (1.3 if number < 10 else 1.0)
                now += taken / 1000
                if now < self.end:
                    pulls.append((now, taken, number < 10, chance.random() < failing))
                number += 1
        self.pulls = sorted(pulls)
        directions = [(n, "up") for n in range(1, workers + 1)] + [(n, "down") for n in range(workers, 0, -1)]
        steps = [(k * step, n, d) for k, (n, d) in enumerate(directions) if k * step < self.end]
        good = [pull for pull in self.pulls if not pull[3]]
        failed = len(self.pulls) - len(good)
        ticks = [k * tally for k in range(1, round(self.end / tally) + 1)]
        self.document: dict[str, Any] = {
            "schema": 1,
            "started": BEGAN.isoformat(),
            "elapsed_seconds": self.end,
            "interrupted": until is not None,
            "settings": {**SETTINGS, "iteration_seconds": step, "tally_seconds": tally, **settings},
            "client": {"name": "crane", "version": "0.22.1"},
            "workers": [],
            "thresholds": [],
            "images": 20,
            "pulled": len(good),
            "failed": failed,
            "interrupted_pulls": 0,
            "error_rate": failed / len(self.pulls) if self.pulls else None,
            "rate": len(good) / self.end,
            "errors": {"timeout": failed} if failed else {},
            "latency_ms": latency([p[1] for p in good]),
            "first_latency_ms": latency([p[1] for p in good if p[2]]),
            "repeat_latency_ms": latency([p[1] for p in good if not p[2]]),
            "steps": [
                {
                    "workers": n,
                    "direction": d,
                    "seconds": min(step, self.end - start),
                    **self.part(start, start + step),
                }
                for start, n, d in steps
            ],
            "samples": [
                {
                    "time": (BEGAN + timedelta(seconds=tick)).isoformat(timespec="milliseconds"),
                    "seconds": tally,
                    **self.part(tick - tally, tick),
                }
                for tick in ticks
            ],
            "limited_by": None,
        }

    def part(self, start: float, end: float) -> dict[str, Any]:
        inside = [pull for pull in self.pulls if start <= pull[0] < end]
        good = [pull[1] for pull in inside if not pull[3]]
        return {
            "rate": len(good) / (end - start),
            "pulled": len(good),
            "failed": len(inside) - len(good),
            "latency_ms": latency(good),
        }

    def write(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.json"
        path.write_text(json.dumps(self.document))
        return path

    def write_events(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.jsonl"
        lines = [
            json.dumps(
                {
                    "time": (BEGAN + timedelta(seconds=at)).isoformat(timespec="microseconds"),
                    "op": "pull",
                    "outcome": "failed" if failed else "ok",
                    "class": "timeout" if failed else None,
                    "seconds": taken / 1000,
                    "first": first,
                }
            )
            for at, taken, first, failed in self.pulls
        ]
        prune = json.dumps({"time": BEGAN.isoformat(), "op": "prune", "outcome": "ok"})
        path.write_text("\n".join([*lines, prune]) + "\n")
        return path

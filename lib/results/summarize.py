"""Makes the summary from a run's state, and judges its thresholds."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ..clock import Clock
from ..latency import Latency
from ..load import tally
from .quantity import judge
from .run_state import Run
from .sample import Sample
from .summary import ClientInfo, Step, Summary, WorkerCounts
from .times import as_written


def summarize(run: Run, clock: Clock) -> Summary:
    """Returns the summary of a run, with its numbers rounded for the file."""
    counts, client = run.tally, run.client
    summary = Summary(
        started=as_written(run.started, "seconds"),
        elapsed_seconds=round(run.elapsed, 6),
        interrupted=run.interrupted,
        reason=run.reason,
        command=run.command,
        settings=run.settings.as_json(),
        client=ClientInfo(name=client.name, version=client.executable.version) if client else None,
        listed=run.listed,
        images=len({image for each in run.image_sets for image in each.images}),
        pulled=counts.pulled,
        failed=counts.failed,
        interrupted_pulls=counts.interrupted,
        pruned=counts.pruned,
        prune_failed=counts.prune_failed,
        retried=counts.retried,
        repulled=counts.repulled,
        late=counts.late,
        unstarted=run.unstarted,
        error_rate=counts.error_rate,
        rate=run.rate,
        errors=dict(counts.errors.most_common()),
        prune_errors=dict(counts.prune_errors.most_common()),
        latency_unit="pull" if run.settings.batch == 1 else "launch",
        latency_ms=_rounded(counts.latencies.result()),
        first_latency_ms=_rounded(counts.first.result()),
        repeat_latency_ms=_rounded(counts.repeat.result()),
        workers=_workers(run),
        steps=tuple(map(_step, counts.steps)),
        samples=tuple(sample_of(each, clock.wall((run.begin or 0.0) + each.at)) for each in counts.samples),
        driver_cpu_seconds=round(run.driver_cpu_seconds, 3),
        client_cpu_seconds=round(counts.client_cpu_seconds, 3),
        limited_by=counts.limited_by,
        thresholds=(),
    )
    judged = tuple(judge(threshold, summary) for threshold in run.settings.thresholds)
    return msgspec.structs.replace(summary, thresholds=judged)


def sample_of(sample: tally.Sample, ended: datetime) -> Sample:
    """Returns a tally interval as files show it. `ended` is its end as wall-clock time."""
    return Sample(
        time=as_written(ended, "milliseconds"),
        seconds=sample.seconds,
        rate=sample.rate,
        workers=sample.workers,
        pulled=sample.pulled,
        failed=sample.failed,
        latency_ms=_rounded(sample.latency),
        errors=dict(sample.errors),
        retried=sample.retried,
        driver_cpu_seconds=round(sample.driver_cpu_seconds, 3),
        client_cpu_seconds=round(sample.client_cpu_seconds, 3),
        limited_by=sample.limited_by,
    )


def _step(each: tally.StepTally) -> Step:
    return Step(
        workers=each.step.workers,
        direction=each.step.direction,
        seconds=round(each.seconds, 6),
        pulled=each.pulled,
        failed=each.failed,
        rate=each.rate,
        latency_ms=_rounded(each.latency),
        offered=each.offered,
    )


def _workers(run: Run) -> tuple[WorkerCounts, ...]:
    counts = zip(run.image_sets, run.tally.workers, strict=False)
    passes = [worker.passes for worker in run.workers]
    return tuple(
        WorkerCounts(
            pattern=each.pattern,
            images=len(each.images),
            passes=passes[index] if index < len(passes) else 0,
            pulled=count.pulled,
            failed=count.failed,
            pruned=count.pruned,
        )
        for index, (each, count) in enumerate(counts)
    )


def _rounded(latency: Latency | None) -> Latency | None:
    return latency.rounded() if latency else None

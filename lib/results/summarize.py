"""Makes the summary of a load from its account and from the facts about it, and judges its thresholds."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ..calibrated import recall
from ..clock import Clock
from ..images import distinct
from ..latency import Latency
from ..load import closed
from ..load.account import Account
from ..load.herd_tally import HerdTally
from ..load.warm_up import WarmUp
from ..processes import machine
from .facts import Facts
from .precision import of_all, peak, precision, why_no_peak
from .quantity import judge
from .run_state import Run
from .sample import MachineUse, Sample
from .summary import (
    LEAST_DIFFERENT,
    ClientInfo,
    Drain,
    Herds,
    ImageSetCounts,
    Knee,
    KnownLimit,
    MachineLimit,
    Precision,
    Step,
    Summary,
    WarmUpCounts,
    WorkerCounts,
)
from .times import as_written

T = TypeVar("T")
# calibrate rounds its rates to so many pulls per second
_LEAST_RATE: Final = 0.001


def facts_of(run: Run, clock: Clock) -> Facts:
    """Returns what the summary of this run says besides its counts."""
    settings, info, begin = run.settings, run.client_info, run.begin or 0.0
    return Facts(
        started=run.started,
        elapsed=run.elapsed,
        interrupted=run.interrupted,
        reason=run.reason,
        command=run.command,
        settings=settings.as_json(),
        thresholds=settings.thresholds,
        load=run.load,
        client=info,
        listed=run.listed,
        foreign=run.foreign,
        images=len(distinct(run.image_sets)),
        image_sets=tuple((each.pattern, len(each.images)) for each in run.image_sets),
        passes=tuple(worker.passes for worker in run.workers),
        unstarted=run.unstarted,
        working=run.working,
        sized_images=None if run.sizes is None else run.sizes.known,
        first_pulls=run.first_pulls,
        warm_up=_warm_up(run.warm_up),
        herds=herds_of(run.tally.herds) if settings.herd else None,
        driver_cpu_seconds=run.driver_cpu_seconds,
        machine=_known_limit(info, settings.batch),
        wall=lambda second: clock.wall(begin + second),
    )


def summarize(facts: Facts, counts: Account) -> Summary:
    """Returns the summary of a load, with its numbers rounded for the file."""
    steps = tuple(map(_step, counts.steps))
    summary = Summary(
        started=as_written(facts.started, "seconds"),
        elapsed_seconds=round(facts.elapsed, 6),
        interrupted=facts.interrupted,
        reason=facts.reason,
        command=facts.command,
        settings=facts.settings,
        load=facts.load,
        client=facts.client,
        listed=facts.listed,
        foreign=facts.foreign,
        images=facts.images,
        pulled=counts.pulled,
        failed=counts.failed,
        interrupted_pulls=counts.interrupted,
        pruned=counts.pruned,
        prune_failed=counts.prune_failed,
        retried=counts.retried,
        repulled=counts.repulled,
        late=counts.late,
        late_no_worker=counts.late_no_worker,
        late_machine=counts.late_machine,
        unstarted=facts.unstarted,
        error_rate=counts.error_rate,
        rate=counts.rate,
        pulling_rate=None if facts.working is None else _pulling_rate(counts.rate, *facts.working),
        bytes=counts.bytes,
        bytes_per_second=counts.bytes_per_second,
        sized_images=_known(facts.sized_images),
        errors=dict(counts.errors.most_common()),
        prune_errors=dict(counts.prune_errors.most_common()),
        latency_unit="pull" if facts.settings.get("batch", 1) == 1 else "launch",
        latency_ms=_rounded(counts.latencies.result()),
        first_latency_ms=_rounded(counts.first.result()),
        repeat_latency_ms=_rounded(counts.repeat.result()),
        workers=_workers(facts, counts),
        image_sets=tuple(map(_image_set, facts.image_sets, counts.image_sets)),
        herds=_known(facts.herds),
        first_pulls=facts.first_pulls,
        warm_up=_known(facts.warm_up),
        steps=steps,
        samples=tuple(sample_of(each, facts.wall(each.at)) for each in counts.samples),
        drain=_drain(counts.drain),
        peak=peak(of_all(_whole(steps, facts.interrupted), facts.hosts)),
        precision=precision(steps),
        driver_cpu_seconds=round(facts.driver_cpu_seconds, 3),
        client_cpu_seconds=round(counts.client_cpu_seconds, 3),
        limited_by=counts.limited_by,
        thresholds=(),
    )
    summary = msgspec.structs.replace(
        summary, knee=_knee(summary), machine_limit=_machine_limit(facts.machine, summary)
    )
    judged = tuple(judge(threshold, summary) for threshold in facts.thresholds)
    return msgspec.structs.replace(summary, thresholds=judged)


def precision_of(counts: Account) -> Precision | None:
    """Returns how precise the rate of the closed steps is; None if they are too short to tell."""
    return precision(tuple(map(_step, counts.steps)))


def peak_caution(run: Run) -> str | None:
    """Returns why the peak is not known although some steps are long enough; None if it is, or if none of them is."""
    steps = _whole(tuple(map(_step, run.tally.steps)), run.interrupted)
    if all(step.low is None for step in steps):
        return None
    return why_no_peak(steps, run.settings.as_json())


def _whole(steps: tuple[Step, ...], interrupted: bool) -> tuple[Step, ...]:
    """Returns the steps without the one that a signal cut short, if it has no interval."""
    return steps[:-1] if interrupted and steps and steps[-1].low is None else steps


def _pulling_rate(rate: float, pulling: float, running: float) -> float:
    """Returns the rate over the share of the workers' time that was not spent on pruning.

    It is not the rate of a load without prunes: workers with fast images prune more often, so they count for less.
    """
    return rate * running / pulling if pulling > 0 else 0.0


def _knee(summary: Summary) -> Knee | None:
    """Returns the knee of the fitted law. A run with few steps has none, and need not load numpy to find out.

    Without numpy, which only the report and the comparison require, there is no knee.
    """
    if len({step.workers for step in summary.steps}) < LEAST_DIFFERENT:
        return None
    try:
        from .scalability import law
    except ImportError:
        return None

    fitted = law(summary)
    if fitted is None or fitted.knee is None:
        return None
    workers, low, high = (round(each, 3) for each in fitted.knee)
    return Knee(workers=workers, low=low, high=high)


def _known_limit(client: ClientInfo | None, batch: int) -> KnownLimit | None:
    """Returns what calibrate found this machine able to drive with at most this batch size."""
    known = recall(client.name, client.version) if client is not None else None
    best = known.with_batch(batch) if known is not None else None
    if known is None or best is None or best.rate < _LEAST_RATE:
        return None
    return KnownLimit(
        rate=best.rate,
        batch=best.batch,
        workers=best.workers,
        layers=known.layers,
        layer_bytes=known.layer_bytes,
        measured=known.measured,
    )


def _machine_limit(known: KnownLimit | None, summary: Summary) -> MachineLimit | msgspec.UnsetType:
    if known is None:
        return UNSET
    rate = summary.peak.rate if summary.peak is not None else summary.rate
    return MachineLimit(**msgspec.structs.asdict(known), share=round(rate / known.rate, 4))


def sample_of(sample: closed.Sample, ended: datetime) -> Sample:
    """Returns a tally interval as files show it. `ended` is its end as wall-clock time."""
    size, seconds = sample.bytes, sample.seconds
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
        bytes=_known(size),
        bytes_per_second=_known(size / seconds if size is not None and seconds > 0 else None),
        machine=_machine(sample.machine),
        driver_cpu_seconds=round(sample.driver_cpu_seconds, 3),
        client_cpu_seconds=round(sample.client_cpu_seconds, 3),
        paused_seconds=round(sample.paused_seconds, 3),
        limited_by=sample.limited_by,
        hosts=_known(sample.hosts),
        limited_hosts=_known(len(sample.limits) if sample.limits else None),
    )


def _machine(use: machine.MachineUse | None) -> MachineUse | None:
    if use is None:
        return None
    pressure, throttled = (None if each is None else round(each, 4) for each in (use.pressure, use.throttled))
    return MachineUse(
        idle=round(use.idle, 4), steal=round(use.steal, 4), pressure=pressure, throttled=throttled
    )


def _step(each: closed.StepTally) -> Step:
    interval = each.interval
    return Step(
        workers=each.step.workers,
        direction=each.step.direction,
        seconds=round(each.seconds, 6),
        pulled=each.pulled,
        failed=each.failed,
        rate=each.rate,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        latency_ms=_rounded(each.latency),
        offered=each.offered,
        bytes=each.bytes,
        bytes_per_second=each.bytes_per_second,
        hosts=_known(each.hosts),
    )


def _warm_up(warm_up: WarmUp | None) -> WarmUpCounts | None:
    if warm_up is None:
        return None
    return WarmUpCounts(pulled=warm_up.pulled, failed=warm_up.failed, seconds=round(warm_up.seconds, 6))


def herds_of(counts: HerdTally) -> Herds:
    """Returns the herds that were counted so far, as the summary has them."""
    return Herds(
        count=counts.count,
        spread_ms=_rounded(counts.spread.result()),
        latency_ms=_rounded(counts.latencies.result()),
        late=counts.late,
    )


def _drain(drain: closed.Drain | None) -> Drain | None:
    if drain is None:
        return None
    return Drain(
        seconds=round(drain.seconds, 6),
        pulled=drain.pulled,
        failed=drain.failed,
        bytes=_known(drain.bytes),
    )


def _image_set(image_set: tuple[str, int], counts: closed.SetTally) -> ImageSetCounts:
    pattern, images = image_set
    return ImageSetCounts(
        pattern=pattern,
        images=images,
        pulled=counts.pulled,
        failed=counts.failed,
        latency_ms=_rounded(counts.latencies.result()),
    )


def _workers(facts: Facts, counts: Account) -> tuple[WorkerCounts, ...]:
    return tuple(
        WorkerCounts(
            pattern=pattern,
            images=images,
            passes=facts.passes[index] if index < len(facts.passes) else 0,
            pulled=count.pulled,
            failed=count.failed,
            pruned=count.pruned,
        )
        for index, ((pattern, images), count) in enumerate(
            zip(facts.image_sets, counts.workers, strict=False)
        )
    )


def _known(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _rounded(latency: Latency | None) -> Latency | None:
    return latency.rounded() if latency else None

"""Says what limits the rate now: in the words that the end of a run has, from the last tally interval."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import UNSET

from ..load.closed import Sample
from ..results.limit import limit
from ..results.outage import Outage, spans
from ..results.run_state import Run
from ..results.summarize import sample_of
from ..results.summary import Summary


def limit_now(run: Run, last: Sample, limited_by: str | None, late: tuple[int, int]) -> str:
    """Returns what limits the rate, in words.

    `limited_by` is what else than the server is the limit, if anything. `late` are the pulls that started late because
    no worker was free, and because this machine was slow.
    """
    began = datetime.now().astimezone()
    of_now = Summary(
        started=began,
        elapsed_seconds=last.seconds,
        interrupted=False,
        settings={"rate": run.settings.rate and str(run.settings.rate), "dry_run": run.settings.dry_run},
        client=None,
        images=0,
        pulled=last.pulled,
        failed=last.failed,
        interrupted_pulls=0,
        late_no_worker=late[0],
        late_machine=late[1],
        error_rate=None,
        rate=last.rate,
        errors=last.errors,
        latency_ms=None,
        first_latency_ms=None,
        repeat_latency_ms=None,
        workers=(),
        steps=(),
        samples=(sample_of(last, began),) if last.pulled else (),
        limited_by=limited_by,
        thresholds=(),
        hosts=() if run.hosts else UNSET,
    )
    return limit(of_now)


def outage_now(samples: Sequence[Sample], pulled: int, second: float) -> Outage | None:
    """Returns the outage that the last intervals are, if they are one. It is over with the first good pull.

    `pulled` counts the successful pulls so far, at this second of the load.
    """
    begun = len(samples)
    while begun and not samples[begun - 1].pulled:
        begun -= 1
    if begun == len(samples) or pulled > sum(each.pulled for each in samples):
        return None
    began = datetime.now() - timedelta(seconds=second)
    last = [sample_of(each, began + timedelta(seconds=each.at)) for each in samples[begun:]]
    return next(iter(spans(last)), None)

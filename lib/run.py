"""One run from its settings to its exit status: outputs open, preparation, ramp, summary."""

from __future__ import annotations

import os
import resource
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from signal import Signals
from time import monotonic
from typing import Any

from .annotations import annotate, is_wanted
from .clients import find_client
from .clock import Clock
from .driver import Driver
from .errors import ExitStatus, RunError, Stopped, UsageError
from .events import OK
from .failures import ErrorClass
from .guard import Guard
from .http.connections import Connections
from .http.network import Network
from .http.registry import RegistryError
from .images import Image
from .layout import hint
from .listen import Listen
from .means import Means, client_environment, dry_means, find_means
from .messages import say, warn
from .output import Outputs, check_summary_path, write_summary
from .progress import start_progress
from .prune import Pruner
from .ramp import plan_ramp
from .scratch import Scratch
from .selection import Listing, Selection, read_image_list, select
from .settings import Settings
from .stop import Stop
from .summary import Run, missed, summarize
from .tally import Tally, limited_by
from .worker import Warm, Worker, prune_event

# So long the end waits for whoever should read stdout, in seconds.
READER_SECONDS = 2.0
_DESCRIPTORS = 16384
# A report is made of events up to so many bytes where somebody waits for the end; reading them takes two seconds.
_EVENTS_READ_IN_A_STOP = 32 << 20


def run(settings: Settings, start_at: datetime | None, command: tuple[str, ...] = ()) -> int:
    """Carry out the test; the exit status. UsageError, before any traffic, for files that cannot be used."""
    _raise_descriptor_limit()
    given = read_image_list(settings.image_list) if settings.image_list is not None else None
    stop = Stop()
    clock = Clock()
    if settings.summary_file is not None:
        check_summary_path(settings.summary_file)
    if settings.report_file is not None:
        check_summary_path(settings.report_file, "--report-file")
    outputs = Outputs(settings, clock)
    state = Run(settings, clock.wall(monotonic()), Tally(0, retries_known=True, on_sample=outputs.on_sample))
    state.command = command
    with stop.listening(), ExitStack() as lasting:
        try:
            _carry_out(settings, given, start_at, stop, outputs, state, lasting)
        except Stopped:
            pass  # which signal it was is told below
        except RunError as error:
            state.reason = str(error)
        except OSError as error:
            state.reason = (
                f"this machine cannot go on: {error.strerror or error}; is a limit too low (ulimit -n, -u)?"
            )
        except Exception as error:
            state.reason = f"a fault in ocidriver itself: {error!r}; please report it with the log"
            for line in traceback.format_exc().splitlines():
                outputs.log(line)
        finally:
            if stop.signal is not None:
                state.interrupted = True
                state.reason = f"interrupted by {Signals(stop.signal).name}"
                outputs.log(state.reason)
            status = _finish(settings, clock, stop, outputs, state)
            outputs.close()
    return status


def _carry_out(
    settings: Settings,
    given: Listing | None,
    start_at: datetime | None,
    stop: Stop,
    outputs: Outputs,
    state: Run,
    lasting: ExitStack,
) -> None:
    """What `lasting` holds is there until the summary is written."""
    log = outputs.log
    log("test begins")
    network = lasting.enter_context(Network(stop))
    if settings.metrics_listen is not None:
        _export(settings.metrics_listen, network, state, log, lasting)
    with Scratch() as scratch, ExitStack() as resources:
        connections = Connections(network, resources, log, warn, settings.tls)
        found = None
        if not settings.dry_run:
            resources.enter_context(Guard(str(scratch.path)))
            found = find_client(settings.client, client_environment(scratch))
            instead = (
                ", as crane was not found" if settings.client == "auto" and found.kind != "crane" else ""
            )
            log(f"client {found.kind} {found.version} ({found.path}){instead}")
            _ping(settings, connections)
        selection = select(settings, given, connections)
        state.listed, state.image_sets = selection.listed, selection.image_sets
        if found is None:
            means = dry_means(connections)
        else:
            means = find_means(settings, found, selection, connections, scratch)
        state.client = means.client
        retries_known = means.client is None or means.client.name == "crane"
        tally = Tally(len(selection.image_sets), retries_known=retries_known, on_sample=outputs.on_sample)
        state.tally = tally

        def kill() -> None:
            network.kill_all()
            if means.launcher is not None:
                means.launcher.kill_all()

        if settings.prune_first and means.pruner is not None:
            with stop.calling(kill):
                _prune_first(means.pruner, selection, scratch.folder("prune-first"), stop, outputs, tally)
        _wait_until(start_at, stop, outputs)
        _drive(settings, selection, means, scratch, kill, stop, outputs, state)


def _export(
    listen: Listen, network: Network, state: Run, log: Callable[[str], None], lasting: ExitStack
) -> None:
    from .exporter import Exporter, RunCollector

    exporter = Exporter(listen, RunCollector(state))
    for address in network.run(exporter.start()):
        log(f"metrics for Prometheus at {address}")
    lasting.callback(lambda: network.run(exporter.close()))


def _ping(settings: Settings, connections: Connections) -> None:
    """Any HTTP answer of the server under test is enough; none is the end, unless the user goes on regardless."""
    if settings.keep_going:
        return
    endpoint = settings.registry if settings.layout.is_upstream else settings.pullthrough
    try:
        status = connections.network.run_until_stop(connections.registry(endpoint.url).ping())
    except RegistryError as error:
        raise RunError(f"the server under test does not answer: {error}") from None
    connections.log(f"server under test {endpoint.url} answers GET /v2/ with HTTP {status}")


def _prune_first(
    pruner: Pruner, selection: Selection, scratch: Path, stop: Stop, outputs: Outputs, tally: Tally
) -> None:
    """Prune what will be pulled, so that first pulls are cold. What was not there needs no pruning."""
    done: set[Image] = set()
    for index, image_set in enumerate(selection.image_sets):
        images = [image for image in image_set.images if image not in done]
        done.update(images)
        for each in pruner.prune(images, scratch, lambda: stop.count > 0):
            absent = each.failure is not None and each.failure.error_class == ErrorClass.NOT_FOUND.value
            event = prune_event(index, 0, replace(each, outcome=OK, failure=None) if absent else each)
            tally.add(event)
            outputs.on_event(event)
            if event.failure is not None:
                raise RunError(f"--prune-first: cannot prune {event.image.name}: {event.failure.message}")
        if stop.count:
            raise Stopped
    outputs.log(f"pruned {len(done)} images before the ramp")


def _wait_until(start_at: datetime | None, stop: Stop, outputs: Outputs) -> None:
    if start_at is None:
        return
    seconds = start_at.timestamp() - datetime.now().timestamp()
    if seconds < 0:
        outputs.log(
            f"warning: the preparation took {-seconds:.0f} s longer than until {start_at.isoformat(sep=' ')}"
        )
        warn(f"--start-at is {-seconds:.0f} s ago, now that the preparation is done; the test begins at once")
        return
    outputs.log(f"waiting for {start_at.isoformat(sep=' ')}")
    if stop.wait(seconds):
        raise Stopped


def _drive(
    settings: Settings,
    selection: Selection,
    means: Means,
    scratch: Scratch,
    kill: Callable[[], None],
    stop: Stop,
    outputs: Outputs,
    state: Run,
) -> None:
    steps = plan_ramp(len(selection.image_sets), settings.iteration_seconds)
    driver = Driver(
        steps,
        state.tally,
        stop,
        tally_seconds=settings.tally_seconds,
        grace=settings.grace,
        keep_going=settings.keep_going,
        observe=outputs.on_event,
        kill=kill,
        log=outputs.log,
        caution=outputs.caution,
    )
    state.driver = driver
    state.workers = tuple(_workers(settings, selection, means, scratch, driver))
    outputs.log(
        f"ramp of {len(steps)} steps of {settings.iteration_seconds:g} s, up to {len(state.workers)} workers, "
        f"{steps[-1].end:g} s in all"
    )
    progress = start_progress(settings.progress, state, steps, outputs)
    outputs.began = state.begin = monotonic()
    cpu = _cpu_seconds()
    try:
        driver.drive(state.workers)
    finally:
        outputs.began = state.begin = driver.began
        state.elapsed = driver.elapsed
        state.driver_cpu_seconds = _cpu_seconds() - cpu
        used = state.driver_cpu_seconds + state.tally.client_cpu_seconds
        state.limited_by = limited_by(state.elapsed, used, len(os.sched_getaffinity(0)))
        progress.end()
    if driver.hopeless is not None:
        raise RunError(driver.hopeless)


def _workers(
    settings: Settings, selection: Selection, means: Means, scratch: Scratch, driver: Driver
) -> Sequence[Worker]:
    warm = Warm()
    pruner = means.pruner if settings.prune else None
    return [
        Worker(
            index,
            image_set,
            means.puller,
            pruner,
            warm,
            driver.emit,
            driver.worker_ended,
            scratch=scratch.folder(f"worker-{index}"),
            random=_random(settings.seed, index) if settings.shuffle else None,
        )
        for index, image_set in enumerate(selection.image_sets)
    ]


def _random(seed: int | None, worker: int) -> Random:
    """A sequence of the worker's own; the same one for the same seed."""
    return Random() if seed is None else Random(f"{seed}/{worker}")  # noqa: S311 - an order, not a secret


def _raise_descriptor_limit() -> None:
    """A pull needs three descriptors, and hundreds of workers are fine; the soft limit is often 1024 or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _finish(settings: Settings, clock: Clock, stop: Stop, outputs: Outputs, state: Run) -> int:
    """Log how it ended, write the summary, and say in one line why it was no success."""
    tally = state.tally
    if state.reason is None and tally.pulled == 0 and not stop.count:
        state.reason = _nothing_pulled(tally)
    if state.reason is not None and tally.errors and not tally.pulled:
        state.reason += hint(settings.layout, settings.upstream_name, tally.errors.most_common(1)[0][0])
    summary = summarize(state, clock)
    if state.begin is not None:
        _log_result(outputs.log, state, summary["rate"])
    unwritten = None
    if settings.summary_file is not None:
        try:
            write_summary(settings.summary_file, summary)
        except OSError as error:
            unwritten = f"cannot write the summary to {settings.summary_file}: {error.strerror}"
    outputs.finish(0.0 if stop.count else READER_SECONDS)
    if settings.report_file is not None:
        unwritten = _write_report(settings, settings.report_file, summary, stop) or unwritten
    status = _status(state, stop, outputs, unwritten, missed(summary))
    if is_wanted(settings.annotations, os.environ):
        annotate(summary, tally.examples, os.environ)
    return status


def _write_report(settings: Settings, path: Path, summary: dict[str, Any], stop: Stop) -> str | None:
    """Make the page; what kept it from being made. Who has stopped the run does not wait for a long file of events."""
    events, remark = settings.events_file, None
    if events is not None and not events.is_file():
        events = None
    if events is not None and stop.count and events.stat().st_size > _EVENTS_READ_IN_A_STOP:
        events, remark = None, "Made without the events, as the run was stopped; ocidriver report reads them."
    try:
        from .report.page import write_report

        write_report(path, summary, events, remark)
    except OSError as error:
        return f"cannot write the report to {path}: {error.strerror}"
    except Exception as error:  # the run itself is over and well told
        return f"cannot make the report: {error if isinstance(error, (ImportError, UsageError)) else repr(error)}"
    return None


def _log_result(log: Callable[[str], None], state: Run, rate: float) -> None:
    """The steps of the ramp, which show the knee, and the totals."""
    for each in state.tally.steps:
        latency = each.latency
        times = f", p50 {latency.p50:.1f} ms, p95 {latency.p95:.1f} ms" if latency else ""
        failed = f", {each.failed} failed" if each.failed else ""
        log(f"{each.step.direction:4} workers {each.step.workers}: {each.rate:.2f} pulls/s{times}{failed}")
    if state.limited_by is not None:
        log(
            "warning: driver and clients used nearly all of this machine's CPU, so the server may not be the limit"
        )
    tally, settings = state.tally, state.settings
    ended = "dry run ends, nothing was pulled" if settings.dry_run else "test ends"
    pruned = (
        f"; {tally.pruned} pruned, {tally.prune_failed} prunes failed"
        if settings.prune or settings.prune_first
        else ""
    )
    log(
        f"{ended}: {tally.pulled} pulled, {tally.failed} failed, {tally.interrupted} interrupted "
        f"in {state.elapsed:.1f} s, {rate:.2f} pulls/s on average{pruned}"
    )


def _nothing_pulled(tally: Tally) -> str:
    if not tally.errors:
        return (
            "nothing was pulled: the ramp ended before the first pull did; give --iteration-seconds more time"
        )
    (error_class, count), *_ = tally.errors.most_common(1)
    return f"nothing was pulled: of {tally.failed} failed pulls {count} ended with {error_class}; the log tells each"


def _status(
    state: Run, stop: Stop, outputs: Outputs, unwritten: str | None, missed_thresholds: list[str]
) -> int:
    """Signals win over 1, 1 over 3; what is told on stderr is logged too."""
    if unwritten is not None:
        say(unwritten)
    if stop.signal is not None:
        return 128 + stop.signal
    if state.reason is not None:
        outputs.log(f"error: {state.reason}")
        say(state.reason)
        return ExitStatus.FAILED
    if outputs.failed:
        say(f"not all was written ({'; '.join(outputs.failed)})")
        return ExitStatus.FAILED
    if unwritten is not None:
        return ExitStatus.FAILED
    if missed_thresholds:
        message = f"missed: {', '.join(missed_thresholds)}"
        outputs.log(message)
        say(message)
        return ExitStatus.THRESHOLD
    return ExitStatus.OK

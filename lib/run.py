"""One run from its settings to its exit status: outputs open, preparation, ramp, summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from random import Random
from signal import Signals
from time import monotonic

from .clients.files import client_environment
from .clients.find import find_client, missing_before
from .clock import Clock
from .errors import RunError, Stopped
from .fault import fault_line, traceback_lines
from .finish import finish, log_result
from .http.address import Listen
from .http.connections import Connections
from .http.network import Network
from .http.registry import RegistryError
from .images import Image
from .listing.selection import Listing, Selection, read_image_list, select
from .load.driver import Driver
from .load.pace import Closed, Schedule
from .load.passes import plan_passes
from .load.plan import Plan
from .load.ramp import plan_ramp, plan_schedule
from .load.tally import Tally
from .load.worker import Warm, Worker, prune_event
from .options.settings import ITERATION_SECONDS, Settings
from .outcomes import OK, ErrorClass
from .prepare import Means, dry_means, find_means
from .processes.cpu import cores
from .processes.guard import Guard
from .processes.limits import of_this_machine, raise_descriptor_limit
from .processes.scratch import Scratch
from .processes.signals import Stop
from .progress.choose import start_progress
from .results.output import Outputs
from .results.run_state import Run
from .results.whole_file import check_path
from .servers.prune import Pruner
from .streams import warn

# Each thread that waits for the interpreter wakes up so often to ask for it, by default every 5 ms: hundreds of workers
# would do little else. None of the driver's threads keeps it for long.
_SWITCH_SECONDS = 0.1


def run(settings: Settings, start_at: datetime | None, command: tuple[str, ...] = ()) -> int:
    """Carry out the test; the exit status. UsageError, before any traffic, for files that cannot be used."""
    raise_descriptor_limit()
    given = read_image_list(settings.image_list) if settings.image_list is not None else None
    stop = Stop()
    clock = Clock()
    if settings.summary_file is not None:
        check_path(settings.summary_file, "--summary-file")
    if settings.report_file is not None:
        check_path(settings.report_file, "--report-file")
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
        except Exception as error:
            state.reason = of_this_machine(error)
            if state.reason is None:
                state.reason = fault_line(error)
                for line in traceback_lines(error):
                    outputs.log(line)
        finally:
            if stop.signal is not None:
                state.interrupted = True
                state.reason = f"interrupted by {Signals(stop.signal).name}"
                outputs.log(state.reason)
            status = finish(settings, clock, stop, outputs, state)
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
            log(f"client {found}{missing_before(settings.client, found)}")
            _ping(settings, connections)
        selection = select(settings, given, connections)
        state.listed, state.image_sets = selection.listed, selection.image_sets
        if found is None:
            means = dry_means(connections)
        else:
            means = find_means(settings, found, selection, connections, scratch, stop.wait)
        state.client = means.client
        retries_known = means.client is None or means.client.abilities.reports_retries
        plan = _plan(settings, [len(each.images) for each in selection.image_sets])
        schedule = Schedule(plan.rate, plan.end) if plan.rate is not None and plan.end is not None else None
        tally = Tally(
            len(selection.image_sets),
            retries_known=retries_known,
            on_sample=outputs.on_sample,
            schedule=schedule,
            cores=cores(),
        )
        state.tally = tally

        def kill() -> None:
            network.kill_all()
            if means.launcher is not None:
                means.launcher.kill_all()

        if settings.prune_first and means.pruner is not None:
            with stop.calling(kill):
                _prune_first(means.pruner, selection, scratch.folder("prune-first"), stop, outputs, tally)
        _wait_until(start_at, stop, outputs)
        _drive(settings, plan, selection, means, scratch, kill, stop, outputs, state)


def _export(
    listen: Listen, network: Network, state: Run, log: Callable[[str], None], lasting: ExitStack
) -> None:
    from .results.prometheus import Exporter, RunCollector

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


def _plan(settings: Settings, images: Sequence[int]) -> Plan:
    """`images` counts those of each worker."""
    if settings.passes is not None:
        return plan_passes(images, settings.passes, settings.iteration_seconds)
    seconds = settings.iteration_seconds or ITERATION_SECONDS
    if settings.rate is not None:
        return plan_schedule(len(images), seconds, settings.rate)
    return plan_ramp(len(images), seconds)


def _drive(
    settings: Settings,
    plan: Plan,
    selection: Selection,
    means: Means,
    scratch: Scratch,
    kill: Callable[[], None],
    stop: Stop,
    outputs: Outputs,
    state: Run,
) -> None:
    driver = Driver(
        plan,
        state.tally,
        stop,
        tally_seconds=settings.tally_seconds,
        grace=settings.grace,
        keep_going=settings.keep_going,
        observe=outputs.on_event,
        kill=kill,
        running_cpu=means.launcher.running_cpu_seconds if means.launcher else lambda: 0.0,
        log=outputs.log,
        caution=outputs.caution,
    )
    state.driver = driver
    state.workers = tuple(_workers(settings, selection, means, state.tally.schedule, scratch, driver))
    outputs.log(plan.about)
    sys.setswitchinterval(_SWITCH_SECONDS)
    progress = start_progress(settings.progress, state, plan, outputs)
    outputs.began = state.begin = monotonic()
    try:
        driver.drive(state.workers)
    finally:
        outputs.began = state.begin = driver.began
        state.elapsed = driver.elapsed
        state.driver_cpu_seconds = driver.cpu_seconds
        if state.tally.schedule is not None:
            state.unstarted = state.tally.schedule.unstarted(driver.second)
        log_result(outputs.log, state)
        progress.end()
    if driver.hopeless is not None:
        raise RunError(driver.hopeless)


def _workers(
    settings: Settings,
    selection: Selection,
    means: Means,
    schedule: Schedule | None,
    scratch: Scratch,
    driver: Driver,
) -> Sequence[Worker]:
    warm = Warm()
    pace = schedule or Closed()
    pruner = means.pruner if settings.prune else None
    return [
        Worker(
            index,
            image_set,
            means.puller,
            pruner,
            pace,
            warm,
            driver.emit,
            driver.worker_ended,
            batch=settings.batch,
            scratch=scratch.folder(f"worker-{index}"),
            random=_random(settings.seed, index) if settings.shuffle else None,
            lean=settings.lean,
            passes_wanted=settings.passes,
        )
        for index, image_set in enumerate(selection.image_sets)
    ]


def _random(seed: int | None, worker: int) -> Random:
    """A sequence of the worker's own; the same one for the same seed."""
    return Random() if seed is None else Random(f"{seed}/{worker}")  # noqa: S311 - an order, not a secret

"""One run, from the settings to the exit status: opens the outputs, prepares, drives the load, writes the summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from signal import Signals
from time import monotonic

from .choices import ALL, POISSON
from .clock import Clock
from .counted import counted
from .durations import spoken
from .errors import RunError, Stopped
from .fault import fault_line, traceback_lines
from .finish import finish, log_result, pause_caution
from .http.network import Network
from .images import Image, ImageSet
from .listing.selection import Selection
from .load.driver import Clients, Driver, Reports, Rules
from .load.herd import Herds, HerdTurns
from .load.order import AsListed, Drawn, Order
from .load.plan import Plan
from .load.tally import Tally
from .load.turns import OwnTurns, SharedTurns, Turns
from .load.warm_up import WarmUp, WarmUpOrders
from .load.worker import Work, Worker, prune_event
from .options.settings import Settings
from .prepare import Beginning, Preparation, Prepared, Surroundings
from .processes.cpu import cores
from .processes.limits import of_this_machine
from .processes.signals import Stop
from .progress.choose import start_progress, warming_up
from .progress.plain import warmed_up
from .results.output import Outputs
from .results.run_state import COLD, WARM, Run
from .results.whole_file import check_path
from .results.writable import made_folder
from .servers.prune import Pruner, absent_is_pruned
from .servers.route import hint
from .streams import say, warn

# How often a thread that waits for the GIL asks for it, in seconds. With Python's default (5 ms), hundreds of workers
# would do little else. No thread of the driver holds the GIL for long, so a longer interval does no harm.
_SWITCH_SECONDS = 0.1
# A load that takes longer than this states its length before it starts.
_LONG_SECONDS = 3600.0


def run(settings: Settings, command: tuple[str, ...] = ()) -> int:
    """Carries out the load test and returns the exit status. Writes the summary even if the run fails.

    Raises UsageError or RunError, before any traffic, if the first stages (`Beginning`) or the outputs fail.
    """
    beginning = Beginning(settings)
    beginning.carry_out()
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
            _carry_out(beginning, stop, outputs, state, lasting)
        except Stopped:
            pass  # the signal is reported below
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


def _carry_out(beginning: Beginning, stop: Stop, outputs: Outputs, state: Run, lasting: ExitStack) -> None:
    """Prepares and drives the load. `lasting` is closed by the caller, after the summary is written."""
    outputs.log("test begins")
    by_folder: dict[Path, list[str]] = {}
    for option, folder in beginning.files().items():
        by_folder.setdefault(folder, []).append(option)
    for folder, options in by_folder.items():
        outputs.log(made_folder(folder, ", ".join(options)))
    for remark in beginning.hints:
        outputs.log(remark)
        say(remark)
    network = lasting.enter_context(Network(stop))
    with ExitStack() as resources:
        around = Surroundings(
            network=network,
            resources=resources,
            lasting=lasting,
            stopped=stop.wait,
            log=outputs.log,
            warn=warn,
            state=state,
        )
        prepared = Preparation(beginning, around).carry_out(state.select)
        setup = prepared.client_setup
        state.client = setup.client
        state.tally = Tally(
            len(prepared.selection.image_sets),
            retries_known=setup.retries_known,
            on_sample=outputs.on_sample,
            schedule=prepared.schedule,
            cores=cores(),
        )

        sys.setswitchinterval(_SWITCH_SECONDS)

        def kill() -> None:
            network.kill_all()
            if setup.launcher is not None:
                setup.launcher.kill_all()

        _announce_length(prepared.plan, outputs)
        if state.settings.prune_first and prepared.pruner is not None:
            folder = prepared.scratch.folder("prune-first")
            with stop.calling(kill):
                _prune_first(prepared.pruner, prepared.selection, folder, stop, outputs, state.tally)
            state.first_pulls = COLD
        if state.settings.warm_up:
            _warm_up(prepared, kill, stop, outputs, state)
        _wait_until(prepared.start_at, stop, outputs)
        _drive(prepared, kill, stop, outputs, state)


def _announce_length(plan: Plan, outputs: Outputs) -> None:
    """Tells the user how long the load takes, if that is longer than an hour."""
    if plan.end is not None and plan.end > _LONG_SECONDS:
        message = f"this load takes {spoken(round(plan.end))}"
        outputs.log(message)
        say(message)


def _prune_first(
    pruner: Pruner, selection: Selection, scratch: Path, stop: Stop, outputs: Outputs, tally: Tally
) -> None:
    """Prunes all selected images, so that first pulls are cold. An image that the cache does not have counts as pruned.

    Raises RunError for the first prune that fails.
    """
    done: set[Image] = set()
    for index, image_set in enumerate(selection.image_sets):
        images = [image for image in image_set.images if image not in done]
        done.update(images)
        for each in pruner.prune(images, scratch, lambda: stop.count > 0):
            event = prune_event(index, 0, absent_is_pruned(each))
            tally.add(event)
            outputs.on_event(event)
            if event.failure is not None:
                raise RunError(f"--prune-first: cannot prune {event.image.name}: {event.failure.message}")
        if stop.count:
            raise Stopped
    outputs.log(f"pruned {counted(len(done), 'image')} before the load")


def _warm_up(prepared: Prepared, kill: Callable[[], None], stop: Stop, outputs: Outputs, state: Run) -> None:
    """Pulls each selected image once. Raises RunError for the first pull that fails."""
    settings = state.settings
    workers = len(prepared.selection.image_sets)
    orders = WarmUpOrders(
        puller=prepared.client_setup.puller,
        images=prepared.selection.images,
        batch=settings.batch,
        folders=[prepared.scratch.folder(f"worker-{index}") for index in range(workers)],
        kill=kill,
        lean=settings.lean,
    )
    warm_up = state.warm_up = WarmUp(orders)
    outputs.log(f"warm-up begins: {counted(warm_up.total, 'image')}, {workers} at a time")
    with warming_up(settings, warm_up, outputs):
        warm_up.carry_out(stop)
    outputs.caution(warmed_up(warm_up))
    if warm_up.failure is not None:
        image, failure = warm_up.failure
        advice = hint(settings.layout, settings.upstream_name, failure.error_class)
        raise RunError(
            f"--warm-up: cannot pull {image.name}: {failure.error_class}: {failure.message}{advice}"
        )
    if not settings.dry_run:
        state.first_pulls = WARM


def _wait_until(start_at: datetime | None, stop: Stop, outputs: Outputs) -> None:
    if start_at is None:
        return
    seconds = start_at.timestamp() - datetime.now().timestamp()
    if seconds < 0:
        outputs.log(
            f"warning: the preparation ended {spoken(round(-seconds))} after --start-at ({start_at.isoformat(sep=' ')})"
        )
        warn(f"the preparation ended {spoken(round(-seconds))} after --start-at; the test begins at once")
        return
    outputs.log(f"waiting for {start_at.isoformat(sep=' ')}")
    if stop.wait(seconds):
        raise Stopped


def _drive(prepared: Prepared, kill: Callable[[], None], stop: Stop, outputs: Outputs, state: Run) -> None:
    settings, launcher, plan = state.settings, prepared.client_setup.launcher, prepared.plan
    driver = Driver(
        plan,
        state.tally,
        stop,
        Rules(tally_seconds=settings.tally_seconds, grace=settings.grace, keep_going=settings.keep_going),
        Clients(kill=kill, running_cpu=launcher.running_cpu_seconds if launcher else lambda: 0.0),
        Reports(observe=outputs.on_event, log=outputs.log, caution=outputs.caution),
    )
    state.driver = driver
    state.workers = _workers(settings, prepared, driver)
    outputs.log(plan.about)
    if settings.draw is not None or settings.arrivals == POISSON:
        outputs.log(
            "random: "
            + (f"draw {settings.draw}, " if settings.draw is not None else "")
            + f"arrivals {settings.arrivals}, seed {settings.seed}"
        )
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
        if settings.herd and settings.prune and state.tally.pruned and not state.tally.prune_failed:
            state.first_pulls = COLD
        log_result(outputs.log, state)
        progress.end()
        stopped = pause_caution(state.tally)
        if stopped is not None:
            warn(stopped)
    if driver.hopeless is not None:
        raise RunError(driver.hopeless)


def _workers(settings: Settings, prepared: Prepared, driver: Driver) -> tuple[Worker, ...]:
    """Returns one worker per image set."""
    work = Work(
        puller=prepared.client_setup.puller,
        pruner=prepared.pruner if settings.prune else None,
        shared=settings.deal == ALL,
        lean=settings.lean,
    )
    image_sets = prepared.selection.image_sets
    return tuple(
        Worker(
            index,
            image_set,
            work,
            driver,
            scratch=prepared.scratch.folder(f"worker-{index}"),
            turns=turns,
        )
        for index, (image_set, turns) in enumerate(
            zip(image_sets, _turns(settings, prepared, work, driver), strict=True)
        )
    )


def _turns(settings: Settings, prepared: Prepared, work: Work, driver: Driver) -> Sequence[Turns]:
    """Returns the turns of each worker; with a schedule, all workers share theirs."""
    image_sets = prepared.selection.image_sets
    orders = [_order(settings, index, image_set) for index, image_set in enumerate(image_sets)]
    if prepared.schedule is not None:
        shared = SharedTurns(prepared.schedule, image_sets, batch=settings.batch, orders=orders)
        return [shared] * len(image_sets)
    if settings.herd:
        order = OwnTurns(0, orders[0], batch=1, passes=None)
        herds = Herds(order, lambda: driver.planned, prune=work.pruner is not None, warm=work.warm)
        return [
            HerdTurns(herds, index, images=len(image_set.images), passes=settings.passes)
            for index, image_set in enumerate(image_sets)
        ]
    return [
        OwnTurns(index, order, batch=settings.batch, passes=settings.passes)
        for index, order in enumerate(orders)
    ]


def _order(settings: Settings, worker: int, image_set: ImageSet) -> Order:
    """Returns the order in which the images of a worker's set are pulled."""
    random = _random(settings.seed, worker)
    if settings.draw is not None:
        return Drawn(image_set.images, settings.draw, random)
    return AsListed(image_set, random if settings.shuffle else None)


def _random(seed: int | None, worker: int) -> Random:
    """Returns a random generator for one worker. The same seed and worker give the same sequence."""
    return Random() if seed is None else Random(f"{seed}/{worker}")  # noqa: S311 - an order, not a secret

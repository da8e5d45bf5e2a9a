"""Makes the first pulls of a load cold or warm: prunes the images before it, or pulls each of them once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .counted import counted
from .errors import RunError, Stopped
from .images import Image
from .listing.selection import Selection
from .load.tally import Tally
from .load.warm_up import WarmUp, WarmUpOrders
from .load.worker import prune_event
from .prepare import Prepared
from .processes.signals import Stop
from .progress.choose import warming_up
from .progress.plain import warmed_up
from .results.output import Outputs
from .results.run_state import WARM, Run
from .servers.prune import Pruner, absent_is_pruned
from .servers.route import hint


def prune_first(
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


def warm_up(prepared: Prepared, kill: Callable[[], None], stop: Stop, outputs: Outputs, state: Run) -> None:
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
    warming = state.warm_up = WarmUp(orders)
    outputs.log(f"warm-up begins: {counted(warming.total, 'image')}, {workers} at a time")
    with warming_up(settings, warming, outputs):
        warming.carry_out(stop)
    outputs.tell(warmed_up(warming))
    if warming.failure is not None:
        image, failure = warming.failure
        advice = hint(settings.layout, settings.upstream_name, failure.error_class)
        raise RunError(
            f"--warm-up: cannot pull {image.name}: {failure.error_class}: {failure.message}{advice}"
        )
    if not settings.dry_run:
        state.first_pulls = WARM

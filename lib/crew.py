"""The crew of a load: one worker per image set, with its turns."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from .choices import ALL
from .images import ImageSet
from .load.driver import Driver
from .load.herd import Herds, HerdTurns
from .load.order import AsListed, Drawn, Order
from .load.pace import Schedule
from .load.turns import OwnTurns, SharedTurns, Turns
from .load.worker import Work, Worker
from .options.settings import Settings
from .prepare import Prepared


def crew(
    settings: Settings, prepared: Prepared, schedule: Schedule | None, driver: Driver
) -> tuple[Worker, ...]:
    """Returns one worker per image set. With a `schedule`, all of them take their pulls from it."""
    work = Work(
        puller=prepared.client_setup.puller,
        pruner=prepared.pruner if settings.prune else None,
        shared=settings.deal == ALL,
        lean=settings.lean,
        sizes=prepared.sizes,
        share=settings.share,
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
            zip(image_sets, _turns(settings, prepared, schedule, work, driver), strict=True)
        )
    )


def _turns(
    settings: Settings, prepared: Prepared, schedule: Schedule | None, work: Work, driver: Driver
) -> Sequence[Turns]:
    """Returns the turns of each worker; with a schedule, all workers share theirs."""
    image_sets = prepared.selection.image_sets
    orders = [_order(settings, index, image_set) for index, image_set in enumerate(image_sets)]
    if schedule is not None:
        shared = SharedTurns(schedule, image_sets, batch=settings.batch, orders=orders)
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
    random = _random(settings.seed, settings.share.number_in_whole(worker))
    if settings.draw is not None:
        return Drawn(image_set.images, settings.draw, random)
    return AsListed(image_set, random if settings.shuffle else None)


def _random(seed: int | None, worker: int) -> Random:
    """Returns a random generator for one worker of the whole load. The same seed and worker give the same sequence."""
    return Random() if seed is None else Random(f"{seed}/{worker}")  # noqa: S311 - an order, not a secret

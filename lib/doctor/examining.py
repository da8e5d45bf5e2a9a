"""Begins an examination: a preparation whose stages report nothing by themselves, as doctor reports by its checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from ..http.network import Network
from ..load.tally import Tally
from ..options.settings import Settings
from ..prepare import Beginning, Preparation, Surroundings
from ..processes.signals import Stop
from ..results.run_state import Run
from .examination import Examination


@contextmanager
def examining(
    beginning: Beginning, stop: Stop, values: Mapping[str, Any] | None = None
) -> Iterator[Examination]:
    """Yields an examination. At the end, what its stages opened is closed.

    `values` are those of stages, by their names: these stages are not carried out.
    """
    with Network(stop) as network, ExitStack() as resources, ExitStack() as lasting:
        cautions: list[str] = []
        around = Surroundings(
            network=network,
            resources=resources,
            lasting=lasting,
            stopped=stop.wait,
            log=lambda _: None,
            warn=cautions.append,
            state=_nothing_yet(beginning.settings),
        )
        preparation = Preparation(beginning, around)
        preparation.values.update(values or {})
        yield Examination(preparation, cautions, stop)


def _nothing_yet(settings: Settings) -> Run:
    """Returns a run that has not begun, for the metrics endpoint."""
    return Run(settings, datetime.now(), Tally(0, retries_known=True, on_sample=lambda _: None))

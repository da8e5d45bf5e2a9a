"""Records the pieces of a run: what `ocidriver merge` or a controller adds up to the summary of the whole load."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace

import msgspec

from . import __version__
from .clock import Clock
from .images import distinct
from .load.piece import IntervalEnd, Piece, Place
from .load.plan import WITH_THE_LAST_WORKER
from .load.share import WHOLE
from .pieces.wire import End, Header, Line, RateLine, StepLine, counts_line, encoded, piece_line, set_lines
from .prepare import Prepared, make_plan
from .processes.cpu import cores
from .results.facts import Facts
from .results.line_file import LineFile
from .results.run_state import Run


def header_of(run: Run, ready: Prepared, facts: Facts) -> Header:
    """Returns the header of a load that is prepared, but for the time when it begins."""
    settings, selection = run.settings, ready.selection
    plan = make_plan(replace(settings, share=WHOLE), selection.lengths)
    steps = [
        StepLine(
            step.workers, step.direction, step.start, None if step.end == WITH_THE_LAST_WORKER else step.end
        )
        for step in plan.steps
    ]
    rates = plan.curve.rates if plan.curve is not None else None
    return Header(
        version=__version__,
        host=platform.node(),
        share=str(settings.share),
        cores=cores(),
        started=run.started,
        clock_offset=0.0,
        began=0.0,
        command=run.command,
        settings=dict(facts.settings),
        client=facts.client,
        listed=facts.listed,
        foreign=facts.foreign,
        images=len(distinct(selection.image_sets)) if selection.total is None else selection.total,
        image_sets=list(facts.image_sets),
        workers=len(selection.lengths),
        load=plan.about,
        steps=steps,
        rates=None
        if rates is None
        else [RateLine(rate.first, rate.last, seconds) for rate, seconds in rates],
        retries_known=run.tally.retries_known,
        sized=run.tally.sized,
        sized_images=facts.sized_images,
        warm_up=facts.warm_up,
        machine=facts.machine,
        before=counts_line(run.tally.totals),
    )


def record_pieces(write: Callable[[Line], None], run: Run, header: Header, clock: Clock) -> None:
    """Writes the header now, and each piece when it ends. Call it when `run.begin` is set, just before the load."""
    write(begun(header, run, clock))

    def write_piece(piece: Piece, place: Place, interval: IntervalEnd | None) -> None:
        write(piece_line(piece, place, interval))

    run.own_tally.on_piece = write_piece


def begun(header: Header, run: Run, clock: Clock) -> Header:
    """Returns the complete header of a load that begins at `run.begin`."""
    return msgspec.structs.replace(header, clock_offset=clock.offset, began=run.begin or 0.0)


def record_end(write: Callable[[Line], None], run: Run, facts: Facts) -> None:
    """Writes the end of the load, if it began. Call it when nothing more is counted."""
    tally = run.own_tally
    if tally.on_piece is None:
        return
    end = End(
        pieces=tally.pieces,
        totals=counts_line(tally.totals),
        elapsed=facts.elapsed,
        interrupted=facts.interrupted,
        reason=facts.reason,
        unstarted=facts.unstarted,
        first_pulls=facts.first_pulls,
        passes=list(facts.passes),
        image_sets=set_lines(tally.image_sets),
        working=facts.working,
        herds=facts.herds,
        driver_cpu_seconds=facts.driver_cpu_seconds,
    )
    write(end)


def to_file(file: LineFile) -> Callable[[Line], None]:
    """Returns what writes lines to a pieces file."""
    return lambda line: file.write(encoded(line))

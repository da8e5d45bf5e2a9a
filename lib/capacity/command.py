"""The command `ocidriver capacity OPTIONS --slo EXPR…`: finds the highest rate of pulls that meets the SLOs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

from ..errors import ExitStatus, UsageError
from ..finish import READER_SECONDS
from ..first_pulls import warm_up
from ..load.curve import MOST_PULLS_PER_SECOND
from ..options.sections import SectionedCommand
from ..options.usage import called
from ..results.line_file import LineFile
from ..results.summary import ClientInfo
from ..results.times import as_written
from ..results.whole_file import write_whole
from ..session import Session, opened, prepared, recorded
from ..streams import STDOUT, say
from .hunt import Bounds, Hunt
from .judge import Verdict, is_lost
from .options import PARAMETERS, settings_of, slos_of
from .result import (
    Capacity,
    FailedAt,
    Held,
    TrialResult,
    capacity_text,
)
from .search import Search
from .trial import Trials
from .wording import answer


def find_capacity(
    slo: tuple[str, ...],
    first: float,
    within: float,
    trial: float,
    max_rate: float | None,
    max_time: float | None,
    **options: Any,
) -> int:
    """Carries out the search and returns the exit status. Writes the result even if the search fails."""
    if max_time is not None and max_time < trial:
        raise UsageError(
            "--max-time is shorter than one trial (--trial); give a longer one, or a shorter --trial"
        )
    hunt = Hunt(
        slos_of(slo),
        Search(first, within, max_rate or MOST_PULLS_PER_SECOND),
        Bounds(trial=trial, most_seconds=max_time),
    )
    session = opened(settings_of(options, first, trial), (called(), *sys.argv[1:]))
    # a reader that is gone or has stalled must not end the search, whose files hold the same; the end tells of it
    lines = LineFile(STDOUT, "trials", lambda _: None)
    with session.stop.listening(), ExitStack() as lasting:
        try:
            with recorded(session):
                _search(session, lasting, hunt, lines)
        finally:
            status = _finish(session, hunt, lines)
            session.outputs.close()
    return status


def _search(session: Session, lasting: ExitStack, hunt: Hunt, lines: LineFile) -> None:
    stop, outputs, state = session.stop, session.outputs, session.state
    with prepared(session, lasting) as (ready, kill):
        if state.settings.warm_up:
            warm_up(ready, kill, stop, outputs, state)
        trials = Trials(session, ready, kill, lambda observed: is_lost(observed, hunt.slos))
        hunt.carry_out(trials, len(ready.selection.image_sets), lines.write)


def _finish(session: Session, hunt: Hunt, lines: LineFile) -> int:
    """Writes the result, and returns the exit status. One line on stderr says why the search failed."""
    state, stop, outputs = session.state, session.stop, session.outputs
    found = _capacity(session, hunt)
    for line in answer(found):
        lines.write(line)
    patience = 0.0 if stop.count else READER_SECONDS
    lines.finish(patience)
    outputs.finish(patience)
    unwritten = _write(session, found)
    if unwritten is not None:
        say(unwritten)
    if state.interrupted and stop.signal is not None:
        return 128 + stop.signal
    if state.reason is not None:
        outputs.log(f"error: {state.reason}")
        say(state.reason)
        return ExitStatus.FAILED
    unwritten_lines = [*outputs.failed, *([f"{lines.name}: {lines.failed}"] if lines.failed else [])]
    if unwritten_lines:
        say(f"not all output was written ({'; '.join(unwritten_lines)})")
    if unwritten_lines or unwritten is not None:
        return ExitStatus.FAILED
    return ExitStatus.OK if found.held is not None else ExitStatus.THRESHOLD


def _capacity(session: Session, hunt: Hunt) -> Capacity:
    state, search = session.state, hunt.search
    held, failed = search.held, search.failed
    client = state.client
    return Capacity(
        started=as_written(state.started, "seconds"),
        elapsed_seconds=round(monotonic() - session.began, 3),
        interrupted=state.interrupted,
        reason=state.reason,
        command=state.command,
        settings=state.settings.as_json(),
        slos=tuple(slo.expression for slo in hunt.slos),
        client=ClientInfo(name=client.name, version=client.executable.version) if client else None,
        held=None if held is None else _held(held, search.verdicts[held], hunt.results),
        failed_at=None if failed is None else FailedAt(rate=failed, reason=hunt.reasons[failed]),
        limit=hunt.limit if state.reason is None else None,
        trials=tuple(hunt.results),
    )


def _held(rate: float, verdict: Verdict, results: Sequence[TrialResult]) -> Held:
    last = next(each for each in reversed(results) if each.rate == rate)
    return Held(rate=rate, certain=verdict.held is True, latency_ms=last.latency_ms)


def _write(session: Session, found: Capacity) -> str | None:
    """Writes the summary and the page. Returns why one could not be written, or None."""
    settings = session.state.settings
    unwritten = None
    try:
        if settings.summary_file is not None:
            write_whole(settings.summary_file, capacity_text(found))
    except OSError as error:
        unwritten = f"cannot write the summary to {settings.summary_file}: {error.strerror}"
    if settings.report_file is not None:
        try:
            from .page import write_page

            write_page(settings.report_file, found)
        except OSError as error:
            return f"cannot write the report to {settings.report_file}: {error.strerror}"
    return unwritten


capacity = SectionedCommand(
    "capacity",
    callback=find_capacity,
    params=PARAMETERS,
    help="""Find how many pulls per second the server can sustain.

    capacity runs trials. In each trial, pulls start at a fixed rate, even if earlier ones have not ended. A rate holds
    if it meets every --slo. The search doubles the rate until one does not hold. Then it narrows the gap between the
    highest rate that held and the lowest that did not.

    capacity takes the options of the load test, except those that shape the load. With --prune, each trial begins cold.

    Exit status: 0 if a rate held; 3 if even the first rate did not hold; otherwise as for the load test.""",
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)

"""The command `ocidriver capacity OPTIONS --slo EXPR…`: finds the highest rate of pulls that meets the SLOs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from ..errors import ExitStatus, UsageError
from ..finish import READER_SECONDS
from ..first_pulls import warm_up
from ..listing.selection import Selection
from ..load.curve import MOST_PULLS_PER_SECOND
from ..options.sections import SectionedCommand
from ..options.settings import Settings, make_settings
from ..options.usage import called
from ..results.line_file import LineFile
from ..results.summary import ClientInfo
from ..results.times import as_written
from ..results.whole_file import write_whole
from ..session import Session, opened, prepared, recorded
from ..streams import STDOUT, say
from .hunt import Bounds, Hunt
from .judge import Verdict, is_lost
from .observed import Observed
from .options import PARAMETERS, of_first_trial, slos_of
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

if TYPE_CHECKING:
    from ..hosts.hearing import Hearing
    from ..hosts.member import Member


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
    given = of_first_trial(options, first, trial)
    settings = make_settings(given)
    # a reader that is gone or has stalled must not end the search, whose files hold the same; the end tells of it
    searching = Searching(hunt, LineFile(STDOUT, "trials", lambda _: None))
    carry_out = searching.from_here if settings.hosts is None else searching.from_hosts(given)
    return searching.carry_out(settings, carry_out)


@dataclass(slots=True)
class Searching:
    """A search whose lines go to `lines`. `client` and `hosts` are known once the trials are prepared."""

    hunt: Hunt
    lines: LineFile
    client: ClientInfo | None = None
    hosts: tuple[str, ...] | UnsetType = UNSET

    def carry_out(self, settings: Settings, search: Callable[[Session, ExitStack], None]) -> int:
        """Carries out `search`, writes the result, and returns the exit status.

        Raises UsageError or RunError, before any traffic, if the first stages or the outputs fail.
        """
        session = opened(settings, (called(), *sys.argv[1:]))
        with session.stop.listening(), ExitStack() as lasting:
            try:
                with recorded(session):
                    search(session, lasting)
            finally:
                status = _finish(session, self)
                session.outputs.close()
        return status

    def from_here(self, session: Session, lasting: ExitStack) -> None:
        """Carries out the search from this machine."""
        stop, outputs, state = session.stop, session.outputs, session.state
        with prepared(session, lasting) as (ready, kill):
            client = ready.client_setup.client
            self.client = ClientInfo(name=client.name, version=client.executable.version) if client else None
            if state.settings.warm_up:
                warm_up(ready, kill, stop, outputs, state)
            trials = Trials(session, ready, kill, self._is_lost)
            self.hunt.carry_out(trials, len(ready.selection.image_sets), self.lines.write)

    def from_hosts(self, options: Mapping[str, Any]) -> Callable[[Session, ExitStack], None]:
        """Returns what carries out the search from the hosts. `options` are those of the first trial.

        Raises UsageError if the package `distributed` is missing.
        """
        from ..run_on_hosts import carrying_out

        return carrying_out(options, search=self.on_hosts)

    def on_hosts(
        self, session: Session, hearing: Hearing, members: Sequence[Member], selection: Selection
    ) -> None:
        """Carries out the search on hosts that are prepared."""
        from .on_hosts import TrialsOnHosts

        trials = TrialsOnHosts(session, hearing, members, selection, self._is_lost)
        self.client, self.hosts = trials.client, trials.names
        self.hunt.carry_out(trials, len(selection.image_sets), self.lines.write)

    def _is_lost(self, observed: Observed) -> bool:
        return is_lost(observed, self.hunt.slos)


def _finish(session: Session, searching: Searching) -> int:
    """Writes the result, and returns the exit status. One line on stderr says why the search failed."""
    state, stop, outputs, lines = session.state, session.stop, session.outputs, searching.lines
    found = _capacity(session, searching)
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


def _capacity(session: Session, searching: Searching) -> Capacity:
    state, hunt = session.state, searching.hunt
    search = hunt.search
    held, failed = search.held, search.failed
    return Capacity(
        started=as_written(state.started, "seconds"),
        elapsed_seconds=round(monotonic() - session.began, 3),
        interrupted=state.interrupted,
        reason=state.reason,
        command=state.command,
        settings=state.settings.as_json(),
        slos=tuple(slo.expression for slo in hunt.slos),
        client=searching.client,
        hosts=searching.hosts,
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

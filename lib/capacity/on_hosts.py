"""Carries out the trials of a search on hosts: each is a load that all of them begin at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..counted import counted
from ..errors import RunError, Stopped
from ..hosts.arming import arm
from ..hosts.driving import Limits
from ..hosts.hearing import Hearing
from ..hosts.member import Member
from ..hosts.protocol import Trial as TrialOrder
from ..hosts.trials import TrialLoad, order_trial
from ..listing.selection import Selection
from ..load.closed import Sample
from ..pieces.gathered import Gathered
from ..pieces.whole import Whole
from ..results.summary import ClientInfo
from ..session import Session
from ..trial_load import LOST, Pace, of_trial, plan_of
from .observed import Observed
from .trial import Trial


class TrialsOnHosts:
    """Carries out trials on hosts that are prepared. `lost` says whether a trial that goes on cannot hold any more."""

    def __init__(
        self,
        session: Session,
        hearing: Hearing,
        members: Sequence[Member],
        selection: Selection,
        lost: Callable[[Observed], bool],
    ) -> None:
        self._session = session
        self._hearing = hearing
        self._members = members
        self._selection = selection
        self._lost = lost
        self._number = 0
        self._pulled = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the hosts."""
        return tuple(each.name for each in self._members)

    @property
    def client(self) -> ClientInfo | None:
        """The client of the first host; None in a dry run."""
        ready = self._members[0].ready
        return None if ready is None else ready.header.client

    def carry_out(self, rate: float, seconds: float) -> Trial:
        """Returns the trial at `rate` pulls per second. It may end before `seconds` if it cannot hold any more.

        Raises Stopped after a signal, and RunError if a host is lost, or if no pull of the search has succeeded yet.
        """
        observed, state = Observed(rate, seconds), self._session.state
        pace = Pace(rate, seconds)
        self._number += 1
        load = TrialLoad(self._hearing, self._members, self._limits(), self._number, observed.pulls.extend)
        plan, schedule = plan_of(of_trial(state.settings, pace), self._selection.lengths)
        order_trial(self._hearing, self._members, TrialOrder(number=self._number, rate=rate, seconds=seconds))

        def gathering(whole: Whole) -> Gathered:
            return Gathered(
                whole, schedule=schedule, on_sample=self._watching(load, observed), patience=load.patience
            )

        state.tally = tally = load.assemble(gathering)
        self._session.outputs.log(f"trial at {plan.about}, on {counted(len(self._members), 'host')}")
        self._follow(load)
        observed.unstarted = load.unstarted
        self._pulled += tally.pulled
        if load.given_up not in (None, LOST) and not self._pulled:
            raise RunError(load.given_up)
        return Trial(
            observed,
            tally,
            {each.name: each.part.fold.finish() for each in self._members if each.part is not None},
        )

    def _limits(self) -> Limits:
        settings = self._session.state.settings
        return Limits(lost_hosts=0, keep_going=settings.keep_going, grace=settings.grace)

    def _watching(self, load: TrialLoad, observed: Observed) -> Callable[[Sample], None]:
        outputs = self._session.outputs

        def on_sample(sample: Sample) -> None:
            outputs.began = load.began or 0.0
            outputs.on_sample(sample)
            observed.lasted = min(sample.at, observed.seconds)
            if sample.at < observed.seconds and self._lost(observed):
                load.give_up(LOST)

        return on_sample

    def _follow(self, load: TrialLoad) -> None:
        """Follows a trial, whose hosts are ready, to its end."""
        hearing = self._hearing
        at = arm(hearing, self._members, None, self._session.clock.offset)
        load.begin(at)
        hearing.wait(lambda: load.hopeless is not None, at)
        load.follow(lambda: None)
        if hearing.signals:
            raise Stopped
        reason = load.failure()
        if reason is not None:
            raise RunError(reason)

"""The answer of a search claims no more than its trials show."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from lib.capacity.result import Capacity, FailedAt, Held, TrialResult
from lib.capacity.wording import answer, trial_line
from lib.results.verdict import DRY_RUN


def trial(rate: float, *, held: bool | None, limited_by: Any = None, **fields: Any) -> TrialResult:
    return TrialResult(
        rate=rate, seconds=30.0, held=held, pulled=9, failed=1, retried=0, first=0, latency_ms=None, error_rate=0.1,
        errors={"timeout": 1}, unstarted=0, late_no_worker=0, late_machine=0, limited_by=limited_by, missed="slow",
        **fields,
    )  # fmt: skip


def found(*trials: TrialResult, **fields: Any) -> Capacity:
    given: dict[str, Any] = {
        "started": datetime(2026, 1, 31, tzinfo=timezone.utc), "elapsed_seconds": 30.0, "interrupted": False,
        "reason": None, "command": (), "settings": {}, "slos": (), "client": None, "held": None, "failed_at": None,
        "limit": None, "trials": trials, **fields,
    }  # fmt: skip
    return Capacity(**given)


HELD = Held(rate=10.0, certain=True, latency_ms=None)
FAILED = FailedAt(rate=20.0, reason="it was slow")


@pytest.mark.parametrize("limit", ["machine", "client"])
def test_a_limit_of_this_machine_at_the_first_rate_is_no_verdict_on_the_server(limit: str) -> None:
    held, did_not = answer(found(trial(20.0, held=False, limited_by=limit), limit=limit))
    assert held == "The search has no result for the server: no rate held."
    assert "not the server" in did_not


def test_what_is_only_likely_is_called_so() -> None:
    held, did_not = answer(found(trial(20.0, held=None), failed_at=FAILED, limit="slo"))
    assert "(likely, but not certain at 95 %)" in held
    assert "(likely, but not certain at 95 %)" in did_not
    lines = answer(
        found(trial(10.0, held=True), trial(20.0, held=False), held=HELD, failed_at=FAILED, limit="slo")
    )
    assert not any("likely" in line for line in lines)


def test_what_ended_the_search_early_is_told() -> None:
    lines = answer(found(trial(10.0, held=True), held=HELD, limit="max-time"))
    assert lines[1] == "No higher rate has a verdict; --max-time ended the search."
    lines = answer(found(trial(10.0, held=True), held=HELD, interrupted=True))
    assert lines[1] == "No higher rate has a verdict; a signal ended the search."


def test_a_dry_run_says_nothing_about_a_server() -> None:
    assert answer(found(trial(10.0, held=True), held=HELD, limit="max-rate", settings={"dry_run": True})) == (
        DRY_RUN,
    )


@pytest.mark.parametrize(
    ("limit", "hosts", "who", "advice"),
    [
        ("machine", ("b",), "the machine of host b was", "use hosts that run nothing else"),
        ("machine", ("a", "b"), "the machines of 2 hosts (a, b) were", "use hosts that run nothing else"),
        ("client", ("a", "b"), "the client side of 2 hosts (a, b) was", "give more workers or hosts"),
        ("client", (), "the client side was", "give more workers or hosts"),
    ],
)
def test_a_limit_of_hosts_names_them(limit: str, hosts: tuple[str, ...], who: str, advice: str) -> None:
    last = trial(20.0, held=False, limited_by=limit, limited_hosts=hosts)
    assert f"no verdict on the server: {who} the limit" in trial_line(1, last)
    _, did_not = answer(found(last, limit=limit, hosts=("a", "b")))
    assert did_not.startswith(f"At 20 pulls/s, {who} the limit, not the server; ")
    assert did_not.endswith(f"{advice}.")


def test_the_answer_says_from_how_many_hosts() -> None:
    held, _ = answer(found(trial(10.0, held=True), held=HELD, limit="max-rate", hosts=("a", "b")))
    assert held.startswith("The server sustains 10 pulls/s from 2 hosts: ")

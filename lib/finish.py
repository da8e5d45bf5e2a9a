"""The end of a run: logs the result, writes the summary and the report, and chooses the exit status."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .clock import Clock
from .counted import counted
from .errors import ExitStatus, UsageError
from .figures import rate, three
from .load.account import Account
from .load.closed import CLIENT, MACHINE
from .options.settings import Settings
from .processes.signals import Stop
from .progress.choose import wants_live
from .results.annotations import annotate, is_wanted
from .results.ending import ending
from .results.headline import herds, percentiles
from .results.line_file import STALLED, LineFile
from .results.output import Outputs
from .results.precision import in_words
from .results.run_state import Run
from .results.summarize import facts_of, herds_of, peak_caution, precision_of, summarize
from .results.summary import Summary
from .results.summary_file import summary_text
from .results.whole_file import write_whole
from .servers.route import hint
from .streams import STDOUT, is_stdout, say

# Seconds to wait at the end for the reader of stdout.
READER_SECONDS = 2.0
# After a stop, the report includes the events only if their file has at most this many bytes (about 2 s to read).
_EVENTS_READ_IN_A_STOP = 32 << 20


def finish(clock: Clock, stop: Stop, outputs: Outputs, state: Run, *, show: bool) -> int:
    """Writes the summary and the report, and returns the exit status. One line on stderr says why the run failed.

    `show`: the result is shown.
    """
    settings, tally = state.settings, state.tally
    if state.reason is None and tally.pulled == 0 and not state.interrupted:
        state.reason = _nothing_pulled(tally, settings)
    if state.reason is not None and tally.errors and not tally.pulled:
        state.reason += hint(settings.layout, settings.upstream_name, tally.errors.most_common(1)[0][0])
    facts = facts_of(state, clock)
    summary = summarize(facts, tally) if state.summarized is None else state.summarized()
    if outputs.pieces is not None:
        from .record import record_end, to_file

        record_end(to_file(outputs.pieces), state, facts)
    outputs.finish(0.0 if stop.count else READER_SECONDS)
    unwritten = None
    if settings.summary_file is not None:
        try:
            write_whole(settings.summary_file, summary_text(summary))
        except OSError as error:
            unwritten = f"cannot write the summary to {settings.summary_file}: {error.strerror}"
    if settings.report_file is not None:
        unwritten = _write_report(settings, settings.report_file, summary, state.interrupted) or unwritten
    status = _status(state, stop, outputs, unwritten, [each.told for each in summary.missed])
    unshown = _show(settings, summary) if show else None
    if unshown is not None:
        say(f"not all output was written (result: {unshown})")
        status = ExitStatus.FAILED if status in (ExitStatus.OK, ExitStatus.THRESHOLD) else status
    if is_wanted(settings.annotations, os.environ):
        annotate(summary, tally.examples, os.environ)
    return status


def _show(settings: Settings, summary: Summary) -> str | None:
    """Shows the result: on stdout, unless other output goes there; and below a live view that stdout does not show.

    Returns why stdout could not take it, or None. A reader that is gone, as `head` may be, or that has stalled is no
    failure.
    """
    unshown = None
    if summary.steps:
        lines = ending(summary, _written(settings))
        if not any(map(is_stdout, settings.written.values())):
            unshown = _write(lines, 1)
            if os.isatty(1):
                return None
        if wants_live(settings.progress, os.isatty(2), os.environ.get):
            _write(lines, 2)
    return None if unshown in (os.strerror(errno.EPIPE), STALLED) else unshown


def _write(lines: Sequence[str], descriptor: int) -> str | None:
    """Writes lines to stdout or stderr, and waits at most `READER_SECONDS` for a stalled reader.

    Returns why they could not be written, or None.
    """
    file = LineFile(STDOUT, "result", lambda _: None, descriptor=descriptor)
    for line in lines:
        file.write(line)
    file.finish(READER_SECONDS)
    return file.failed


def _written(settings: Settings) -> dict[str, str]:
    """Returns the files of a run by what they hold, without streams and devices."""
    return {what: path for what, path in settings.written.items() if Path(path).is_file()}


def _write_report(settings: Settings, path: Path, summary: Summary, stopped: bool) -> str | None:
    """Writes the report page. Returns why it could not be written, or None.

    A stopped run leaves out the events if their file is long, so that the user does not wait.
    """
    events, remark = settings.events_file, None
    if events is not None and not events.is_file():
        events = None
    if events is not None and stopped and events.stat().st_size > _EVENTS_READ_IN_A_STOP:
        events, remark = (
            None,
            "The run was stopped, so this report leaves out the events; 'ocidriver report' includes them.",
        )
    try:
        from .report.page import Labels, write_report

        source = _written(settings).get("summary")
        write_report(path, summary, events, Labels(source=Path(source) if source else None), remark)
    except OSError as error:
        return f"cannot write the report to {path}: {error.strerror}"
    except Exception as error:  # a fault in the report must not spoil the run's own result
        return f"cannot make the report: {error if isinstance(error, (ImportError, UsageError)) else repr(error)}"
    return None


def log_result(log: Callable[[str], None], state: Run) -> None:
    """Logs one line per step, warnings about the measurement, and the totals."""
    for each in state.tally.steps:
        latency = each.latency
        offered = f" of {three(each.offered)} offered" if each.offered is not None else ""
        times = f", {percentiles(latency)}" if latency else ""
        failed = f", {each.failed:,} failed" if each.failed else ""
        log(
            f"step {each.step.direction}, {counted(each.step.workers, 'worker')}: {rate(each.rate)}"
            f"{offered}{times}{failed}"
        )
    if state.settings.herd:
        log(f"herds: {herds(herds_of(state.tally.herds))}")
    for warning in _cautions(state):
        log(f"warning: {warning}")
    tally, settings = state.tally, state.settings
    found = precision_of(tally)
    if found is not None:
        log(f"precision of the average rate: {in_words(found)}")
    ended, pulled = ("dry run ends", "simulated pulls") if settings.dry_run else ("test ends", "pulled")
    pruned = (
        f"; {tally.pruned:,} pruned, {counted(tally.prune_failed, 'prune')} failed"
        if settings.prune or settings.prune_first
        else ""
    )
    repulled = (
        f"; {tally.repulled:,} pulled again alone to find out why a batch failed" if tally.repulled else ""
    )
    log(
        f"{ended}: {tally.pulled:,} {pulled}, {tally.failed:,} failed, {tally.interrupted:,} interrupted "
        f"in {state.elapsed:.1f} s, {rate(state.rate)} on average{pruned}{repulled}"
    )


def pause_caution(tally: Account) -> str | None:
    """Returns a warning if the driver itself, or a host, was stopped during the load."""
    paused = sum(1 for sample in tally.samples if sample.paused_seconds)
    if not paused:
        return None
    who = "the driver itself" if all(sample.hosts is None for sample in tally.samples) else "a host"
    return (
        f"{who} was stopped for {three(tally.paused_seconds)} s in {paused} of "
        f"{counted(len(tally.samples), 'interval')} (paused_seconds), so their rates and "
        "latencies are not those of the server; repeat the run"
    )


def _cautions(state: Run) -> Iterator[str]:
    """Yields a warning for each reason why the result may not show what the server can do."""
    tally = state.tally
    here, more, alone = (
        ("a host", "more hosts", "the hosts on machines of their own")
        if state.hosts
        else ("this machine", "more machines (--start-at)", "the driver on a machine of its own")
    )
    stopped = pause_caution(tally)
    if stopped is not None:
        yield stopped
    no_peak = peak_caution(state)
    if no_peak is not None:
        yield no_peak
    limits = [sample.limited_by for sample in tally.samples]
    if tally.limited_by == CLIENT:
        yield (
            f"driver and clients used nearly all CPU that they may use on {here} in {limits.count(CLIENT):,} of "
            f"{counted(len(limits), 'interval')}, so the server may not be the limit; "
            f"pull more images per launch (--batch) or use {more}"
        )
    if tally.limited_by == MACHINE:
        yield (
            f"other programs used nearly all CPU of {here} in {limits.count(MACHINE):,} of "
            f"{counted(len(limits), 'interval')}, so latencies include their load; "
            f"run {alone}"
        )
    if tally.late_no_worker or state.unstarted:
        yield (
            f"{counted(tally.late_no_worker, 'scheduled pull')} started late because all workers were busy, and "
            f"{state.unstarted:,} did not start; give more workers, or a lower rate if the server cannot "
            "sustain this one"
        )
    if tally.herds.late:
        yield (
            f"{counted(tally.herds.late, 'pull')} started more than 50 ms after the first pull of the herd, because "
            "this machine was too slow to start them; give fewer workers, or use more machines (--start-at)"
        )
    if tally.late_machine:
        yield (
            f"{here} was too slow to start {counted(tally.late_machine, 'scheduled pull')} in time; give a lower "
            f"rate, or use {more}"
        )


def _nothing_pulled(tally: Account, settings: Settings) -> str:
    if not tally.errors:
        longer = (
            "--duration" if settings.duration else "--stage" if settings.stages else "--iteration-seconds"
        )
        return f"nothing was pulled: the load ended before the first pull did; give a longer {longer}"
    (error_class, count), *_ = tally.errors.most_common(1)
    return (
        f"nothing was pulled: {counted(tally.failed, 'pull')} failed, {count} of them with {error_class}; "
        "see the log, or find the cause with ocidriver doctor"
    )


def _status(
    state: Run, stop: Stop, outputs: Outputs, unwritten: str | None, missed_thresholds: list[str]
) -> int:
    """Returns the exit status and writes its reason to stderr and the log. A signal wins over 1, and 1 over 3."""
    if unwritten is not None:
        say(unwritten)
    if state.interrupted and stop.signal is not None:  # a signal after the end of the run does not count
        return 128 + stop.signal
    if state.reason is not None:
        outputs.log(f"error: {state.reason}")
        say(state.reason)
        return ExitStatus.FAILED
    if outputs.failed:
        say(f"not all output was written ({'; '.join(outputs.failed)})")
        return ExitStatus.FAILED
    if unwritten is not None:
        return ExitStatus.FAILED
    if missed_thresholds:
        message = f"threshold missed: {'; '.join(missed_thresholds)}"
        outputs.log(message)
        say(message)
        return ExitStatus.THRESHOLD
    return ExitStatus.OK

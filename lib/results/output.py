"""Writes the output of a running test: metrics lines, log lines and events."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from time import monotonic

from ..choices import CSV, JSONL
from ..clean import clean
from ..clock import Clock
from ..counted import counted
from ..latency import SHOWN_PERCENTILES, cells
from ..load.closed import Sample
from ..load.event import PRUNE, Event
from ..options.settings import Settings
from ..outcomes import FAILED
from ..streams import LINE_LENGTH, say, warn
from .event_line import event_line
from .line_file import LineFile
from .sample import sample_line
from .summarize import sample_of

# The columns of a metrics line, as the header of csv names them.
COLUMNS = ("time", "rate", "workers", "failed", *(f"{name}_ms" for name in SHOWN_PERCENTILES))
# In each tally interval, at most this many failures get their own log line. One line counts the others.
FAILURES_LOGGED = 100


class Outputs:
    """The outputs of a run: metrics, log and events. Raises `UsageError` if a file cannot be opened.

    In each tally interval, at most `failures_logged` failures get a log line of their own.
    """

    log: Callable[[str], None]

    def __init__(self, settings: Settings, clock: Clock, *, failures_logged: int = FAILURES_LOGGED) -> None:
        self._clock = clock
        self._failures_logged = failures_logged
        self._unlogged: Counter[str] = Counter()
        self._logged = 0
        self._batched = settings.batch > 1
        self._herded = settings.herd
        self._share = settings.share
        self._format = settings.metrics_format
        self.began = 0.0
        self.watcher: Callable[[Sample], None] | None = None
        self.metrics = LineFile(settings.metrics_file, "metrics", warn)
        self.logs = LineFile(settings.log_file, "log", warn)
        self.events = LineFile(settings.events_file, "events", warn) if settings.events_file else None
        self.pieces = LineFile(settings.pieces_file, "pieces", warn) if settings.pieces_file else None
        for file in self._files:
            file.empty()
        if self._format == CSV:
            self.metrics.write(",".join(COLUMNS))
        self.log = Log(self.logs, clock)

    def shown_on(self, terminal: int) -> list[LineFile]:
        """Returns the outputs that appear on the terminal that this descriptor is open to."""
        return [file for file in self._files if file.is_on(terminal)]

    @property
    def _files(self) -> list[LineFile]:
        return [file for file in (self.metrics, self.logs, self.events, self.pieces) if file is not None]

    def on_sample(self, sample: Sample) -> None:
        """Writes the metrics line of a tally interval."""
        at = self.began + sample.at
        if self._format == JSONL:
            self.metrics.write(sample_line(sample_of(sample, self._clock.wall(at))))
        else:
            values = metrics_values(sample, self._clock.line_time(at))
            # an empty cell is a missing value for whatever reads CSV
            line = ",".join("" if value == "-" else value for value in values)
            self.metrics.write(line if self._format == CSV else "\t".join(values))
        if self._unlogged:
            counts = ", ".join(
                f"{count} {error_class}" for error_class, count in self._unlogged.most_common()
            )
            self.log(f"and {counted(self._unlogged.total(), 'more failure')}: {counts}")
        self._unlogged.clear()
        self._logged = 0
        if self.watcher is not None:
            self.watcher(sample)

    def on_event(self, event: Event) -> None:
        """Writes an event, and logs a failure."""
        if self.events is not None:
            self.events.write(
                event_line(self._numbered(event), self._clock, batched=self._batched, herded=self._herded)
            )
        if event.outcome == FAILED and event.failure is not None:
            self._log_failure(event)

    def _numbered(self, event: Event) -> Event:
        """Returns the Event with the number that its worker has in the whole load."""
        if self._share.is_whole:
            return event
        return event._replace(worker=self._share.number_in_whole(event.worker))

    def _log_failure(self, event: Event) -> None:
        assert event.failure is not None
        if self._logged >= self._failures_logged:
            self._unlogged[event.failure.error_class] += 1
            return
        self._logged += 1
        what = "prune" if event.op == PRUNE else "pull"
        failure, worker = event.failure, self._share.number_in_whole(event.worker)
        self.log(
            f"worker {worker}: {what} of {event.image.name} failed: {failure.error_class}: {failure.message}"
        )

    @property
    def failed(self) -> list[str]:
        """The outputs that could not be written completely, each with the reason."""
        return [f"{file.name}: {file.failed}" for file in self._files if file.failed]

    def caution(self, message: str) -> None:
        """Logs a message that the user should see. Also shows it on a terminal that does not show the log."""
        self.log(message)
        if os.isatty(2) and not self.logs.is_on(2):
            say(message)

    def tell(self, message: str) -> None:
        """Does the same with a message that is no warning."""
        self.caution(message)

    def finish(self, seconds: float) -> None:
        """Waits at most this many seconds for each reader that has stalled."""
        for file in self._files:
            file.finish(seconds)

    def close(self) -> None:
        for file in self._files:
            file.close()


class Log:
    """Writes log lines: time, tab, message. Control characters and secrets are removed from messages."""

    def __init__(self, file: LineFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    def __call__(self, message: str) -> None:
        self._file.write(f"{self._clock.line_time(monotonic())}\t{clean(message, LINE_LENGTH)}")


def metrics_values(sample: Sample, when: str) -> list[str]:
    """Returns the values of a metrics line, one for each of the `COLUMNS`; `-` for a percentile that is not known."""
    return [when, f"{sample.rate:.6f}", str(sample.workers), str(sample.failed), *cells(sample.latency)]

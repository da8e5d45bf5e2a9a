"""Makes the report: one HTML page of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..counted import counted
from ..pages.chart import Chart
from ..pages.command_line import REBUILT, command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, warning
from ..pages.tables import safe
from ..results import headline
from ..results.hosts import losses
from ..results.summary import Herds, Summary
from ..results.whole_file import write_whole
from . import hosts, tables
from .charts import charts
from .run_data import Findings, find
from .top import top


@dataclass(frozen=True, slots=True)
class Labels:
    """What tells one page from another. Without a `title`, it names the server. `source` is the summary file."""

    title: str | None = None
    source: Path | None = None

    @property
    def file(self) -> str:
        """The folder and the name of the summary file; empty without one."""
        return "" if self.source is None else "/".join(self.source.absolute().parts[-2:]).lstrip("/")


def write_report(
    path: Path, summary: Summary, events: Path | None, labels: Labels, remark: str | None = None
) -> Findings:
    """Writes the page and returns its findings, so that the caller can warn about a mismatch.

    The page shows `remark` as a warning. Raises `OSError` if it cannot be written, `UsageError` for a bad events file.
    """
    findings = find(summary, events)
    write_whole(path, page(findings, labels, remark))
    return findings


def page(findings: Findings, labels: Labels | None = None, remark: str | None = None) -> str:
    """Returns the whole page as HTML."""
    labels = labels or Labels()
    drawn = charts(findings)
    heading = labels.title or _title(findings.summary)
    tab = " – ".join(word for word in (heading, labels.file) if word)
    return document(tab, _body(findings, drawn, heading, labels.file, remark), drawn)


def _title(summary: Summary) -> str:
    server = headline.target(summary)
    return f"Load test of {server}" if server != "unknown" else "Load test"


def _body(
    findings: Findings, drawn: list[Chart], heading: str, file: str, remark: str | None
) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    yield f"<header><h1>{safe(heading)}</h1>"
    yield f'<p class="faint">{safe(_about(summary, file))}</p></header>'
    yield from top(summary)
    for caution in _cautions(findings, remark):
        yield warning(caution)
    yield NO_SCRIPT
    if any(chart.data for chart in drawn):
        yield from map(place_of, drawn)
    else:
        yield '<p class="nothing">The run ended before its first tally interval, so there is nothing to draw.</p>'
    if summary.latency_ms:
        yield section("Latency", tables.latencies(summary), _first(summary))
    if summary.in_herds is not None:
        yield section("Herds", tables.herds(summary.in_herds), _herds(summary.in_herds))
    if summary.thresholds:
        yield section("Thresholds", tables.thresholds(summary))
    if summary.errors:
        yield section("Failed pulls by class", tables.errors(summary.errors))
    if summary.prune_errors:
        yield section("Failed prunes by class", tables.errors(summary.prune_errors))
    if summary.has_one_step:
        yield section("The whole run, and its intervals", tables.intervals(summary), _of_steps(summary))
    elif summary.steps:
        yield section("Steps", tables.steps(summary), _of_steps(summary))
    if summary.of_hosts:
        yield section("Hosts", hosts.hosts(summary), hosts.about(summary))
    if summary.workers:
        yield section("Workers", tables.workers(summary))
    if summary.image_sets:
        yield section("Image sets", tables.image_sets(summary))
    if events is not None and events.slowest():
        dropped = (
            " There are too many images to count every pull. So counts and means leave out some pulls."
            if events.images_dropped
            else ""
        )
        yield section(
            "Slowest images", tables.slowest(events), f"Ordered by the slowest pull of each image.{dropped}"
        )
    yield section("Settings", tables.settings(summary))
    command, exact = command_line(summary.command, summary.settings)
    yield section("Command line", command, "" if exact else REBUILT)


def _about(summary: Summary, file: str) -> str:
    settings = summary.settings
    words = [
        headline.tested(summary),
        f"upstream {settings.get('registry_url', 'unknown')}",
        f"layout {settings.get('layout', 'unknown')}",
        f"started {summary.started.isoformat()}, {summary.elapsed_seconds:,.0f} s",
        *([f"file {file}"] if file else []),
    ]
    return " · ".join(words)


def _cautions(findings: Findings, remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    if summary.interrupted:
        yield "The run was interrupted, so its last step is incomplete."
    elif summary.reason:
        yield f"The run failed: {summary.reason}"
    for each in losses(summary):
        yield f"The load is not complete, so its figures lack pulls: {each}."
    paused = sum(sample.paused_seconds for sample in summary.samples)
    if paused:
        who = "A host" if summary.has_hosts else "The driver itself"
        yield (
            f"{who} was stopped for {paused:,.1f} s, by a signal or because its machine was paused. Rates "
            "and latencies of that time are not those of the server."
        )
    if summary.latency_unit == "launch":
        yield (
            "Each launch pulled several images (--batch). A latency is the time of a whole launch. Layers that images "
            "of one launch share are fetched once."
        )
    if findings.mismatch:
        yield f"{findings.mismatch[0].upper()}{findings.mismatch[1:]}."
    if events is not None and events.unreadable:
        yield f"The events file has {counted(events.unreadable, 'line')} without an event. The report leaves them out."
    if remark:
        yield remark


def _herds(herds: Herds) -> str:
    late = f"{counted(herds.late, 'pull')} started more than 50 ms after the first pull of the herd."
    return f"{counted(herds.count, 'herd')}. The spread is the time from the first start of a herd to the last. {late}"


def _of_steps(summary: Summary) -> str:
    """Explains the tables of steps and intervals."""
    interval = "Low and high are the ends of the 95 % confidence interval of the rate."
    if summary.drain is None:
        return interval
    drain = summary.drain
    return (
        f"{interval} After the planned end, the last pulls took {drain.seconds:,.1f} s more: {drain.pulled:,} pulled, "
        f"{drain.failed:,} failed. No step contains them."
    )


def _first(summary: Summary) -> str:
    """Explains whether first pulls were cold: only if the images were pruned before."""
    if summary.first_pulls == "cold" or summary.settings.get("prune_first"):
        when = "their herds" if summary.in_herds is not None else "the load"
        return f"First pulls were cold, because the images were pruned before {when}."
    if summary.first_pulls == "warm":
        return "First pulls were cached, because a warm-up had pulled each image before the load."
    if summary.settings.get("prune"):
        return "First pulls after a prune were cold. In the first pass, the cache may have had the images already."
    return (
        "First pulls may have been cached: nothing was pruned, so the cache may have had the images already."
    )

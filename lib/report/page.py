"""The report: one HTML page of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..latency import SHOWN_PERCENTILES
from ..pages.chart import Chart
from ..pages.command_line import command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, warning
from ..pages.tables import safe, tiles
from ..results.summary import Summary
from ..results.whole_file import write_whole
from . import tables
from .charts import charts
from .run_data import Findings, find


def write_report(path: Path, summary: Summary, events: Path | None, remark: str | None = None) -> Findings:
    """Make the page and write it; what was found, for a caller that warns of it. `remark` is told on the page."""
    findings = find(summary, events)
    write_whole(path, page(findings, remark))
    return findings


def page(findings: Findings, remark: str | None = None) -> str:
    """The whole page."""
    drawn = charts(findings)
    return document(_title(findings.summary), _body(findings, drawn, remark), drawn)


def _title(summary: Summary) -> str:
    server = str(summary.settings.get("pullthrough_url", "")).partition("://")[2]
    return f"Load test of {server}" if server else "Load test"


def _body(findings: Findings, drawn: list[Chart], remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    yield f"<header><h1>{safe(_title(summary))}</h1>"
    yield f'<p class="faint">{safe(_about(summary))}</p></header>'
    for caution in _cautions(findings, remark):
        yield warning(caution)
    yield _tiles(summary)
    yield NO_SCRIPT
    if any(chart.data for chart in drawn):
        yield from map(place_of, drawn)
    else:
        yield '<p class="nothing">The run ended before its first interval did: there is nothing to draw.</p>'
    if summary.latency_ms:
        yield section("Latency", tables.latencies(summary), _first(summary))
    if summary.thresholds:
        yield section("Thresholds", tables.thresholds(summary))
    if summary.errors:
        yield section("Failed pulls by class", tables.errors(summary.errors))
    if summary.prune_errors:
        yield section("Failed prunes by class", tables.errors(summary.prune_errors))
    if summary.steps:
        yield section("Steps", tables.steps(summary))
    if summary.workers:
        yield section("Workers", tables.workers(summary))
    if events is not None and events.slowest():
        dropped = (
            " Counts and means are of a part of the pulls: there are too many images."
            if events.images_dropped
            else ""
        )
        yield section("Slowest images", tables.slowest(events), f"By their slowest pull.{dropped}")
    yield section("Settings", tables.settings(summary))
    command, exact = command_line(summary.command, summary.settings)
    note = (
        "" if exact else "Put together from the settings; the summary does not hold the line as it was typed."
    )
    yield section("Command line", command, note)


def _about(summary: Summary) -> str:
    settings, workers = summary.settings, len(summary.workers)
    words = [
        f"started {summary.started.isoformat()}, {summary.elapsed_seconds:,.0f} s",
        f"upstream {settings.get('registry_url', 'unknown')}",
        f"layout {settings.get('layout', 'unknown')}",
    ]
    if summary.client is not None:
        words.append(f"client {summary.client}")
    words.append(f"{summary.images} images, {workers} worker{'s' * (workers != 1)}")
    return " · ".join(words)


def _cautions(findings: Findings, remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    if summary.settings.get("dry_run"):
        yield "A dry run: nothing was pulled, and the figures say nothing about a server."
    if summary.interrupted:
        yield "The run was interrupted before its end: its last step is not whole."
    elif summary.reason:
        yield f"The run did not succeed: {summary.reason}"
    if summary.limited_by == "client":
        yield (
            "Driver and clients used nearly all of this machine's CPU, so the server may not be the limit: "
            "more images a launch (--batch) or more machines pull faster."
        )
    if summary.late or summary.unstarted:
        yield (
            f"Of the schedule's pulls {summary.late:,} started late and {summary.unstarted:,} never: there were "
            "too few workers, or the rate was more than the server or this machine can do."
        )
    if summary.latency_unit == "launch":
        yield (
            "A launch pulled several images (--batch): latencies are those of launches, and layers that the images of "
            "a launch share were fetched once."
        )
    if findings.mismatch:
        yield f"Beware: {findings.mismatch}."
    if events is not None and events.unreadable:
        yield f"{events.unreadable:,} lines of the events file are no events and were passed over."
    if remark:
        yield remark


def _first(summary: Summary) -> str:
    """What a first pull was: the summary's word does not mean cold by itself."""
    if summary.settings.get("prune_first"):
        return "First pulls were cold: the images were pruned before the ramp."
    if summary.settings.get("prune"):
        return "First pulls after a prune were cold; in the first pass the server may have had the images already."
    return "First pulls were not necessarily cold: nothing was pruned, so the server may have had the images already."


def _tiles(summary: Summary) -> str:
    latency, rate = summary.latency_ms, summary.error_rate

    def ms(name: str) -> str:
        return f"{latency.value(name):,.1f} ms" if latency else "–"

    shown = (
        (f"{summary.rate:,.2f}", "pulls/s on average"),
        (f"{summary.pulled:,}", "pulled"),
        (f"{summary.failed:,}", "failed" if rate is None else f"failed, {rate:.2%} of pulls"),
        *((ms(name), name) for name in SHOWN_PERCENTILES),
        (f"{summary.elapsed_seconds:,.1f} s", "elapsed"),
    )
    return tiles(shown)

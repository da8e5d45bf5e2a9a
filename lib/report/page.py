"""Makes the report: one HTML page of a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..counted import counted
from ..latency import SHOWN_PERCENTILES
from ..pages.chart import Chart
from ..pages.command_line import REBUILT, command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, warning
from ..pages.tables import safe, tiles
from ..results.summary import Herds, Summary
from ..results.whole_file import write_whole
from . import tables
from .charts import charts
from .run_data import Findings, find


def write_report(path: Path, summary: Summary, events: Path | None, remark: str | None = None) -> Findings:
    """Writes the page and returns its findings, so that the caller can warn about a mismatch.

    The page shows `remark` as a warning. Raises `OSError` if it cannot be written, `UsageError` for a bad events file.
    """
    findings = find(summary, events)
    write_whole(path, page(findings, remark))
    return findings


def page(findings: Findings, remark: str | None = None) -> str:
    """Returns the whole page as HTML."""
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
        yield section("The whole run, and its intervals", tables.intervals(summary), _drained(summary))
    elif summary.steps:
        yield section("Steps", tables.steps(summary), _drained(summary))
    if summary.workers:
        yield section("Workers", tables.workers(summary))
    if summary.image_sets:
        yield section("Image sets", tables.image_sets(summary))
    if events is not None and events.slowest():
        dropped = (
            " There are too many images to count every pull, so counts and means cover only some of the pulls."
            if events.images_dropped
            else ""
        )
        yield section(
            "Slowest images", tables.slowest(events), f"Ordered by the slowest pull of each image.{dropped}"
        )
    yield section("Settings", tables.settings(summary))
    command, exact = command_line(summary.command, summary.settings)
    yield section("Command line", command, "" if exact else REBUILT)


def _about(summary: Summary) -> str:
    settings, workers = summary.settings, len(summary.workers)
    words = [
        f"started {summary.started.isoformat()}, {summary.elapsed_seconds:,.0f} s",
        f"upstream {settings.get('registry_url', 'unknown')}",
        f"layout {settings.get('layout', 'unknown')}",
    ]
    if summary.client is not None:
        words.append(f"client {summary.client}")
    words.append(f"{counted(summary.images, 'image')}, {counted(workers, 'worker')}")
    return " · ".join(words)


def _cautions(findings: Findings, remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    if summary.settings.get("dry_run"):
        yield "This was a dry run. It pulled nothing, so these numbers do not describe a server."
    if summary.interrupted:
        yield "The run was interrupted, so its last step is incomplete."
    elif summary.reason:
        yield f"The run failed: {summary.reason}"
    paused = sum(sample.paused_seconds for sample in summary.samples)
    if paused:
        yield (
            f"The driver itself was stopped for {paused:,.1f} s, by a signal or with its machine. Rates and latencies "
            "of that time are not those of the server."
        )
    if summary.limited_by == "client":
        yield (
            "Driver and clients used nearly all CPU of this machine, so the server may not be the limit. "
            "To pull faster, use more images per launch (--batch) or more machines."
        )
    if summary.limited_by == "machine":
        yield (
            "Other programs used nearly all CPU of this machine, so latencies include their load. "
            "Run the driver on a machine of its own."
        )
    if summary.late_no_worker or summary.unstarted:
        yield (
            f"The run fell behind its schedule: {summary.late_no_worker:,} pulls started late because all workers were "
            f"busy, and {summary.unstarted:,} never started. Use more workers or a lower rate."
        )
    if summary.late_machine:
        yield (
            f"This machine was too slow to start {summary.late_machine:,} pulls in time. Use a lower rate or more "
            "machines."
        )
    if summary.latency_unit == "launch":
        yield (
            "Each launch pulled several images (--batch). A latency is the time of a whole launch, and the images of a "
            "launch fetch their shared layers once."
        )
    if findings.mismatch:
        yield f"{findings.mismatch[0].upper()}{findings.mismatch[1:]}."
    if events is not None and events.unreadable:
        yield f"Lines of the events file that are not events and were skipped: {events.unreadable:,}."
    if remark:
        yield remark


def _herds(herds: Herds) -> str:
    late = f"{counted(herds.late, 'pull')} started more than 50 ms after the first pull of the herd."
    return f"{counted(herds.count, 'herd')}. The spread is the time from the first start of a herd to the last. {late}"


def _drained(summary: Summary) -> str:
    if summary.drain is None:
        return ""
    drain = summary.drain
    return (
        f"After the planned end, running pulls took {drain.seconds:,.1f} s more: {drain.pulled:,} pulled, "
        f"{drain.failed:,} failed. They are in no step."
    )


def _first(summary: Summary) -> str:
    """Explains whether first pulls were cold. That depends on whether the images were pruned before."""
    if summary.first_pulls == "cold" or summary.settings.get("prune_first"):
        when = "their herds" if summary.in_herds is not None else "the load"
        return f"First pulls were cold, because the images were pruned before {when}."
    if summary.first_pulls == "warm":
        return "First pulls were warm, because a warm-up had pulled each image before the load."
    if summary.settings.get("prune"):
        return "First pulls after a prune were cold. In the first pass, the server may have had the images already."
    return (
        "First pulls may have been warm. Nothing was pruned, so the server may have had the images already."
    )


def _tiles(summary: Summary) -> str:
    latency, rate = summary.latency_ms, summary.error_rate

    def ms(name: str) -> str:
        value = latency.value(name) if latency else None
        return "–" if value is None else f"{value:,.1f} ms"

    shown = (
        (f"{summary.rate:,.2f}", "pulls/s on average"),
        (f"{summary.pulled:,}", "pulled"),
        (f"{summary.failed:,}", "failed" if rate is None else f"failed, {rate:.2%} of pulls"),
        *((ms(name), name) for name in SHOWN_PERCENTILES),
        (f"{summary.elapsed_seconds:,.1f} s", "elapsed"),
    )
    return tiles(shown)

"""The report: one HTML page that asks nobody for anything, with the charting library in it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from .. import __version__
from ..output import write_whole
from . import tables
from .assets import SCRIPT, STYLE
from .charts import Chart, charts
from .data import Findings, find
from .tables import safe

# The browser itself keeps the page from asking anybody for anything.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
LIBRARY_BEGIN, LIBRARY_END = "<script>/* plotly.js, MIT licence */\n", "\n</script><!-- plotly.js ends -->"


def write_report(
    path: Path, summary: dict[str, Any], events: Path | None, remark: str | None = None
) -> Findings:
    """Make the page and write it; what was found, for a caller that warns of it. `remark` is told on the page."""
    findings = find(summary, events)
    write_whole(path, page(findings, remark))
    return findings


def page(findings: Findings, remark: str | None = None) -> str:
    """The whole page."""
    drawn = charts(findings)
    body = "\n".join(_body(findings, drawn, remark))
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(_title(findings.summary))}</title>\n<style>{STYLE}</style></head>\n<body>\n{body}\n"
        f'<script type="application/json" id="charts">{in_script([_shown(each) for each in drawn if each.data])}'
        f"</script>\n{LIBRARY_BEGIN}{get_plotlyjs()}{LIBRARY_END}\n<script>{SCRIPT}</script>\n</body></html>\n"
    )
    return text.encode("utf-8", "replace").decode()


def in_script(value: Any) -> str:
    """JSON that cannot end its script element or open a comment: ASCII, with <, > and & as escapes."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(chart: Chart) -> dict[str, Any]:
    return {"name": chart.name, "data": chart.data, "layout": chart.layout}


def _title(summary: Mapping[str, Any]) -> str:
    server = str(summary["settings"].get("pullthrough_url", "")).partition("://")[2]
    return f"Load test of {server}" if server else "Load test"


def _body(findings: Findings, drawn: list[Chart], remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    yield f"<header><h1>{safe(_title(summary))}</h1>"
    yield f'<p class="faint">{safe(_about(summary))}</p></header>'
    for warning in _warnings(findings, remark):
        yield f'<p class="warning">{safe(warning)}</p>'
    yield _tiles(summary)
    yield "<noscript><p class=warning>The charts need JavaScript; the tables do not.</p></noscript>"
    for chart in drawn:
        yield _chart(chart)
    yield _section("Latency", tables.latencies(summary), _first(summary["settings"]))
    if summary["thresholds"]:
        yield _section("Thresholds", tables.thresholds(summary))
    if summary["errors"]:
        yield _section("Failed pulls by class", tables.errors(summary["errors"]))
    if summary.get("prune_errors"):
        yield _section("Failed prunes by class", tables.errors(summary["prune_errors"]))
    yield _section("Steps of the ramp", tables.steps(summary))
    yield _section("Workers", tables.workers(summary))
    if events is not None and events.slowest():
        dropped = (
            " Counts and means are of a part of the pulls: there are too many images."
            if events.images_dropped
            else ""
        )
        yield _section("Slowest images", tables.slowest(events), f"By their slowest pull.{dropped}")
    yield _section("Settings", tables.settings(summary))
    command, exact = tables.command_line(summary)
    note = (
        "" if exact else "Put together from the settings; the summary does not hold the line as it was typed."
    )
    yield _section("Command line", f"<pre>{html.escape(command)}</pre>", note)
    yield f'<footer><p class="faint">Made by ocidriver {safe(__version__)}.</p></footer>'


def _section(title: str, content: str, note: str = "") -> str:
    told = f'<p class="faint">{safe(note)}</p>' if note else ""
    return f'<section class="long"><h2>{safe(title)}</h2>{told}{content}</section>'


def _chart(chart: Chart) -> str:
    heading = f"<section><h2>{safe(chart.title)}</h2>"
    note = html.escape(chart.note)
    if not chart.data:
        return f'{heading}<p class="nothing" id="chart-{chart.name}">{note}</p></section>'
    label = html.escape(chart.title, quote=True)
    return (
        f'{heading}<p class="faint">{note}</p>'
        f'<div class="chart" id="chart-{chart.name}" role="img" aria-label="{label}"></div></section>'
    )


def _about(summary: Mapping[str, Any]) -> str:
    settings = summary["settings"]
    client = summary.get("client") or {}
    words = [
        f"started {summary['started']}, {summary['elapsed_seconds']:,.0f} s",
        f"upstream {settings.get('registry_url', 'unknown')}",
        f"layout {settings.get('layout', 'unknown')}",
    ]
    if client:
        words.append(f"client {client.get('name')} {client.get('version')}")
    words.append(
        f"{summary.get('images', 0)} images, {len(summary['workers'])} worker{'s' * (len(summary['workers']) != 1)}"
    )
    return " · ".join(words)


def _warnings(findings: Findings, remark: str | None) -> Iterator[str]:
    summary, events = findings.summary, findings.events
    if summary["settings"].get("dry_run"):
        yield "A dry run: nothing was pulled, and the figures say nothing about a server."
    if summary["interrupted"]:
        yield "The run was interrupted: the ramp is not whole."
    elif summary.get("reason"):
        yield f"The run did not succeed: {summary['reason']}"
    if summary.get("limited_by") == "client":
        yield "Driver and clients used nearly all of this machine's CPU, so the server may not be the limit."
    if findings.mismatch:
        yield f"Beware: {findings.mismatch}."
    if events is not None and events.unreadable:
        yield f"{events.unreadable:,} lines of the events file are no events and were passed over."
    if remark:
        yield remark


def _first(settings: Mapping[str, Any]) -> str:
    """What a first pull was: the summary's word does not mean cold by itself."""
    if settings.get("prune_first"):
        return "First pulls were cold: the images were pruned before the ramp."
    if settings.get("prune"):
        return "First pulls after a prune were cold; in the first pass the server may have had the images already."
    return "First pulls were not necessarily cold: nothing was pruned, so the server may have had the images already."


def _tiles(summary: Mapping[str, Any]) -> str:
    latency, rate = summary["latency_ms"], summary.get("error_rate")

    def ms(name: str) -> str:
        return f"{latency[name]:,.1f} ms" if latency else "–"

    shown = (
        (f"{summary['rate']:,.2f}", "pulls/s on average"),
        (f"{summary['pulled']:,}", "pulled"),
        (f"{summary['failed']:,}", "failed" if rate is None else f"failed, {rate:.2%} of pulls"),
        *((ms(name), name) for name in ("p50", "p95", "p99")),
        (f"{summary['elapsed_seconds']:,.1f} s", "elapsed"),
    )
    return f'<div class="tiles">{"".join(f"<div class=tile><b>{a}</b><span>{b}</span></div>" for a, b in shown)}</div>'

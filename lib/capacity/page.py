"""The HTML page of a capacity search: the answer, latency and failures by offered rate, and all trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ..durations import spoken
from ..figures import milliseconds, percent, rate
from ..hosts.refusals import hosts as hosts_in_words
from ..latency import SHOWN_PERCENTILES
from ..pages.chart import BLUE, GREEN, GREY, HEADROOM, ORANGE, PURPLE, RED, Chart, Trace, label
from ..pages.chart import milliseconds as of_milliseconds
from ..pages.command_line import command_line
from ..pages.document import NO_SCRIPT, document, place_of, section, verdict, warning
from ..pages.tables import Mark, Number, safe, table, tiles
from ..results.headline import CACHE_UNKNOWN, CACHED
from ..results.whole_file import write_whole
from .result import Capacity, TrialResult, of_hosts
from .wording import LIMITERS, OUTCOMES, answer

_COLOURS: Final = dict(zip(SHOWN_PERCENTILES, (BLUE, ORANGE, PURPLE), strict=True))
_HOLLOW: Final = {True: "circle", False: "x", None: "circle-open"}
_SHOWN: Final = {True: GREEN, False: RED, None: GREY}


def write_page(path: Path, found: Capacity) -> None:
    """Writes the page. Raises `OSError` if it cannot be written."""
    write_whole(path, page(found))


def page(found: Capacity) -> str:
    """Returns the whole page as HTML."""
    drawn = [_latency(found), _errors(found)]
    return document(_title(found), _body(found, drawn), drawn)


def _title(found: Capacity) -> str:
    server = str(found.settings.get("pullthrough_url", "")).partition("://")[2]
    return f"Capacity of {server}"


def _body(found: Capacity, drawn: Sequence[Chart]) -> Iterator[str]:
    yield f'<header><h1>{safe(_title(found))}</h1><p class="faint">{safe(_about(found))}</p></header>'
    if found.reason:
        yield warning(f"The search failed: {found.reason}.")
    if found.trials:
        yield verdict(answer(found))
    yield tiles(_tiles(found))
    yield NO_SCRIPT
    yield from map(place_of, drawn)
    if found.trials:
        yield section("Trials", _trials(found.trials), _HOW)
    command, _ = command_line(found.command, found.settings)
    yield section("Command line", command)


_HOW: Final = (
    "In each trial, pulls started at the offered rate, even if earlier ones had not ended. The verdict leaves out the "
    "first tenth of a trial. If a verdict was not certain at 95 %, the trial was repeated. The next verdict then "
    "covers all trials at that rate."
)


def _about(found: Capacity) -> str:
    settings = found.settings
    cold = (
        "cold, pruned before each trial"
        if settings.get("prune")
        else CACHED
        if settings.get("warm_up")
        else CACHE_UNKNOWN
    )
    words = [
        f"started {found.started.isoformat()}, {spoken(round(found.elapsed_seconds))}",
        f"SLO {', '.join(found.slos)}",
        f"upstream {settings.get('registry_url', 'unknown')}",
        *([f"client {found.client}"] if found.client else []),
        *([f"from {hosts_in_words([*names])}"] if (names := of_hosts(found)) else []),
        cold,
    ]
    return " · ".join(words)


def _tiles(found: Capacity) -> list[tuple[object, str]]:
    held, failed = found.held, found.failed_at
    latency = held.latency_ms if held else None
    p95 = latency.p95 if latency else None
    return [
        (
            Mark(rate(held.rate), good=True) if held else Mark("none", good=False),
            "highest rate that held" + ("" if held is None or held.certain else " (likely)"),
        ),
        (rate(failed.rate) if failed else "–", "lowest rate that did not hold"),
        ("–" if p95 is None else milliseconds(p95), "p95 at the highest rate that held"),
        (_LIMITS.get(found.limit, "–") if found.limit else "–", "what set the limit"),
    ]


_LIMITS: Final = {
    "slo": "an SLO",
    "unstarted": "pulls that never started",
    **LIMITERS,
    "max-rate": "--max-rate",
    "max-time": "--max-time",
}


def _by_rate(found: Capacity) -> list[TrialResult]:
    return sorted(found.trials, key=lambda trial: trial.rate)


def _bracket(found: Capacity) -> list[dict[str, Any]]:
    """Returns the shape that marks the gap between the rate that held and the one that did not."""
    if found.held is None or found.failed_at is None:
        return []
    return [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": found.held.rate,
            "x1": found.failed_at.rate,
            "y0": 0,
            "y1": 1,
            "fillcolor": GREY,
            "opacity": 0.25,
            "line": {"width": 0},
            "layer": "below",
        }
    ]


def _layout(found: Capacity, title: str) -> dict[str, Any]:
    highest = max(trial.rate for trial in found.trials)
    return {
        "xaxis": {"title": {"text": "offered pulls/s"}, "range": [0, HEADROOM * highest]},
        "yaxis": {"title": {"text": title}, "rangemode": "tozero"},
        "shapes": _bracket(found),
        "hovermode": "closest",
        "showlegend": True,
    }


def _points(trials: Sequence[TrialResult]) -> Trace:
    """Returns the marker of each trial: filled if it held, a cross if it did not, hollow if that was not certain."""
    return {
        "symbol": [_HOLLOW[trial.held] for trial in trials],
        "color": [_SHOWN[trial.held] for trial in trials],
        "size": 9,
    }


def _latency(found: Capacity) -> Chart:
    name, title = "latency", "Latency by offered rate"
    trials = [trial for trial in _by_rate(found) if trial.latency_ms is not None]
    data: list[Trace] = []
    for percentile in SHOWN_PERCENTILES:
        shown = [
            (trial, value)
            for trial in trials
            if trial.latency_ms is not None and (value := trial.latency_ms.value(percentile)) is not None
        ]
        if not shown:
            continue
        data.append(
            {
                "name": label(percentile),
                "x": [trial.rate for trial, _ in shown],
                "y": [value for _, value in shown],
                "mode": "lines+markers",
                "line": {"color": _COLOURS[percentile], "width": 2},
                "marker": _points([trial for trial, _ in shown]),
                "hovertemplate": "%{x} pulls/s: %{y:,.1f} ms",
            }
        )
    if not data:
        return Chart(name, title, "No trial had enough pulls for a latency.")
    layout = _layout(found, "ms")
    layout["yaxis"] |= of_milliseconds([value for trace in data for value in trace["y"]])
    note = (
        "Circles: trials that held. Crosses: trials that did not. Hollow circles: not certain. "
        "Grey: between the highest rate that held and the lowest that did not."
    )
    return Chart(name, title, note, data=data, layout=layout)


def _errors(found: Capacity) -> Chart:
    name, title = "errors", "Failed pulls by offered rate"
    trials = [trial for trial in _by_rate(found) if trial.error_rate is not None]
    if not any(trial.failed for trial in trials):
        return Chart(name, title, "No pull failed in any trial.")
    data: list[Trace] = [
        {
            "name": "failed",
            "x": [trial.rate for trial in trials],
            "y": [round(100 * (trial.error_rate or 0.0), 4) for trial in trials],
            "mode": "lines+markers",
            "line": {"color": RED, "width": 2},
            "marker": _points(trials),
            "hovertemplate": "%{x} pulls/s: %{y:.3g} % failed",
        }
    ]
    return Chart(name, title, "Share of pulls that failed.", data=data, layout=_layout(found, "% of pulls"))


def _trials(trials: Sequence[TrialResult]) -> str:
    heads = ("trial", "pulls/s", "seconds", "verdict", "pulled", "failed", "retried", "unstarted",
             *(f"{name} ms" for name in SHOWN_PERCENTILES), "why")  # fmt: skip
    return table(heads, [_row(number, trial) for number, trial in enumerate(trials, 1)])


def _row(number: int, trial: TrialResult) -> list[object]:
    latency = trial.latency_ms
    verdict = OUTCOMES[trial.held]
    return [
        Number(number),
        Number(trial.rate, ",.6g"),
        Number(trial.seconds, ",.1f"),
        verdict if trial.held is None else Mark(verdict, good=trial.held),
        Number(trial.pulled),
        Number(trial.failed, text=f"{trial.failed:,} ({percent(trial.error_rate or 0.0)})"),
        Number(trial.retried),
        Number(trial.unstarted),
        *(Number(latency.value(name) if latency else None, ",.1f") for name in SHOWN_PERCENTILES),
        trial.missed or "",
    ]

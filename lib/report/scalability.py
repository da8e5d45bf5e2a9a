"""The chart of throughput against workers, with the fitted scalability law and its knee."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..counted import counted
from ..pages.chart import BLUE, GREEN, GREY, HEADROOM, ORANGE, RED, Chart, Trace, whole_numbers
from ..results.summary import Step, Summary
from .usl import LEAST_DIFFERENT, Fit, Point, fit

_CURVE_POINTS = 120


def points_of(summary: Summary) -> list[Point]:
    """Returns the throughput of each step. Leaves out a last step that was interrupted."""
    return [Point(each.workers, each.rate) for each in _steps_of(summary)]


def _steps_of(summary: Summary) -> list[Step]:
    steps = summary.steps[:-1] if summary.interrupted else summary.steps
    return [each for each in steps if each.seconds > 0 and each.workers > 0]


def scalability(summary: Summary) -> Chart:
    """Draws the throughput of each step against its workers, with the fitted law."""
    name, title = "scalability", "Throughput against workers"
    if summary.settings.get("rate"):
        return Chart(
            name,
            title,
            "With a schedule (--rate), all workers run all the time. Run without --rate to see this chart.",
        )
    if summary.settings.get("passes"):
        return Chart(
            name,
            title,
            "With fixed work (--passes), workers end at different times, so there are no steps with a known number of "
            "workers. Run without --passes to see this chart.",
        )
    points = points_of(summary)
    if not any(point.rate > 0 for point in points):
        return Chart(name, title, "No step has a successful pull.")
    fitted = fit(points)
    data = list(_measured(_steps_of(summary)))
    highest = HEADROOM * max(point.rate for point in points)
    most = max(point.workers for point in points)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "workers"}, "range": [0, most + 0.5], **whole_numbers(most)},
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, highest]},
        "hovermode": "closest",
    }
    if fitted is not None:
        data.extend(_curves(fitted, highest))
        if fitted.knee is not None:
            layout["shapes"] = [_upright(fitted.knee)]
            layout["annotations"] = [_label(fitted.knee, f"knee {fitted.knee:.1f}")]
    return Chart(name, title, _reading(fitted, points, summary), data=data, layout=layout)


def _measured(steps: Sequence[Step]) -> Iterator[Trace]:
    for direction, symbol, colour in (("up", "circle", BLUE), ("down", "diamond-open", ORANGE)):
        shown = [step for step in steps if step.direction == direction]
        if shown:
            yield {
                "name": f"steps {direction}",
                "x": [step.workers for step in shown],
                "y": [round(step.rate, 3) for step in shown],
                "mode": "markers",
                "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2}},
                "hovertemplate": "%{x} workers: %{y:.2f} pulls/s",
            }


def _curves(fitted: Fit, highest: float) -> list[Trace]:
    """Returns the fitted curve, and the line of perfect scaling up to the top of the chart."""
    at = [fitted.most * i / _CURVE_POINTS for i in range(_CURVE_POINTS + 1)]
    end = min(fitted.most, highest / fitted.unhindered)
    return [
        {
            "name": "fitted law",
            "x": [round(n, 3) for n in at],
            "y": [round(fitted.rate(n), 3) for n in at],
            "mode": "lines",
            "line": {"color": GREEN, "width": 2.5},
            "hovertemplate": "%{x:.1f} workers: %{y:.2f} pulls/s",
        },
        {
            "name": "perfect scaling",
            "x": [0, round(end, 3)],
            "y": [0, round(fitted.unhindered * end, 3)],
            "mode": "lines",
            "line": {"color": GREY, "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        },
    ]


def _upright(at: float) -> dict[str, Any]:
    line = {"color": RED, "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _label(at: float, text: str) -> dict[str, Any]:
    return {
        "x": at, "y": 0.02, "yref": "paper", "xanchor": "left", "yanchor": "bottom", "text": text,
        "showarrow": False, "xshift": 4,
    }  # fmt: skip


def _reading(fitted: Fit | None, points: Sequence[Point], summary: Summary) -> str:
    """Returns the note: the fit in words."""
    if fitted is None:
        different = len({point.workers for point in points})
        return (
            f"There are too few points for a fit: {counted(different, 'different number')} of "
            f"workers. The Universal Scalability Law needs {LEAST_DIFFERENT}. Use more workers."
        )
    words = [
        f"Universal Scalability Law (Gunther): X(N) = λN / (1 + σ(N−1) + κN(N−1)), with λ = {fitted.lam:.3g} pulls/s, "
        f"σ = {fitted.sigma:.3g} (contention), κ = {fitted.kappa:.3g} (coherency), R² = {fitted.r_squared:.3f}, "
        f"from {len(points)} steps."
    ]
    if fitted.knee is None:
        words.append(f"No knee: the rate still grew when the last of {fitted.most} workers started.")
    else:
        words.append(
            f"Knee: about {fitted.knee:.1f} workers, where perfect scaling would meet the plateau of "
            f"{fitted.plateau:.3g} pulls/s. More workers mostly wait."
        )
    peak = fitted.peak
    if peak is None:
        words.append("The curve has no peak (κ = 0).")
    elif peak > fitted.most:
        words.append("The peak, N* = √((1−σ)/κ), lies beyond the measured range.")
    else:
        words.append(f"Peak: N* = √((1−σ)/κ) = {peak:.1f} workers.")
    if fitted.r_squared < 0.8:
        words.append(
            "The fit is poor, so knee and peak are uncertain. Make the steps longer (--iteration-seconds)."
        )
    if summary.limited_by == "client":
        words.append("Driver and clients used nearly all CPU of this machine, so they may be the limit.")
    return " ".join(words)

"""The chart of throughput against workers, with the fitted scalability law and its knee."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..counted import counted
from ..load.plan import DOWN, HOLD, UP
from ..pages.chart import BLUE, GREEN, GREY, HEADROOM, ORANGE, PURPLE, RED, Chart, Trace, whole_numbers
from ..results.hosts import why_no_peak
from ..results.scalability import known_steps, law, steps_of, unknown_set
from ..results.summary import LEAST_DIFFERENT, Step, Summary
from ..results.usl import Fit, Interval

_CURVE_POINTS = 120


def scalability(summary: Summary) -> Chart:
    """Draws the throughput of each step against its workers, with the fitted law."""
    name, title = "scalability", "Throughput against workers"
    if summary.is_scheduled:
        return Chart(
            name,
            title,
            "With a schedule, all workers run all the time. Run without a schedule to see this chart.",
        )
    if summary.settings.get("passes"):
        return Chart(
            name,
            title,
            "With fixed work (--passes), workers end at different times, so there are no steps with a known number of "
            "workers. Run without --passes to see this chart.",
        )
    if summary.in_herds is not None:
        return Chart(
            name,
            title,
            "In herds (--herd), workers wait for each other, so the rate levels off even if the server has no limit. "
            "Run without --herd to see this chart.",
        )
    steps = steps_of(summary)
    if not any(step.rate > 0 for step in steps):
        return Chart(name, title, "No step has a successful pull.")
    fitted = law(summary)
    data = list(_measured(steps))
    highest = HEADROOM * max(step.high or step.rate for step in steps)
    most = max(step.workers for step in steps)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "workers"}, "range": [0, most + 0.5], **whole_numbers(most)},
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, highest]},
        "hovermode": "closest",
    }
    if fitted is not None:
        data.extend(_curves(fitted, highest))
        if fitted.knee is not None:
            knee = fitted.knee.value
            layout["shapes"] = [_upright(knee)]
            layout["annotations"] = [_label(knee, f"knee {knee:.1f}")]
    note = " ".join([*_of_fit(fitted, summary), *_cautions(summary)])
    folded = "" if fitted is None else " ".join(_computed(fitted, len(known_steps(summary))))
    return Chart(name, title, note, data=data, layout=layout, folded=folded)


def _measured(steps: Sequence[Step]) -> Iterator[Trace]:
    for direction, symbol, colour in (
        (UP, "circle", BLUE),
        (HOLD, "square", PURPLE),
        (DOWN, "diamond-open", ORANGE),
    ):
        shown = [step for step in steps if step.direction == direction]
        if shown:
            yield {
                "name": f"steps {direction}",
                "x": [step.workers for step in shown],
                "y": [round(step.rate, 3) for step in shown],
                "mode": "markers",
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [round((step.high or step.rate) - step.rate, 3) for step in shown],
                    "arrayminus": [
                        round(step.rate - (step.rate if step.low is None else step.low), 3) for step in shown
                    ],
                    "color": colour,
                    "thickness": 1,
                    "width": 3,
                },
                "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2}},
                "hovertemplate": "%{x} workers: %{y:.2f} pulls/s",
            }


def _curves(fitted: Fit, highest: float) -> list[Trace]:
    """Returns the fitted curve, and the line of perfect scaling up to the top of the chart."""
    at = [fitted.law.most * i / _CURVE_POINTS for i in range(_CURVE_POINTS + 1)]
    return [
        {
            "name": "fitted law",
            "x": [round(n, 3) for n in at],
            "y": [round(fitted.law.rate(n), 3) for n in at],
            "mode": "lines",
            "line": {"color": GREEN, "width": 2.5},
            "hovertemplate": "%{x:.1f} workers: %{y:.2f} pulls/s",
        },
        {
            "name": "perfect scaling",
            "x": [round(n, 3) for n in at if fitted.law.perfect(n) <= highest],
            "y": [round(fitted.law.perfect(n), 3) for n in at if fitted.law.perfect(n) <= highest],
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


def _of_fit(fitted: Fit | None, summary: Summary) -> Iterator[str]:
    """Yields the fit in words."""
    unknown, known = unknown_set(summary), known_steps(summary)
    if unknown is not None:
        yield (
            f"Most pulls of image set {unknown + 1} failed, so its speed is unknown. The fit leaves out steps with "
            f"more than {counted(unknown, 'worker')}."
        )
    if fitted is None:
        different = len({step.workers for step in known})
        yield (
            f"There are too few points for a fit: {counted(different, 'different number')} of workers, and a fit needs "
            f"{LEAST_DIFFERENT}."
        )
        if unknown is None:
            yield "Use more workers."
        return
    if fitted.knee is None:
        yield (f"No knee: the rate may still have grown when the last of {fitted.law.most} workers started.")
    else:
        yield (
            f"Knee: about {_shown(fitted.knee)} workers, where perfect scaling would meet the plateau of "
            f"{fitted.plateau:.3g} pulls/s. More workers mostly wait."
        )
    if fitted.peak is None:
        yield "The rate does not clearly fall with more workers."
    else:
        yield f"The rate falls beyond {_shown(fitted.peak)} workers."


def _computed(fitted: Fit, steps: int) -> Iterator[str]:
    """Yields how the curve was computed."""
    yield (
        "Universal Scalability Law (Gunther): X(N) = λN / (1 + σ(N−1) + κN(N−1)), with "
        f"σ = {_shown(fitted.sigma)} (contention) and κ = {_shown(fitted.kappa)} (coherency), from {steps} steps. "
        "Ranges are 95 % confidence intervals."
    )
    if not fitted.usl:
        yield (
            "The rates level off more sharply than this law allows. So the curve is that of a law with a maximum rate."
        )
    yield f"On the curve, one worker alone reaches λ = {fitted.lam:.3g} pulls/s."
    if fitted.law.demands:
        yield "The image sets differ in speed. The fit takes into account which of them each worker pulls."


def _cautions(summary: Summary) -> Iterator[str]:
    no_peak = why_no_peak(summary) if summary.peak is None else None
    if no_peak is not None:
        yield f"The highest rate is not known: {no_peak}."
    if summary.limited_by:
        whose = "a host" if summary.has_hosts else "this machine"
        yield f"The CPU of {whose} was used up, so the server may not be the limit."


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3g} ({interval.low:.3g} to {interval.high:.3g})"

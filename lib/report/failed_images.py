"""The chart of failed pulls by image and error class. It needs the events."""

from __future__ import annotations

from typing import Final

from ..counted import counted
from ..pages.chart import HEADROOM, Chart, Trace, label, whole_numbers
from .failed_pulls import class_colours
from .run_data import Findings

# At most this many images are drawn: those with the most failed pulls.
_IMAGES: Final = 15
# A longer name loses its middle. The end often has what tells images apart.
_LONGEST: Final = 34
_BAR, _AROUND = 26, 110


def failed_images(findings: Findings) -> Chart:
    """Draws the failed pulls of the images that failed most often, by error class."""
    name, title = "failed-images", "Failed pulls by image"
    events = findings.events
    if events is None or not events.failing.images:
        missing = "Give the events file to see which images failed."
        return Chart(
            name, title, missing if findings.summary.failed and events is None else "No pull failed."
        )
    worst = events.failing.worst(_IMAGES)
    shown = [_short(image) for image, _ in worst]
    data: list[Trace] = []
    for error_class, colour in class_colours(events.failed_by_class).items():
        counts = [classes.get(error_class, 0) for _, classes in worst]
        if any(counts):
            data.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": label(error_class),
                    "x": counts,
                    "y": list(range(len(worst))),
                    "customdata": [label(image, 200) for image, _ in worst],
                    "marker": {"color": colour, "opacity": 0.5},
                    "hovertemplate": "%{customdata}: %{x} %{fullData.name}<extra></extra>",
                }
            )
    # the names lie on the bars: beside them, long names would leave no room for the bars
    data.append(
        {
            "name": "image", "x": [0] * len(worst), "y": list(range(len(worst))), "text": shown, "mode": "text",
            "textposition": "middle right", "hoverinfo": "skip", "showlegend": False,
        }
    )  # fmt: skip
    most = max(sum(classes.values()) for _, classes in worst)
    note = f"{events.failing.known:,} images have failed pulls. These {len(worst)} have the most."
    if len(worst) == 1:
        note = "One image has failed pulls."
    elif len(worst) == events.failing.known:
        note = f"All {len(worst)} images that have failed pulls."
    if events.failing.dropped:
        note += f" Of other images, {counted(events.failing.dropped, 'failed pull')} are not counted here."
    return Chart(
        name,
        title,
        note,
        data=data,
        layout={
            "barmode": "stack",
            "height": _AROUND + _BAR * len(worst),
            "xaxis": {"title": {"text": "failed pulls"}, "range": [0, most * HEADROOM], **whole_numbers(most)},
            "yaxis": {"autorange": "reversed", "showgrid": False, "showticklabels": False, "zeroline": False},
            "hovermode": "closest",
            "showlegend": True,
        },
    )  # fmt: skip


def _short(image: str) -> str:
    half = (_LONGEST - 1) // 2
    return label(image if len(image) <= _LONGEST else f"{image[:half]}…{image[-half:]}")

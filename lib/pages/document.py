"""Makes one HTML file that contains the charting library and requests nothing from any server."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from .. import __version__
from .assets import SCRIPT, STYLE
from .chart import Chart
from .tables import safe, sentence

# With this policy, the browser blocks every request of the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
LIBRARY_BEGIN, LIBRARY_END = "<script>/* plotly.js, MIT licence */\n", "\n</script><!-- plotly.js ends -->"
NO_SCRIPT = (
    "<noscript><p class=warning>The charts need JavaScript. The tables work without it.</p></noscript>"
)


def library() -> str:
    """Returns the charting library: the basic bundle of plotly.js, as its maker published it."""
    return files(__package__).joinpath("plotly-basic.min.js").read_text(encoding="utf-8")


def document(title: str, body: Iterable[str], charts: Sequence[Chart]) -> str:
    """Returns the whole page. `body` is HTML and contains the `place_of` each chart."""
    content = "\n".join(body)
    drawn = in_script([_shown(each) for each in charts if each.data])
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n{content}\n"
        f'<footer><p class="faint">Made by ocidriver {safe(__version__)}.</p></footer>\n'
        f'<script type="application/json" id="charts">{drawn}'
        f"</script>\n{LIBRARY_BEGIN}{library()}{LIBRARY_END}\n<script>{SCRIPT}</script>\n</body></html>\n"
    )
    return text.encode("utf-8", "replace").decode()


def in_script(value: Any) -> str:
    """Returns JSON that cannot end its script element or open a comment: ASCII, with <, > and & escaped."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(chart: Chart) -> dict[str, Any]:
    return {"name": chart.name, "data": chart.data, "layout": chart.layout}


def section(title: str, content: str, note: str = "") -> str:
    """Returns a section. `content` is HTML; `title` and `note` are text."""
    shown_note = f'<p class="faint">{safe(note)}</p>' if note else ""
    return f'<section class="long"><h2>{safe(title)}</h2>{shown_note}{content}</section>'


def fold(title: str, content: str) -> str:
    """Returns content that the reader unfolds. `content` is HTML; `title` is text."""
    return f"<details><summary>{safe(title)}</summary>{content}</details>"


def alarm(text: str) -> str:
    """Returns a paragraph in the colour for bad."""
    return f'<p class="alarm">{safe(text)}</p>'


def verdict(sentences: Sequence[str]) -> str:
    """Returns the paragraph at the top of a page, with its first sentence in bold."""
    first, *others = sentences
    return f'<p class="verdict"><b>{sentence(first)}</b>{sentence(" ".join(others))}</p>'


def warning(text: str) -> str:
    """Returns a highlighted paragraph."""
    return f'<p class="warning">{safe(text)}</p>'


def place_of(chart: Chart) -> str:
    """Returns the element in which the script draws the chart. If there is nothing to draw, it shows the note."""
    heading = f"<section><h2>{safe(chart.title)}</h2>"
    note = html.escape(chart.note)
    if not chart.data:
        return f'{heading}<p class="nothing" id="chart-{chart.name}">{note}</p></section>'
    title = html.escape(chart.title, quote=True)
    folded = fold("How this is computed", f"<p>{html.escape(chart.folded)}</p>") if chart.folded else ""
    return (
        f'{heading}<p class="faint">{note}</p>'
        f'<div class="chart" id="chart-{chart.name}" role="img" aria-label="{title}"></div>{folded}</section>'
    )

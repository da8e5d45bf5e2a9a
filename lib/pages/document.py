"""One HTML file that asks nobody for anything, with the charting library in it."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from plotly.offline import get_plotlyjs

from .. import __version__
from .assets import SCRIPT, STYLE
from .chart import Chart
from .tables import safe

# The browser itself keeps the page from asking anybody for anything.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
LIBRARY_BEGIN, LIBRARY_END = "<script>/* plotly.js, MIT licence */\n", "\n</script><!-- plotly.js ends -->"
NO_SCRIPT = "<noscript><p class=warning>The charts need JavaScript; the tables do not.</p></noscript>"


def document(title: str, body: Iterable[str], charts: Sequence[Chart]) -> str:
    """The whole page: `body` is HTML and has the place of each chart, see `place_of`."""
    content = "\n".join(body)
    drawn = in_script([_shown(each) for each in charts if each.data])
    text = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n{content}\n"
        f'<footer><p class="faint">Made by ocidriver {safe(__version__)}.</p></footer>\n'
        f'<script type="application/json" id="charts">{drawn}'
        f"</script>\n{LIBRARY_BEGIN}{get_plotlyjs()}{LIBRARY_END}\n<script>{SCRIPT}</script>\n</body></html>\n"
    )
    return text.encode("utf-8", "replace").decode()


def in_script(value: Any) -> str:
    """JSON that cannot end its script element or open a comment: ASCII, with <, > and & as escapes."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(chart: Chart) -> dict[str, Any]:
    return {"name": chart.name, "data": chart.data, "layout": chart.layout}


def section(title: str, content: str, note: str = "") -> str:
    """`content` is HTML."""
    told = f'<p class="faint">{safe(note)}</p>' if note else ""
    return f'<section class="long"><h2>{safe(title)}</h2>{told}{content}</section>'


def warning(text: str) -> str:
    return f'<p class="warning">{safe(text)}</p>'


def place_of(chart: Chart) -> str:
    """Where the script draws the chart; where there is nothing to draw, the reason."""
    heading = f"<section><h2>{safe(chart.title)}</h2>"
    note = html.escape(chart.note)
    if not chart.data:
        return f'{heading}<p class="nothing" id="chart-{chart.name}">{note}</p></section>'
    title = html.escape(chart.title, quote=True)
    return (
        f'{heading}<p class="faint">{note}</p>'
        f'<div class="chart" id="chart-{chart.name}" role="img" aria-label="{title}"></div></section>'
    )

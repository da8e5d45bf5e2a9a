"""A page as a browser sees it: its elements, and what a real one draws and says of it."""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lib.pages.document import LIBRARY_BEGIN, LIBRARY_END
from tests.support.programs import find
from tests.support.running import run

HOSTILE = (
    "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
    "\u2028\u202e=1+1&quot;'\"<!--${x}"
)


def own(text: str) -> str:
    """The page without the charting library."""
    begin, end = text.index(LIBRARY_BEGIN), text.index(LIBRARY_END)
    return text[:begin] + text[end + len(LIBRARY_END) :]


def charts_in(text: str) -> dict[str, dict[str, Any]]:
    """What the page hands to the charting library, by the charts' names."""
    drawn = json.loads(text.split('id="charts">')[1].split("</script>")[0])
    return {chart["name"]: chart for chart in drawn}


class Elements(HTMLParser):
    """The elements of a page as a browser sees them, and all their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)


ALLOWED = set(
    "html head meta title style body header h1 h2 p div b span section table thead tbody tr th td button pre "
    "noscript script footer details summary i".split()
)
LOADING = {"src", "href", "action", "style", "onerror", "srcset", "data", "background"}


def check_that_it_asks_nobody(text: str) -> None:
    """Fails where the page could load or run anything but its own, or hide what stands in it."""
    assert len(text.encode()) < 1_500_000
    page = own(text)
    elements = Elements(page)
    assert elements.names <= ALLOWED
    assert not elements.attributes & LOADING
    assert page.count("<script") == page.count("</script") == 2
    assert "<script>alert" not in text
    assert not set("\u2028\u202e\x1b") & set(page)


_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=20000",
)  # fmt: skip
_PROBE = (
    "<script>addEventListener('load', () => { const d = document.documentElement.dataset;"
    "d.asked = performance.getEntriesByType('resource').length;"
    "d.back = getComputedStyle(document.body).backgroundColor; })</script></body>"
)
# None of the library's that send the data away.
_BUTTONS = {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


@dataclass(frozen=True)
class Drawn:
    """The page as it is after its script has run."""

    dom: str

    def traces(self, chart: str) -> int:
        """How many the chart shows."""
        drawing = self.dom.split(f'id="chart-{chart}"')[1].split("</section>")[0]
        return len(re.findall(r'<g class="trace (?:scatter|bars)', drawing))


def browse(
    url: str, folder: Path, *flags: str, names: str = "MAP * ~NOTFOUND"
) -> subprocess.CompletedProcess[str]:
    """Have a real browser load the page, with these rules for names of hosts; stdout has the page at its end."""
    browser = find(*_CHROMIUM)
    words = (f"--host-resolver-rules={names}", f"--user-data-dir={folder}/profile", "--dump-dom", url)
    return run(browser, *_FLAGS, *flags, *words)


def draw(text: str, folder: Path, *, dark: bool) -> Drawn:
    """Have a real browser draw the page; fails where it complains, asks anybody, or leaves a chart out."""
    path = folder / "drawn.html"
    path.write_text(text.replace("</body>", _PROBE), encoding="utf-8")
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = browse(f"file://{path}", folder, *scheme)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    dom = own(done.stdout)
    charts = charts_in(own(text))
    assert f'data-drawn="{len(charts)}"' in dom
    assert 'data-asked="0"' in dom
    assert f'data-back="rgb({"20, 23, 28" if dark else "255, 255, 255"})"' in dom
    assert set(re.findall(r'data-title="([^"]*)"', dom)) == (_BUTTONS if charts else set())
    drawn = Drawn(dom)
    for name, chart in charts.items():
        assert drawn.traces(name) == len(chart["data"]), name
    return drawn


_FRAME = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
"""
# Runs once all charts are drawn, and hands what `probe` returns to the page around the frame.
_WHEN_DRAWN = """<script>(function wait() {{
  if (!document.documentElement.dataset.drawn) {{ setTimeout(wait, 50); return; }}
  Promise.resolve((() => {{ {probe} }})()).then((found) => {{
    parent.document.documentElement.dataset.found = encodeURIComponent(JSON.stringify(found));
  }});
}})()</script></body>"""


def probed(text: str, folder: Path, width: int, probe: str) -> Any:
    """What this script returns in the drawn page, in a window of this width. A browser's own window is at least 500."""
    page = text.replace("</body>", _WHEN_DRAWN.format(probe=probe))
    path = folder / "framed.html"
    path.write_text(_FRAME.format(width=width, page=html.escape(page, quote=True)), encoding="utf-8")
    done = browse(f"file://{path}", folder, "--window-size=1500,1000")
    (found,) = re.findall(r'data-found="([^"]*)"', done.stdout.partition("<body")[0])
    return json.loads(unquote(found))

"""A progress bar as text for the live view, drawn by rich."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.text import Text

# Only its styles matter: what it renders is never printed.
_console = Console(file=StringIO(), force_terminal=True, color_system="standard", legacy_windows=False)


def bar(done: float, width: int) -> Text:
    """Returns a bar of this many cells and its percentage; `done` is a share from 0 to 1."""
    share = min(max(done, 0.0), 1.0)
    drawn = ProgressBar(1.0, share, width, style="dim", complete_style="cyan", finished_style="cyan")
    segments = _console.render(drawn, _console.options.update(width=width))
    text = Text.assemble(
        *((segment.text, segment.style or "") for segment in segments if not segment.control)
    )
    return text.append(f" {int(100 * share):3} %")

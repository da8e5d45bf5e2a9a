"""Records the live view of a run, as an animated picture for the README and, if asked for, as an asciicast.

    .venv/bin/python scripts/live_view.py [--cast FILE] [PICTURE]

Runs a load test of a lab's cache that answers three requests at a time, in a terminal of its own. It needs what
`make test` sets up. The run takes about 100 s. PICTURE is docs/live-view.svg, unless it is given.
"""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import click
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "live-view.svg"
COLUMNS, ROWS = 100, 26
# Seconds of the run between two frames of the picture. A frame is shown for `_SHOWN` seconds, the end for longer.
_EVERY, _SHOWN, _END_SHOWN = 8.0, 1.5, 6.0
# A run that takes longer than this has gone wrong.
_LONGEST = 180.0
_LAB = ("--groups", "6", "--images", "8", "--max-concurrent", "3", "--latency", "15")
_LOAD = ("--workers", "6", "--iteration-seconds", "8", "--tally-seconds", "4", "--progress", "always")
# In a folder of its own, so that the names are short.
_FILES = ("--metrics-file", "metrics.tsv", "--log-file", "run.log", "--summary-file", "summary.json")
# Of the live view's output: moves, line breaks, and text with its colours. A read may end within a sequence.
_MOVE = re.compile(r"\x1b\[\d*[ABKJ]")
_PART = re.compile(_MOVE.pattern + r"|\r|\n|(?:[^\x1b\r\n]|\x1b\[[\d;]*m)+")
_CUT = re.compile(r"\x1b(\[[\d;]*)?\Z")


class Output(NamedTuple):
    """Bytes that the terminal got, at this second of the recording."""

    at: float
    data: bytes


class Screen:
    """The screen of a terminal, as far as the live view uses it: it draws whole lines, from their start on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._lines = [""]
        self._row = 0
        self._left = ""

    def feed(self, text: str) -> None:
        """Takes output. A sequence may be cut in two, its end in the next call."""
        text = self._left + text
        cut = _CUT.search(text)
        self._left = cut[0] if cut else ""
        for part in _PART.findall(text.removesuffix(self._left)):
            if part == "\n":
                self._row += 1
                self._lines += [""] * (self._row + 1 - len(self._lines))
            elif part != "\r" and not _MOVE.fullmatch(part):
                self._lines[self._row] += part
            elif part != "\r":
                self._move(part)

    def _move(self, sequence: str) -> None:
        if sequence[-1] == "A":
            self._row = max(0, self._row - int(sequence[2:-1] or 1))
        elif sequence[-1] == "B":
            self._row += 1
        else:
            self._lines[self._row] = ""
            if sequence[-1] == "J":
                del self._lines[self._row + 1 :]

    def shown(self) -> list[Text]:
        """Returns the lines that are seen, with their colours. Long lines are wrapped as terminals do."""
        lines: list[Text] = []
        for line in self._lines:
            text = Text.from_ansi(line) if line else Text()
            lines += text.divide(range(self.columns, text.cell_len, self.columns))
        # the cursor stands in an empty line at the end
        return lines[-self.rows :]


def record(argv: Sequence[str], folder: str) -> list[Output]:
    """Runs a command in a terminal and in this folder, and returns what it wrote to the terminal.

    Raises `ClickException` if it fails.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
        cwd=folder,
        start_new_session=True,
    )
    os.close(slave)
    try:
        written = list(_read(master, began))
        status = process.wait(_LONGEST)
    finally:
        process.terminate()
        os.close(master)
    if status:
        raise click.ClickException(f"the run failed:\n{b''.join(data for _, data in written).decode()}")
    return written


def _read(terminal: int, began: float) -> Iterator[Output]:
    while time.monotonic() - began < _LONGEST:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # all who had it open have closed it
            return
        yield Output(time.monotonic() - began, data)


def frames(written: Sequence[Output], every: float = _EVERY) -> list[list[Text]]:
    """Returns the screen after each `every` seconds of the view, and at the end, without what came before the view."""
    screen, found = Screen(COLUMNS, ROWS), list[list[Text]]()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    begun = next((place for place, each in enumerate(written) if b"target " in each.data), 0)
    due = written[begun].at + every / 2
    for at, data in written[begun:]:
        # where a drawing begins, the one before it is whole
        if at >= due and data.startswith(b"\r"):
            found.append(screen.shown())
            due += every * max(1, -(-(at - due) // every))
        screen.feed(decode(data))
    return [*found, screen.shown()]


def cast(written: Sequence[Output]) -> str:
    """Returns the recording as an asciicast, version 2."""
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "ocidriver"}
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    events = ([round(at, 3), "o", decode(data)] for at, data in written)
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in (head, *events))


def picture(shown: Sequence[Sequence[Text]]) -> str:
    """Returns the frames as an SVG that shows one after the other, and only the last if motion is not wanted."""
    whole = _SHOWN * (len(shown) - 1) + _END_SHOWN
    styles, drawn = [], []
    for place, lines in enumerate(shown):
        last = place == len(shown) - 1
        begin = _SHOWN * place
        end = 100.0 if last else 100 * (begin + _SHOWN) / whole
        hidden = f"{100 * begin / whole:.2f}%{{visibility:visible}}" if place else ""
        over = "" if last else f"{end:.2f}%{{visibility:hidden}}"
        first = "hidden" if place else "visible"
        styles.append(f"@keyframes k{place}{{0%{{visibility:{first}}}{hidden}{over}}}")
        styles.append(f".k{place}{{animation:k{place} {whole:g}s step-end infinite}}")
        if not last:
            styles.append(f"@media (prefers-reduced-motion:reduce){{.k{place}{{visibility:hidden}}}}")
        drawn.append(_frame(f"f{place}", lines, _FRAME.replace("PLACE", str(place))))
    styles.append("@media (prefers-reduced-motion:reduce){g{animation:none!important}}")
    outer = _frame("f", [], _OUTER)
    return outer.replace("STYLES", "\n".join(styles)).replace("FRAMES", "\n".join(drawn))


_FRAME = """<g class="kPLACE"><style>{styles}</style><defs>{lines}</defs>
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="matrix">{matrix}</g></g></g>"""
_OUTER = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>.matrix{{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:{char_height}px}}
.f-title{{font-family:sans-serif;font-size:18px;font-weight:bold}}
STYLES</style>
{chrome}
FRAMES
</svg>
"""


def _frame(name: str, lines: Sequence[Text], form: str) -> str:
    """Returns one screen as SVG in this form of rich's."""
    console = Console(
        file=StringIO(),
        record=True,
        width=COLUMNS,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    for line in [*lines, *[Text()] * (ROWS - len(lines))]:
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    return console.export_svg(title="ocidriver", code_format=form, unique_id=name)


@click.command(help=__doc__)
@click.option(
    "--cast", "cast_file", type=click.Path(path_type=Path), help="Also write an asciicast to this file."
)
@click.argument("file", type=click.Path(path_type=Path), default=PICTURE)
def main(cast_file: Path | None, file: Path) -> None:
    """Records a run, and writes its picture."""
    with TemporaryDirectory() as folder:
        script = [sys.executable, str(ROOT / "ocidriver.py")]
        written = record([*script, "lab", *_LAB, "--", *_LOAD, *_FILES], folder)
    if cast_file is not None:
        cast_file.write_text(cast(written), encoding="utf-8")
    file.write_text(picture(frames(written)), encoding="utf-8")
    click.echo(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

"""`scripts/live_view.py`: the picture in the README shows the live view of a real run."""

from __future__ import annotations

import json
import os
import pty
import xml.etree.ElementTree as ET

from rich.text import Text

from lib.progress.painter import Painter
from scripts.live_view import COLUMNS, PICTURE, ROWS, Output, Screen, cast, frames, picture
from tests.support.terminal import resize


def painted(*blocks: list[str]) -> list[bytes]:
    """What the live view writes for these blocks, one after the other, and for a line above the last one."""
    master, slave = pty.openpty()
    resize(slave, COLUMNS, ROWS)
    painter, found = Painter(slave), []
    for block in blocks:
        painter.paint(
            ["above"] if block is blocks[-1] else [], [], [Text(line, style="red") for line in block]
        )
        found.append(os.read(master, 100_000))
    os.close(slave)
    os.close(master)
    return found


def test_the_screen_is_that_of_a_terminal_however_its_output_is_cut() -> None:
    blocks = ["target one", "x ━━ █", "whole run"], ["target two", "y"], ["target three"]
    data = b"".join(painted(*blocks))
    for size in (1, 2, 3, 7, 100_000):
        shown = frames([Output(0.0, data[k : k + size]) for k in range(0, len(data), size)])[-1]
        assert [line.plain for line in shown] == ["above", "target three", ""]
        assert [bool(line.spans) for line in shown] == [False, True, False]
    screen = Screen(10, 3)
    screen.feed("0123456789abc\r\n")
    assert [line.plain for line in screen.shown()] == ["0123456789", "abc", ""]


def test_frames_begin_with_the_view_and_end_with_the_end() -> None:
    first, second, third = painted(["target x", "whole run 1"], ["target x", "whole run 2"], ["tested"])
    written = [Output(0.0, b"before\r\n"), Output(1.0, first), Output(3.0, second), Output(5.0, third)]
    found = [[line.plain for line in frame] for frame in frames(written, every=2.0)]
    assert found == [
        ["target x", "whole run 1", ""],
        ["target x", "whole run 2", ""],
        ["above", "tested", ""],
    ]
    head, *events = map(json.loads, cast(written).splitlines())
    assert (head["version"], head["width"], head["height"]) == (2, COLUMNS, ROWS)
    assert [event[:2] for event in events] == [[0.0, "o"], [1.0, "o"], [3.0, "o"], [5.0, "o"]]


def check(svg: str) -> None:
    """It is whole, asks nobody, and is small enough for a page that loads at once."""
    ET.fromstring(svg)
    assert len(svg.encode()) < 200_000
    assert "://" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert "/tmp" not in svg


def test_a_picture_shows_each_frame() -> None:
    svg = picture([[Text("first <b>")], [Text("second", style="red")], [Text("last")]])
    check(svg)
    assert all(word in svg for word in ("first&#160;&lt;b&gt;", "second", "last"))
    assert svg.count("@keyframes") == 3


def test_the_picture_in_the_docs_is_that_of_this_version() -> None:
    svg = PICTURE.read_text(encoding="utf-8")
    check(svg)
    words = svg.replace("&#160;", " ")
    for label in (
        "target",
        "load",
        "rate now",
        "p95 now",
        "limit now",
        "whole run",
        "last interval",
        "tested",
    ):
        assert label in words, label

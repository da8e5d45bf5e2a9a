"""Real terminals for the tests: a bare one, and tmux with a shell in it, whose screen can be looked at."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import struct
import subprocess
import termios
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.programs import find
from tests.support.waiting import SECONDS, wait_until


def resize(terminal: int, width: int, height: int = 24) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


class Tmux:
    """A server of its own with one pane of this size, in which a shell waits with the prompt `$ `."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        find("tmux")
        self._folder = folder
        self._size = (width, height)
        self._ended = 0

    def __enter__(self) -> Tmux:
        width, height = map(str, self._size)
        shell = "exec env -u CI PS1='$ ' bash --norc --noprofile"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, shell)
        self._tmux("set", "-g", "status", "off")
        self._tmux("set", "-g", "history-limit", "20000")
        self._tmux("set", "-g", "window-size", "manual")
        self.resize(*self._size)
        self.wait(lambda: self.screen() == ["$"])
        return self

    def __exit__(self, *_: TracebackType | type[BaseException] | BaseException | None) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        without = {name: value for name, value in os.environ.items() if name != "TMUX"}
        done = subprocess.run(
            ["tmux", "-S", f"{self._folder}/tmux", *words],
            capture_output=True, text=True, timeout=SECONDS, check=True, env=without,
        )  # fmt: skip
        return done.stdout

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self.press("Enter")

    def begin(self, words: Sequence[str]) -> None:
        """Clear all, and run a command. Its status and the terminal's modes before and after are told by `end`."""
        before, after = self._folder / "before", self._folder / "after"
        line = f"stty -a >{before}; {shlex.join(words)}; echo status $?; stty -a >{after}"
        script = self._folder / "script"
        script.write_text(line)
        self._tmux("send-keys", f"clear; . {script}", "Enter")
        self.wait(lambda: self.screen()[:1] != ["$ clear; . " + str(script)])
        self._tmux("clear-history")

    def end(self) -> int:
        """Wait for the command's end; its status. It must have left the terminal as it was."""
        self.wait(lambda: self.screen()[-1] == "$" and self._status() is not None)
        before, after = (self._modes(name) for name in ("before", "after"))
        assert before == after
        assert " icanon iexten echo " in after
        assert self._tmux("display", "-p", "#{cursor_flag} #{alternate_on} #{cursor_x}") == "1 0 2\n"
        status = self._status()
        assert status is not None
        return status

    def _modes(self, name: str) -> str:
        """As stty told them, without the size, which a test may change, and the line breaks that go by it."""
        told = " ".join((self._folder / name).read_text().split())
        return re.sub(r"rows \d+; columns \d+; ", "", told)

    def _status(self) -> int | None:
        found = re.fullmatch(r"status (\d+)", self.screen()[-2]) if len(self.screen()) > 1 else None
        return int(found[1]) if found else None

    def screen(self) -> list[str]:
        """The lines that are seen, without the empty ones at the end."""
        return self._tmux("capture-pane", "-p").rstrip().split("\n")

    def everything(self) -> list[str]:
        """As `screen`, with all that has scrolled away; lines that the terminal wrapped are whole."""
        return [
            line.rstrip() for line in self._tmux("capture-pane", "-p", "-J", "-S", "-").rstrip().split("\n")
        ]

    def forget_scrolled(self) -> list[str]:
        """Has the terminal forget the lines that have scrolled away, and returns them: growing, it would show them."""
        if self._tmux("display", "-p", "#{history_size}") == "0\n":
            return []
        lines = self._tmux("capture-pane", "-p", "-J", "-S", "-", "-E", "-1").rstrip().split("\n")
        self._tmux("clear-history")
        return [line.rstrip() for line in lines]

    def cursor(self) -> int:
        """The line that it is in."""
        return int(self._tmux("display", "-p", "#{cursor_y}"))

    def wait(self, happens: Callable[[], bool]) -> None:
        wait_until(happens, describe=lambda: "\n".join(self.everything()))

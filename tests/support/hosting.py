"""A controller that a test plays: it gives the process of a host its orders, and hears what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lib.cli import _command
from lib.hosts.protocol import (
    Arm,
    Armed,
    Body,
    FirstOrder,
    Lease,
    Leave,
    Message,
    Note,
    Order,
    Ready,
    Started,
    decode_message,
    encode,
)
from lib.hosts.selected import Packer
from lib.images import Image, deal
from lib.listing.selection import Selection
from lib.load.share import Share
from lib.pieces.wire import End, PieceLine
from tests.support.driving import left_running
from tests.support.paths import ROOT
from tests.support.waiting import SECONDS, wait_until

BEAT: Final = 0.2
# Wall-clock time by the controller's clock is so far ahead of this machine's.
AHEAD: Final = 3600.0
T = TypeVar("T", bound=Body)


def options_of(*words: object) -> dict[str, Any]:
    """The options of a load test with these words, as JSON carries them."""
    with _command().make_context("ocidriver", [str(word) for word in words]) as context:
        text = msgspec.json.encode(context.params, enc_hook=str)
    options: dict[str, Any] = json.loads(text)
    return options


def selection_of(images: Sequence[str], workers: int) -> Selection:
    """These images, dealt to so many workers."""
    sets = tuple(deal([Image(*image.rsplit(":", 1)) for image in images], workers))
    return Selection(len(images), sets, lengths=tuple(len(each.images) for each in sets), total=len(images))


def first_order(
    images: Sequence[str], *words: object, workers: int = 2, share: str = "1/1", ca_pem: str | None = None
) -> FirstOrder:
    number, of = map(int, share.split("/"))
    return FirstOrder(
        run="20260101-1",
        host="load 1",
        share=share,
        options=options_of(f"--workers={workers}", *words),
        selection=Packer(selection_of(images, workers)).pack(Share(number, of)),
        ca_pem=ca_pem,
        beat_seconds=BEAT,
    )


class Controller:
    """One that has a host process. Use it as a context manager: at its end, nothing of the process may be left.

    It sends no lease by itself. `bodies` are the messages so far, each once and in order. `shell` starts the process,
    which is `$@`.
    """

    def __init__(self, folder: Path, lease_seconds: float = SECONDS, *, shell: str = 'exec "$@"') -> None:
        self.folder = folder / "working"
        self.temporary = folder / "temporary"
        for each in (self.folder, self.temporary):
            each.mkdir()
        self.messages: dict[int, Message] = {}
        # the number of each message, as often as it was written
        self.numbers: list[int] = []
        argv = [sys.executable, "-m", "lib.host_process", f"--lease-seconds={lease_seconds}"]
        self.process = subprocess.Popen(
            ["sh", "-c", shell, "sh", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary)},
            start_new_session=True,
        )
        self._may_read = threading.Event()
        self._may_read.set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._may_read.wait()
            message = decode_message(line)
            self.numbers.append(message.number)
            self.messages[message.number] = message

    @property
    def bodies(self) -> list[Body]:
        return [message.body for _, message in sorted(self.messages.items())]

    def all(self, kind: type[T]) -> list[T]:
        """All messages of a kind."""
        return [body for body in self.bodies if isinstance(body, kind)]

    @property
    def notes(self) -> str:
        return "\n".join(note.text for note in self.all(Note))

    @property
    def acked(self) -> int:
        """The number up to which all messages are there."""
        return next(number for number in range(len(self.messages) + 1) if number not in self.messages) - 1

    @contextmanager
    def stalling(self) -> Iterator[None]:
        """Takes no message inside the context."""
        self._may_read.clear()
        try:
            yield
        finally:
            self._may_read.set()

    def send(self, *orders: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(encode(order) + b"\n" for order in orders))
        self.process.stdin.flush()

    def hear(self, kind: type[T], count: int = 1) -> T:
        """The message number `count` of a kind, as soon as it is there."""
        wait_until(
            lambda: len(self.all(kind)) >= count or self.process.poll() is not None,
            describe=lambda: self.bodies,
        )
        found = self.all(kind)
        assert len(found) >= count, (self.bodies, self.stderr)
        return found[count - 1]

    @property
    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode() if self.process.poll() is not None else ""

    def arm(self, seconds: float = 0.1) -> float:
        """Arms it for a moment so far ahead, and returns this moment."""
        at = time.monotonic() + seconds
        self.send(Arm(at, time.time() - time.monotonic() + AHEAD))
        return at

    def begin(self, order: FirstOrder) -> Started:
        """Has it begin a load."""
        self.send(order)
        self.hear(Ready)
        self.arm()
        self.hear(Armed)
        return self.hear(Started)

    def pulled(self) -> int:
        """What the pieces say so far."""
        return sum(piece.counts.numbers.get("pulled", 0) for piece in self.all(PieceLine))

    def lease(self, stop: int = 0) -> None:
        """A lease that acknowledges all that is there."""
        self.send(Lease(self.acked, stop))

    def leave(self) -> str:
        """Needs it no more. Returns what it wrote to stderr; checks that nothing is left."""
        self.send(Leave())
        return self.ended()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> str:
        """As if the controller and the agent were gone. Returns what it wrote to stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.ended()

    def ended(self) -> str:
        """Waits for its end, checks that nothing is left, and returns what it wrote to stderr."""
        self.process.wait(SECONDS)
        assert self.process.returncode == 0, self.stderr
        self._reader.join(SECONDS)
        left = [each for each in self.temporary.iterdir() if each.suffix != ".pieces"]
        assert left == []
        assert left_running(self.temporary) == []
        return self.stderr

    def outcomes(self) -> dict[str, int]:
        """How many pulls came to what, as the end of the load says."""
        numbers = self.check_counts().totals.numbers
        return {name: numbers[name] for name in ("pulled", "failed", "interrupted") if name in numbers}

    def check_counts(self) -> End:
        """The pieces add up to the totals of the end, which is the last message."""
        end = self.hear(End)
        assert self.bodies[-1] == end
        pieces = self.all(PieceLine)
        assert [piece.number for piece in pieces] == list(range(end.pieces))
        for name in ("pulled", "failed", "interrupted"):
            assert sum(piece.counts.numbers.get(name, 0) for piece in pieces) == end.totals.numbers.get(
                name, 0
            )
        return end

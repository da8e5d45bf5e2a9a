"""What a host process says in words: each line once, cleaned, and as a warning if the user should see it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from lib.clock import Clock
from lib.host_process import HostProcess
from lib.hosts.notes import HostOutputs, Notes
from lib.hosts.outbox import Outbox
from lib.hosts.protocol import Body, Lease, Note, decode_message
from lib.options.settings import make_settings
from lib.processes.signals import Stop
from tests.support.driving import NOBODY
from tests.support.hosting import first_order, options_of


def test_a_warning_that_is_logged_and_shown_is_one_note() -> None:
    posted: list[Body] = []
    notes = Notes(posted.append)
    notes.log("images: 3")
    notes.log("warning: no login")
    assert notes.divert("ocidriver: warning: no login")
    assert notes.divert("ocidriver: warning: the disk is full")
    notes.caution("stop\x1b[2J it")
    assert posted == [
        Note("images: 3"),
        Note("no login", caution=True),
        Note("the disk is full", caution=True),
        Note("stop [2J it", caution=True),
    ]


def test_a_host_that_sends_no_pieces_shows_that_it_lives() -> None:
    """Its clients finish their last pulls, which may take minutes."""
    now = [0.0]
    outbox = Outbox(lambda: now[0])
    order = first_order(["ok/a:1"], "--pullthrough-url=a:1", "--registry-url=b:1", workers=1)
    process = HostProcess(order, outbox, Stop())
    process._state = SimpleNamespace(driver=SimpleNamespace(running=3))  # type: ignore[assignment]
    heard: list[tuple[float, Body]] = []
    for loading in (False, True):
        process._loading = loading
        for _ in range(5):
            now[0] += 5.0
            process.heed(Lease(len(heard) - 1))
            while (line := outbox.take(0.0)) is not None:
                heard.append((now[0], decode_message(line).body))
    words = [body.text for _, body in heard if isinstance(body, Note)]
    assert words == ["", "waiting for the last pulls of 3 workers", "waiting for the last pulls of 3 workers"]
    assert [at for at, _ in heard] == [15.0, 30.0, 45.0]


def test_what_is_no_warning_is_only_logged(tmp_path: Path) -> None:
    posted: list[Body] = []
    files = (f"--{name}-file={tmp_path / name}" for name in ("metrics", "log"))
    settings = make_settings(options_of(*NOBODY, "--workers=1", "--dry-run", *files))
    outputs = HostOutputs(settings, Clock(), Notes(posted.append))
    outputs.tell("warm-up: 3 of 3 images pulled in 1 s")
    outputs.close()
    assert posted == [Note("warm-up: 3 of 3 images pulled in 1 s")]

"""A pull-through cache that is killed, stopped, slowed and made to fail while clients pull from it, on one port.

It is the lab's cache. Each start has an access log of its own; a manifest stands there before a byte of it is sent.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import final

from tests.support.lab_cache import cache_command
from tests.support.paths import ROOT
from tests.support.ports import free_port

MANIFEST_GIVEN = re.compile(r"^GET /v2/(\S+)/manifests/([^?\s]+)\S* 200 ", re.MULTILINE)
SLOW = ("--latency=300",)
FAILING = ("--fault=manifest-503:50%", "--fault=blob-500:10%")
BREAKING = ("--fault=manifest-hang:5%", "--fault=blob-reset:10%", "--fault=blob-truncate:20%")


@final
class Unsteady:
    """Use as a context manager: the cache runs, well, from the start of the block to its end."""

    def __init__(self, upstream: str, folder: Path, random: Random) -> None:
        self.kills = 0
        self._upstream = upstream
        self._folder = folder
        self._random = random
        self._starts = 0
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Unsteady:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def given(self) -> Counter[str]:
        """How often the logs say that the manifest of each image was given."""
        logs = [path.read_text() for path in self._folder.glob("access-*")]
        return Counter(f"{name}:{tag}" for log in logs for name, tag in MANIFEST_GIVEN.findall(log))

    def shake(self, seconds: float, least: float) -> None:
        """Each trouble once, in a random order, each for so many seconds and so long a calm after it.

        All of it again, until the `least` seconds are over.
        """
        end = time.monotonic() + least
        again = True
        while again:
            troubles = [
                self._down,
                self._held,
                self._being(SLOW),
                self._being(FAILING),
                self._being(BREAKING),
            ]
            self._random.shuffle(troubles)
            for trouble in troubles:
                trouble(seconds)
                time.sleep(seconds)
            again = time.monotonic() < end

    def _down(self, seconds: float) -> None:
        self._kill()
        time.sleep(seconds)
        self._start()

    def _held(self, seconds: float) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def _being(self, options: Sequence[str]) -> Callable[[float], None]:
        def trouble(seconds: float) -> None:
            self._kill()
            self._start(*options)
            time.sleep(seconds)
            self._kill()
            self._start()

        return trouble

    def _start(self, *options: str) -> None:
        self._starts += 1
        words = cache_command(
            f"--listen={self.address}", f"--upstream={self._upstream}", f"--data-dir={self._folder}",
            f"--access-log={self._folder}/access-{self._starts}", f"--seed={self._random.randrange(1000)}", *options,
        )  # fmt: skip
        self._process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        assert told.startswith(b"listening"), told

    def _kill(self) -> None:
        assert self._process is not None
        self.kills += 1
        self._process.kill()
        self._process.communicate()

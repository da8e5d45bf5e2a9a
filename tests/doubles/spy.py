"""A client that keeps what it was started with, and a look at every process's command line meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRIPT = r"""#!/bin/sh
cp /proc/$$/cmdline "@SPY@/$$.argv"
cp /proc/$$/environ "@SPY@/$$.environ"
case "$*" in
    *127.0.0.1:*|*localhost:*) find "${TMPDIR%/*}" -printf '%M %y %P\n' > "@SPY@/$$.files" ;;
esac
exec "@CLIENT@" "$@"
"""


class Spy:
    """`client` is to be given to the driver in place of the real one of that name."""

    def __init__(self, folder: Path, client: str) -> None:
        self.folder = folder / "spy"
        self.folder.mkdir()
        self.client = folder / Path(client).name
        self.client.write_text(_SCRIPT.replace("@SPY@", str(self.folder)).replace("@CLIENT@", client))
        self.client.chmod(0o755)
        self.command_lines: set[bytes] = set()

    def launches(self, *verbs: str) -> int:
        """How often the client was started with one of these words in its command."""
        words = {verb.encode() for verb in verbs}
        return sum(bool(words & set(argv.split(b"\0"))) for argv in self._read("argv"))

    def kept(self) -> bytes:
        """All command lines and environments."""
        return b"\n".join([*self._read("argv"), *self._read("environ"), *self.command_lines])

    def files(self) -> set[tuple[str, str, str]]:
        """(mode as `ls` shows it, type as `find` does, path) of what lay in the run's folder at some launch."""
        lines = b"".join(self._read("files")).decode().splitlines()
        return {(mode, kind, path) for mode, kind, path in (line.split(" ", 2) for line in lines)}

    def _read(self, kind: str) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.glob(f"*.{kind}")]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Read the command lines of all processes again and again until the block ends."""
        ended = threading.Event()

        def look() -> None:
            while not ended.is_set():
                for pid in filter(str.isdigit, os.listdir("/proc")):
                    try:
                        self.command_lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                    except OSError:
                        continue  # it has ended

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

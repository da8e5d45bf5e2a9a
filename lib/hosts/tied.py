"""Runs a module as a program that ends with its stdin: `python -m PACKAGE.hosts.tied MODULE [ARGUMENT…]`.

So it ends with the process that holds the other end of the pipe, however that ends.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

# Time to end in order.
_SECONDS: Final = 5.0


def main(words: Sequence[str]) -> None:
    """Runs the module `words[0]` with these arguments."""
    threading.Thread(target=_end_with_stdin, name="tie", daemon=True).start()
    sys.argv = list(words)
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])

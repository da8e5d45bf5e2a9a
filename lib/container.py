"""The entry point of the container image: carries out a command under a first process (PID 1) that reaps orphans.

`python -m ocidriver_lib.container COMMAND [WORD…]`. The first process of a container must pass signals on and reap
orphans, and `dask worker` does neither. After the end of the command, what it started has REST_SECONDS to end too: a
host whose worker has ended finishes its pulls, and says what it counted.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

# Until PID 1 waits for signals, the kernel would drop those that it does not handle.
if os.getpid() == 1:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

from .processes.first_process import stand_in_as_first_process

REST_SECONDS: Final = 60.0
# As in a shell.
_NOT_STARTED: Final = 126
_NOT_FOUND: Final = 127


def main(words: list[str]) -> int:
    """Carries out the command `words` in place of this process, or as the child of PID 1. Returns its exit status."""
    if not words:
        return _fail("name a command: ocidriver …, or dask worker …", 2)
    if os.getpid() == 1:
        status = stand_in_as_first_process(REST_SECONDS)
        if status is not None:
            return status
    # Python ignores or handles these, and the command would inherit what is ignored
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(words[0], words)  # noqa: S606 - the words are the command line of the container
    except FileNotFoundError:
        return _fail(f"no command {words[0]} in this image; use ocidriver …, or dask worker …", _NOT_FOUND)
    except OSError as error:
        return _fail(f"cannot start {words[0]}: {error.strerror}", _NOT_STARTED)


def _fail(message: str, status: int) -> int:
    print(f"ocidriver: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

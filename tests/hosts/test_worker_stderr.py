"""The last words of a host process reach the stderr of its worker, although the worker has ended."""

from __future__ import annotations

import os
import subprocess
import sys

from lib.hosts.worker_stderr import inherited, take
from tests.support.paths import ROOT
from tests.support.waiting import SECONDS

# The worker ends as soon as the host process runs.
WORKER = """
import os, sys
from lib.hosts.child import Child
lock = os.open(os.devnull, os.O_RDONLY)
Child([sys.executable, "-c", sys.argv[1]], dict(os.environ), lock, lambda line: os._exit(0))
import signal
signal.pause()
"""
HOST = """
import os, sys
from lib.hosts.worker_stderr import take, use
from lib.streams import say
descriptor = take()
print("up", flush=True)
sys.stdin.read()
use(descriptor)
say("host a: the controller is gone")
print(take(), os.get_inheritable(descriptor), file=sys.stderr)
"""


def test_the_last_words_arrive_after_the_end_of_the_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, HOST],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == "ocidriver: host a: the controller is gone\nNone False\n"


def test_the_worker_keeps_no_descriptor() -> None:
    with inherited() as (descriptor, variable):
        assert list(variable.values()) == [str(descriptor)]
        assert os.fstat(descriptor).st_ino == os.fstat(2).st_ino
    assert not os.path.exists(f"/proc/self/fd/{descriptor}")
    assert take() is None

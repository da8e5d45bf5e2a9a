"""Programs that a test needs; where one is not installed, the test is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from lib.lab.servers import Server, ServerMissing

REMEDIES = {
    "crane": "make setup",
    "skopeo": "apt-get install skopeo",
    "docker-registry": "apt-get install docker-registry",
    "ctr": "make setup-dev",
    "containerd": "make setup-dev",
    "openssl": "apt-get install openssl",
    "tmux": "apt-get install tmux",
    "chromium": "apt-get install chromium",
}


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips the test where one of these is missing."""
    missing = [name for name in names if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=" ".join(map(_not_installed, missing)))


def find(name: str, *other_names: str) -> str:
    """Its path; skips the running test where it is missing."""
    path = next(filter(None, map(shutil.which, (name, *other_names))), None)
    if path is None:
        pytest.skip(_not_installed(name))
    return path


@contextmanager
def or_skip(server: AbstractContextManager[Server]) -> Iterator[Server]:
    """The server of the lab; skips the running test where its program is missing."""
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(server)
        except ServerMissing as missing:
            pytest.skip(str(missing))
        yield entered


def _not_installed(name: str) -> str:
    return f"{name} is not installed: {REMEDIES[name]}"

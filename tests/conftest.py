"""What the tests share: the real clients, real registries with images in them, and a look at what is left running.

Each pytest-xdist worker has its own servers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from lib.lab.populate import Population, populate
from lib.lab.servers import Server, ServerMissing, crane_registry, docker_registry, docker_registry_proxy
from tests.support.driving import left_running

UPSTREAM_POPULATION = Population(groups=3, images=4, layers=2, layer_size=1024)
MARK = "OCIDRIVER_TEST_RUN"
GRACE_SECONDS = 5.0
# Under nohup the hang-up is ignored, which the driver respects: what it does at one could not be tested.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass(frozen=True)
class Upstream:
    """A registry with images: `-0001`, `-0002` and `-0003`, four of each. `images` are `repository:tag`."""

    server: Server
    images: tuple[str, ...]

    @property
    def url(self) -> str:
        """With its scheme."""
        return self.server.url

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.address


def pytest_configure() -> None:
    """Has every test find the tools of the virtual environment, however pytest was started, and no pipeline."""
    settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
    settings.load_profile("untimed")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        os.environ.pop(name, None)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


@pytest.fixture(scope="session", autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Fails the run when a process that a test started, or a descendant of one, is there at the end.

    Processes are known by a mark in the environment, which orphans have as well, or by their parent.
    """
    run = str(uuid.uuid4())
    mark = f"{MARK}={run}"
    os.environ[MARK] = run
    before = set(_children())
    yield
    left = _left(mark, before)
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = _left(mark, before)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"processes left running: {left}"


def _left(mark: str, before: set[int]) -> dict[int, str]:
    """Command lines, by process id."""
    marked = {pid for pid in _pids() if mark.encode() in _read(pid, "environ").split(b"\0")}
    return {
        pid: _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
        for pid in (marked | set(_children())) - before - {os.getpid()}
    }


def _children() -> Iterator[int]:
    """Children of this process that run; those that ended and wait to be reaped do not count."""
    for pid in _pids():
        state, parent = (_read(pid, "stat").rpartition(b")")[2].split() or [b"Z", b"0"])[:2]
        if int(parent) == os.getpid() and state != b"Z":
            yield pid


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """A file of a process; nothing when it is gone or another user's."""
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="session")
def crane() -> str:
    """The path of crane."""
    return _client("crane", "make setup")


@pytest.fixture(scope="session")
def skopeo() -> str:
    """The path of skopeo."""
    return _client("skopeo", "apt-get install skopeo")


def _client(name: str, remedy: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: {remedy}")
    return path


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A crane registry with images; for reading only."""
    with ExitStack() as stack:
        server = _entered(stack, crane_registry())
        names = asyncio.run(populate(server.url, UPSTREAM_POPULATION))
        yield Upstream(server, tuple(names))


@pytest.fixture(scope="session")
def proxy(upstream: Upstream) -> Iterator[Server]:
    """A docker-registry as a pull-through cache of `upstream`; its `log_path` holds the access log."""
    with ExitStack() as stack:
        yield _entered(stack, docker_registry_proxy(upstream.url))


@pytest.fixture
def deletable() -> Iterator[Server]:
    """An empty docker-registry that allows deletes, of this test alone."""
    with ExitStack() as stack:
        yield _entered(stack, docker_registry(delete=True))


def _entered(stack: ExitStack, server: AbstractContextManager[Server]) -> Server:
    try:
        return stack.enter_context(server)
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary folder must be empty again at the end, with no process of it left."""
    folder = tmp_path / "temporary"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    yield {"TMPDIR": str(folder)}
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []

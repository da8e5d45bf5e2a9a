"""What the tests share: the real clients, real registries with images in them, and a look at what is left running.

Each pytest-xdist worker has its own servers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from hypothesis import settings

from lib.http.network import Network
from lib.lab.populate import populate
from lib.lab.servers import Server, crane_registry, docker_registry, docker_registry_proxy
from lib.processes.signals import Stop
from tests.support.driving import left_running
from tests.support.processes import children, marked_or_children
from tests.support.programs import find, or_skip
from tests.support.upstream import UPSTREAM_POPULATION, Upstream

MARK = "OCIDRIVER_TEST_RUN"
GRACE_SECONDS = 60.0
# Under nohup the hang-up is ignored, and in the background of a shell Ctrl-C is. The driver respects both, so what it
# does at one could not be tested.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Images of containers often set this. Each driver and each worker would then compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# As the workers keep all cores busy, threads of numpy would spend their time waiting for one another.
os.environ["OPENBLAS_NUM_THREADS"] = "1"


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
    mark = f"{MARK}={run}".encode()
    os.environ[MARK] = run
    before = {*children(os.getpid()), os.getpid()}
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := marked_or_children(mark, before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"processes left running: {left}"


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gives the tests a cache folder of their own: what calibrate found for the user says nothing about a test."""
    os.environ.setdefault("GOCACHE", str(platformdirs.user_cache_path("go-build")))  # Go keeps its own
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def crane() -> str:
    """The path of crane."""
    return find("crane")


@pytest.fixture(scope="session")
def skopeo() -> str:
    """The path of skopeo."""
    return find("skopeo")


@pytest.fixture(scope="session")
def ctr() -> str:
    """The path of ctr; containerd is there, too."""
    find("containerd")
    return find("ctr")


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A crane registry with images; for reading only."""
    with or_skip(crane_registry()) as server:
        names = asyncio.run(populate(server.url, UPSTREAM_POPULATION))
        yield Upstream(server, tuple(names))


@pytest.fixture(scope="session")
def proxy(upstream: Upstream) -> Iterator[Server]:
    """A docker-registry as a pull-through cache of `upstream`; its `log_path` holds the access log."""
    with or_skip(docker_registry_proxy(upstream.url)) as server:
        yield server


@pytest.fixture
def deletable() -> Iterator[Server]:
    """An empty docker-registry that allows deletes, of this test alone."""
    with or_skip(docker_registry(delete=True)) as server:
        yield server


@pytest.fixture
def network() -> Iterator[Network]:
    """The driver's event loop in a thread of its own."""
    with Network(Stop()) as network:
        yield network


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose temporary folder must be empty again at the end, with no process of it left."""
    folder = tmp_path / "temporary"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    yield {"TMPDIR": str(folder)}
    assert list(folder.iterdir()) == []
    assert left_running(folder) == []

"""Machines that are namespaces: each has a network, processes and, if wanted, a monotonic clock of its own.

The hub has the registries, the scheduler and the controller. Needs root and the programs ip and unshare.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lib.lab.servers import find_docker_registry, registry_config
from tests.support.hosts import end
from tests.support.paths import ROOT, SCRIPT
from tests.support.waiting import wait_until

HUB = "10.77.0.1"
SCHEDULER, CACHE, UPSTREAM = f"tcp://{HUB}:8786", f"{HUB}:5000", f"{HUB}:5001"


def why_not() -> str | None:
    """Why this machine cannot make such machines, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "unshare") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = ["unshare", "--net", "--pid", "--fork", "--mount-proc", "--time", "--monotonic", "1", "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"unshare: {done.stderr.strip()}"


class Machines:
    """A hub and `count` machines on one network. Each machine has a folder for its temporary files."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.names = [f"m{number}" for number in range(1, count + 1)]
        self.processes: list[subprocess.Popen[bytes]] = []
        self._spaces = {name: f"ocid-{os.getpid()}-{name}" for name in ["hub", *self.names]}

    def __enter__(self) -> Machines:
        for space in self._spaces.values():
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        hub = self._spaces["hub"]
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{HUB}/24", "dev", "br0")
        _ip("-n", hub, "link", "set", "br0", "up")
        for number, name in enumerate(self.names, start=1):
            space = self._spaces[name]
            _ip("-n", hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("-n", hub, "link", "set", name, "master", "br0", "up")
            _ip("-n", space, "addr", "add", f"{address_of(number)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for process in reversed(self.processes):
            end(process)
        for space in self._spaces.values():
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

    def inside(self, name: str, *words: object) -> list[str]:
        """The command line that carries out `words` on this machine."""
        return ["ip", "netns", "exec", self._spaces[name], *map(str, words)]

    def start(
        self, name: str, *words: object, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program that is ended with the machines. Its output goes to `log(name)`."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                self.inside(name, *words),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), **(environment or {})},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, name: str) -> Path:
        """What programs of this machine have written."""
        return self.folder / f"{name}.log"

    def cut(self, name: str) -> None:
        """Cut the machine off."""
        _ip("-n", self._spaces["hub"], "link", "set", name, "down")

    def heal(self, name: str) -> None:
        """Connect it again."""
        _ip("-n", self._spaces["hub"], "link", "set", name, "up")

    def scheduler(self, environment: Mapping[str, str] | None = None) -> None:
        """Start the scheduler, and wait until it listens."""
        words = ("--host", HUB, "--port", "8786", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        self.start("hub", sys.executable, "-m", "dask", "scheduler", *words, environment=environment)
        wait_until(lambda: self._answers(8786), describe=self.log("hub").read_text)

    def worker(
        self, name: str, *, clock: int = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker whose monotonic clock is so many seconds ahead."""
        ahead = ("--time", "--monotonic", clock) if clock else ()
        apart = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *ahead)
        host = address_of(self.names.index(name) + 1)
        words = ("--host", host, "--worker-port", "8788", "--name", name, "--nthreads", "1", "--no-nanny")
        quiet = ("--memory-limit", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
        dask = (sys.executable, "-m", "dask", "worker", SCHEDULER, *words, *quiet)
        return self.start(name, *apart, *dask, environment=environment)

    def registries(self, images: int) -> None:
        """Start an upstream with so many images, and docker-registry as a cache of it."""
        crane = shutil.which("crane", path=str(Path(sys.executable).parent)) or "crane"
        self.start("hub", crane, "registry", "serve", "--address", UPSTREAM)
        wait_until(lambda: self._answers(5001), describe=self.log("hub").read_text)
        words = ("populate", "--registry-url", UPSTREAM, "--groups", 1, "--images", images, "--layers", 2)
        done = subprocess.run(
            self.inside("hub", sys.executable, SCRIPT, *words, "--layer-size", 2048),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        data = self.folder / "cache"
        data.mkdir()
        config = self.folder / "config.yml"
        proxy = {"remoteurl": f"http://{UPSTREAM}"}
        config.write_text(
            registry_config(data, 0, delete=False, proxy=proxy, http={"addr": CACHE, "secret": "lab"})
        )
        self.start("hub", find_docker_registry(), "serve", config)
        wait_until(lambda: self._answers(5000), describe=self.log("hub").read_text)

    def _answers(self, port: int) -> bool:
        probe = f"import socket; socket.create_connection(('{HUB}', {port}), 2)"
        words = self.inside("hub", sys.executable, "-c", probe)
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def command(self, *options: object) -> list[str]:
        """The command line of a run on all machines."""
        hosts = ("--hosts", SCHEDULER, "--min-hosts", len(self.names), "--hosts-timeout", 100)
        servers = ("--pullthrough-url", CACHE, "--registry-url", UPSTREAM, "--layout", "distribution")
        return self.inside("hub", sys.executable, SCRIPT, *hosts, *servers, *options)


def address_of(number: int) -> str:
    """The address of a machine; they are numbered from 1."""
    return f"10.77.0.{number + 10}"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

"""A containerd of a test's own, and what runs have left in it or elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.clients import containerd as driver
from tests.support.driving import Ended
from tests.support.programs import find
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class Daemon:
    """A running containerd. `folder` holds its socket and its contents."""

    ctr: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> str:
        return str(self.folder / "c.sock")

    def run(self, *words: str, namespace: str = "") -> list[str]:
        """The words of what a command of ctr answers."""
        options = ["--namespace", namespace] if namespace else []
        argv = [self.ctr, "--address", self.socket, *options, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.split()

    def namespaces(self) -> list[str]:
        return self.run("namespaces", "ls", "-q")

    def holds(self) -> Mapping[str, list[str]]:
        """Namespaces, and the files of layers that are complete and of layers that are not."""
        content = self.folder / "root" / "io.containerd.content.v1.content"
        return {
            "namespaces": self.namespaces(),
            "blobs": [path.name for path in content.glob("blobs/*/*")],
            "ingests": [path.name for path in content.glob("ingest/*")],
        }


NOTHING: Mapping[str, list[str]] = {"namespaces": [], "blobs": [], "ingests": []}


@contextmanager
def containerd(policy: str = "isolated") -> Iterator[Daemon]:
    """A containerd whose namespaces hold their contents apart, or with the policy `shared` together."""
    ctr, program = find("ctr"), find("containerd")
    folder = Path(tempfile.mkdtemp(prefix="test-containerd-", dir="/tmp"))
    config = driver._config(folder).replace('"isolated"', f'"{policy}"')
    (folder / "config.toml").write_text(config)
    argv = [program, "--config", str(folder / "config.toml"), "--log-level", "warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        daemon = Daemon(ctr, folder, process)
        wait_until((folder / "c.sock").exists, describe=lambda: (folder / "log").read_text())
        wait_until(lambda: _answers(daemon), describe=lambda: (folder / "log").read_text())
        yield daemon
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(daemon: Daemon) -> bool:
    try:
        daemon.run("version")
    except subprocess.CalledProcessError:
        return False
    return True


def socket_of(log: str) -> str:
    """The socket of the containerd that a run uses, as the command in its log shows it."""
    found = re.search(r"--address (\S+) ", log)
    assert found, log
    return found[1]


def home_of(log: str) -> Path:
    """The folder of the containerd that a run started for itself."""
    return Path(socket_of(log)).parent


def check_nothing_left(ended: Ended) -> None:
    """Of the containerd of a run's own neither the folder nor a process is there."""
    home = home_of(ended.log)
    assert home.name.startswith("ocidriver-")
    assert not home.exists()
    assert processes_of(home) == []


def processes_of(home: Path) -> list[int]:
    """Those whose command line names this folder: containerd, and each ctr that uses it."""
    needle = f"{home}/".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if needle in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found

"""Hosts on this machine that look like other machines: each has its own processes, and perhaps clock and network.

Needs root, and unshare and ip of util-linux and iproute2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from lib.hosts.package import environment

_WORKER: Final = ("--nworkers", "1", "--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--no-dashboard")
_LOCAL: Final = ("--dashboard-address", "127.0.0.1:0")
# The addresses of the link between this machine and a host with a network of its own.
HERE, THERE = "10.213.47.1", "10.213.47.2"
_LINK: Final = "ocidriver0"


@dataclass(frozen=True, slots=True)
class Host:
    """A host: the process that holds its namespaces, and its working directory."""

    name: str
    holder: subprocess.Popen[bytes]
    folder: Path

    def pids(self, word: str) -> list[int]:
        """Returns its processes whose command line has this word, without the shell that holds the namespace."""
        commands = {pid: _command(pid) for pid in _children(self.holder.pid)}
        return [pid for pid, command in commands.items() if word in command and not command.startswith("sh ")]

    def is_loading(self) -> bool:
        """Whether its host process or any client runs."""
        return bool(self.pids("host_process") or self.pids("crane"))


def _children(pid: int) -> list[int]:
    """Returns the processes in the namespace of processes that this one's child has."""
    inside = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                inside[int(entry.name)] = os.readlink(entry / "ns" / "pid")
    own = os.readlink("/proc/self/ns/pid")
    spaces = {space for child, space in inside.items() if space != own and _parent(child) == pid}
    return [child for child, space in inside.items() if space in spaces]


def _parent(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


@contextmanager
def scheduler(address: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Runs a scheduler. Yields its process and its address."""
    with TemporaryDirectory() as folder:
        known = Path(folder) / "scheduler.json"
        words = ["--host", address, "--port", "0", "--no-dashboard", *_LOCAL, "--scheduler-file", str(known)]
        argv = [sys.executable, "-m", "dask", "scheduler", *words]
        with _running(argv, environment()) as process:
            while not known.exists() or not known.read_text().strip():
                time.sleep(0.05)
            yield process, str(json.loads(known.read_text())["address"])


@contextmanager
def _running(argv: Sequence[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def hosts(address: str, count: int, *, ahead: float = 0.0, apart: bool = False) -> Iterator[list[Host]]:
    """Runs so many hosts. The clock of the last one is `ahead` seconds ahead, or its network is `apart`."""
    with ExitStack() as stack:
        found = []
        for number in range(1, count + 1):
            last = number == count
            folder = Path(stack.enter_context(TemporaryDirectory()))
            words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
            if last and ahead:
                words += ["--time", "--monotonic", str(int(ahead))]
            if last and apart:
                words = ["ip", "netns", "exec", _LINK, *words]
            worker = [sys.executable, "-m", "dask", "worker", address, *_WORKER, *_LOCAL]
            worker += ["--name", f"host-{number}", "--local-directory", str(folder)]
            # the shell keeps the namespace when the Dask worker is killed
            script = 'cd "$TMPDIR"; "$@" 2>worker.log & wait; sleep 600'
            env = {**environment(), "TMPDIR": str(folder)}
            process = stack.enter_context(_running([*words, "sh", "-c", script, "sh", *worker], env))
            found.append(Host(f"host-{number}", process, folder))
        yield found


@contextmanager
def network() -> Iterator[None]:
    """Makes the network of a host that is `apart`: a network namespace with a link to this machine."""
    inside = ("ip", "netns", "exec", _LINK)
    peer = f"{_LINK}p"
    _run("ip", "netns", "add", _LINK)
    try:
        _run("ip", "link", "add", _LINK, "type", "veth", "peer", "name", peer, "netns", _LINK)
        _run("ip", "address", "add", f"{HERE}/30", "dev", _LINK)
        _run("ip", "link", "set", _LINK, "up")
        _run(*inside, "ip", "address", "add", f"{THERE}/30", "dev", peer)
        _run(*inside, "ip", "link", "set", peer, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        yield
    finally:
        subprocess.run(("ip", "link", "delete", _LINK), check=False, stderr=subprocess.DEVNULL)
        _run("ip", "netns", "delete", _LINK)


@contextmanager
def cut() -> Iterator[None]:
    """Cuts the network of the host that is apart."""
    _run("ip", "link", "set", _LINK, "down")
    try:
        yield
    finally:
        _run("ip", "link", "set", _LINK, "up")


def _run(*words: str) -> None:
    subprocess.run(words, check=True)

"""Records what ctr says about every failure: `python -m tests.record_ctr` writes `recorded/ctr.json`.

The driver's own code writes the `hosts.toml`, makes the command lines, launches them and runs containerd. So what is
recorded is what a run sees. Which of several layers fails first, and in which order lines come, differs from one
recording to the next, because ctr fetches layers at the same time.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lib.clients.client import Executable, Orders
from lib.clients.containerd import find_containerd
from lib.clients.ctr import Ctr
from lib.clients.namespaces import Namespaces
from lib.http.logins import Login, Logins
from lib.http.tls import Tls
from lib.processes.launch import Launcher
from tests.doubles.faulty import CERTIFICATES, FaultyRegistry
from tests.doubles.good_image import CONFIG_DIGEST
from tests.record_failures import (
    LIMIT_SECONDS,
    PULL_FAULTS,
    RECORDINGS,
    Launch,
    Record,
    normalised,
    program,
    run,
    write_recording,
)
from tests.support.ports import refused_port

UPSTREAM: Final = "up.example:5000"
"""What ctr believes it pulls from; hosts.toml names another server in its stead."""
LOGIN: Final = Login(username="tester", password="secret")
_WITH_LOGIN: Final = (
    "token-401",
    "token-401-json",
    "token-403",
    "token-500",
    "manifest-401",
    "manifest-401-json",
)


@dataclass(frozen=True)
class CtrLaunch:
    """A command line of ctr, what it needs beside it, and the server that it asks."""

    case: str
    argv: list[str]
    environment: Mapping[str, str]
    answer: bytes
    server: str
    interrupt: int = 0


class CtrLab:
    """Sets up a client of the driver's for one server after the other, with one containerd for all."""

    def __init__(self, executable: Executable, folder: Path, socket: str = "") -> None:
        """Without a socket it starts a containerd of its own, until `close`."""
        self._executable = executable
        self._folder = folder
        self._numbers = itertools.count(1)
        self._service = (
            None if socket else find_containerd(executable.path, self._orders("http://127.0.0.1:1"))
        )
        self._namespaces = Namespaces(
            executable.path, socket if self._service is None else self._service.address, os.environ
        )

    def close(self) -> None:
        if self._service is not None:
            self._service.close()

    def client(
        self,
        url: str,
        *,
        host: str = UPSTREAM,
        tls: Tls | None = None,
        login: Login | None = None,
        hosts_toml: str | None = None,
    ) -> Ctr:
        """A client that asks the server at this URL for the images of `host`."""
        orders = self._orders(url, host, tls or Tls(), login)
        client = Ctr.beside(self._executable, orders, self._namespaces, self._service)
        if hosts_toml is not None:
            (orders.folder("hosts") / "_default" / "hosts.toml").write_text(hosts_toml)
        return client

    def worker(self) -> Path:
        """A new worker's folder, and so a namespace of its own."""
        return Path(f"worker-{next(self._numbers)}")

    def _orders(
        self, url: str, host: str = UPSTREAM, tls: Tls | None = None, login: Login | None = None
    ) -> Orders:
        files = self._folder / f"client{next(self._numbers)}"

        def folder(name: str, within: Path = files) -> Path:
            (within / name).mkdir(parents=True, exist_ok=True)
            return within / name

        tls = tls or Tls()
        return Orders(
            platform="linux/amd64",
            host=host,
            server_url=url,
            verify=not tls.insecure,
            folder=folder,
            tls=tls,
            logins=Logins(login),
            lean=True,
            elsewhere=lambda _: folder("containerd", self._folder),
            environment=dict(os.environ),
            caution=lambda _: None,
        )


def ctr_executable() -> Executable | None:
    """The ctr of this machine with its version."""
    path = program("ctr")
    if path is None or program("containerd") is None:
        return None
    told = subprocess.run([path, Ctr.version_option], capture_output=True, text=True, check=True).stdout
    return Executable(path, Ctr.version_in(told.strip()) or "")


def pull(lab: CtrLab, case: str, url: str, name: str, **others: object) -> CtrLaunch:
    """The launch that pulls this image from the server at this URL; `others` are those of `CtrLab.client`."""
    client = lab.client(url, **others)  # type: ignore[arg-type]
    argv = client.pull([f"{UPSTREAM}/{name}"], lab.worker())
    return CtrLaunch(
        case, argv, client.environment, client.answer([f"{UPSTREAM}/{name}"]), url.partition("://")[2]
    )


def fault(lab: CtrLab, registry: FaultyRegistry, name: str, case: str = "", **others: object) -> CtrLaunch:
    """The launch that meets this fault of the double."""
    server, _, image = registry.reference(name, "ctr-pull:v1").partition("/")
    scheme = "https" if name in CERTIFICATES else "http"
    return pull(lab, case or name, f"{scheme}://{server}", image, **others)


def _own_launches(lab: CtrLab, registry: FaultyRegistry, refused: str) -> Iterator[CtrLaunch]:
    """Failures that are not a registry's fault, or not only."""
    here = f"http://{registry.address}"
    good = "good/app:v1"
    yield pull(lab, "good", here, good)
    yield pull(lab, "refused", f"http://{refused}", "x/y:z")
    yield pull(lab, "dns", "http://no-such-host.invalid:5000", "x:y")
    yield pull(lab, "uppercase", here, "UPPER/app:v1")
    yield pull(lab, "port-in-path", here, "up.example:5000/app:v1")
    yield pull(lab, "wrong-digest", here, f"good/app@{CONFIG_DIGEST}")
    yield pull(lab, "http-for-https", f"https://{registry.address}", good)
    for name, path in CERTIFICATES.items():
        yield fault(lab, registry, name)
        trusted = Tls(ca_file=path, authorities=path.read_bytes())
        yield fault(lab, registry, name, f"{name}-trusted", tls=trusted)
        yield fault(lab, registry, name, f"{name}-insecure", tls=Tls(insecure=True))
    absent = Path("/absent/client.pem")
    yield pull(lab, "no-certificate", "https://127.0.0.1:1", good, tls=Tls(client_cert=absent))
    for case, number in (("sigint", signal.SIGINT), ("sigterm", signal.SIGTERM)):
        yield replace(fault(lab, registry, "manifest-silent", case), interrupt=number)
    plain = pull(lab, "unknown-flag", here, good)
    yield replace(plain, argv=[*plain.argv[:-1], "--no-such-flag", plain.argv[-1]])
    yield replace(plain, case="unknown-command", argv=[plain.argv[0], "no-such-command"])
    at = plain.argv.index("--address") + 1
    absent_socket = [*plain.argv[:at], "/absent/c.sock", *plain.argv[at + 1 :]]
    yield replace(plain, case="no-socket", argv=absent_socket)
    # the upstream that ctr asks then does not exist
    yield pull(lab, "broken-config", here, good, hosts_toml="server = ")


def launch(one: CtrLaunch, home: str, limit: float = LIMIT_SECONDS) -> tuple[int, bool, str]:
    """Exit status, whether it was killed at the limit, and what the driver keeps of stderr."""
    if one.interrupt:
        words = Launch("ctr", one.case, "pull", one.argv, one.environment, one.interrupt)
        return run(words, home, limit)
    launcher = Launcher({"PATH": os.environ["PATH"], "HOME": home, **one.environment})
    try:
        outcome = launcher.run(one.argv, limit, answer=one.answer)
    finally:
        launcher.close()
    return outcome.returncode, outcome.timed_out, outcome.stderr


@contextmanager
def lab_of(executable: Executable, folder: Path, socket: str = "") -> Iterator[CtrLab]:
    lab = CtrLab(executable, folder, socket)
    try:
        yield lab
    finally:
        lab.close()


def _shortened(text: str) -> str:
    """Without fields that say nothing of a failure, and without the platform of the client's build."""
    text = re.sub(r' request\.header\.(?:accept|user-agent)=(?:"[^"]*"|\S+)', "", text)
    return re.sub(r'(?<=response\.header\.date=)"[^"]*"', '"Thu, 01 Jan 2026 00:00:00 GMT"', text)


def record(executable: Executable, workers: int, socket: str = "") -> list[Record]:
    """All cases, `workers` at a time."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        FaultyRegistry() as registry,
        refused_port() as refused,
        lab_of(executable, Path(temporary), socket) as lab,
    ):

        def one(ready: CtrLaunch) -> Record:
            returncode, timed_out, stderr = launch(ready, temporary)
            text = _shortened(normalised(stderr, ready.server, temporary))
            return Record("ctr", executable.version, ready.case, "pull", returncode, timed_out, text)

        launches = [
            *(fault(lab, registry, name) for name in PULL_FAULTS),
            *(fault(lab, registry, name, f"{name}-login", login=LOGIN) for name in _WITH_LOGIN),
            *_own_launches(lab, registry, refused),
        ]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, launches))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.record_ctr", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORDINGS, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=12)
    options = parser.parse_args()
    executable = ctr_executable()
    if executable is None:
        print("ctr and containerd are needed: install the package containerd", file=sys.stderr)
        return 1
    write_recording(options.output, "ctr", record(executable, options.workers))
    return 0


if __name__ == "__main__":
    sys.exit(main())

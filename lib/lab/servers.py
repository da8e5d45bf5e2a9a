"""Registries for the lab: each is a server process on a free loopback port, which runs while a `with` block lasts.

The servers choose a free port themselves (port 0) and write it to their log. So no other process can take the port in
between. At the end of the block, the server is stopped and its temporary folder removed. If this process is killed, the
kernel kills the server. The kernel does so when the thread that started the server ends: start servers from a thread
that outlives them. Do not start them inside a running event loop, because sh would tie them to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import sh
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ..processes.scratch import Scratch

PREFIX = "ocidriver-lab-"
READY_SECONDS = 20.0
STOP_SECONDS = 5.0
PROBE = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LISTENING = re.compile(rb"(?:serving on port |listening on 127\.0\.0\.1:)(\d+)")
TROUBLE = re.compile(r"panic:|level=(?:fatal|error)|address already in use|[Ee]rror:|configuration error")

Argv = Callable[[Path], list[str]]


class ServerMissing(Exception):
    """A server's program is not installed. The message says what to install."""


class ServerFailed(Exception):
    """A server ended, or did not answer, before it was ready. The message contains a line of its log."""


@dataclass(frozen=True)
class Server:
    """A running registry. `log_path` receives all its output; for docker-registry, also its access log."""

    url: str
    pid: int
    log_path: Path
    data_dir: Path
    # not in its repr: that of a process waits for its end
    is_alive: Callable[[], bool] = field(repr=False)

    @property
    def address(self) -> str:
        """`host:port`, as in an image reference."""
        return urlsplit(self.url).netloc


@contextmanager
def crane_registry(*, port: int = 0) -> Iterator[Server]:
    """Runs `crane registry serve`: a registry in memory with catalog, tags and deletes."""
    crane = find_program("crane", hint="in a clone, run make setup; else install crane and put it on PATH")
    with _server(lambda _data: [crane, "registry", "serve", "--address", f"127.0.0.1:{port}"]) as server:
        yield server


@contextmanager
def memory_registry(images: int, layers: int, layer_size: int) -> Iterator[Server]:
    """Runs a registry that holds `images` images and needs very little CPU (`python -m lib.lab.memory_registry`).

    `layer_size` is in bytes.
    """
    options = [f"--images={images}", f"--layers={layers}", f"--layer-size={layer_size}"]
    with _server(lambda _data: [sys.executable, "-m", f"{__package__}.memory_registry", *options]) as server:
        yield server


@contextmanager
def lab_cache(upstream: str, *options: str, port: int = 0) -> Iterator[Server]:
    """Runs the lab's own cache of `upstream` (host:port). `options` are those of `python -m lib.lab.cache`."""
    module = f"{__package__}.cache"

    def argv(data: Path) -> list[str]:
        where = ["--listen", f"127.0.0.1:{port}", "--data-dir", str(data)]
        return [sys.executable, "-m", module, *where, "--upstream", upstream, *options]

    with _server(argv) as server:
        yield server


@contextmanager
def docker_registry_proxy(upstream: str, *, port: int = 0) -> Iterator[Server]:
    """Runs docker-registry as a pull-through cache of `upstream`, which must already answer."""
    url = upstream if "://" in upstream else f"http://{upstream}"
    with _docker_registry({"proxy": {"remoteurl": url}}, port) as server:
        yield server


@contextmanager
def docker_registry(
    *,
    delete: bool = True,
    htpasswd: str | None = None,
    port: int = 0,
    more: Mapping[str, object] | None = None,
) -> Iterator[Server]:
    """Runs an empty docker-registry. `htpasswd` is the text of a password file with bcrypt hashes.

    `more` adds or replaces sections of its configuration.
    """
    with Scratch(PREFIX) as scratch:
        settings = dict(more or {})
        if htpasswd is not None:
            path = scratch.path / "htpasswd"
            path.write_text(htpasswd)
            settings["auth"] = {"htpasswd": {"realm": "lab", "path": str(path)}}
        with _docker_registry(settings, port, delete=delete) as server:
            yield server


def find_program(*names: str, hint: str) -> str:
    """Returns the path of the first of `names` next to this Python or on PATH.

    Raises `ServerMissing` if there is none. `hint` says how to install it.
    """
    here = str(Path(sys.executable).parent)
    for name in names:
        path = shutil.which(name, path=here) or shutil.which(name)
        if path:
            return path
    raise ServerMissing(f"{names[0]} is not installed: {hint}")


def find_docker_registry() -> str:
    """Returns the path of docker-registry (Debian's name) or registry (its own name). Raises `ServerMissing`."""
    return find_program("docker-registry", "registry", hint="apt-get install docker-registry")


@contextmanager
def _docker_registry(settings: dict[str, object], port: int, *, delete: bool = False) -> Iterator[Server]:
    program = find_docker_registry()

    def argv(data: Path) -> list[str]:
        config = data.parent / "config.yml"
        config.write_text(registry_config(data, port, delete=delete, **settings))
        return [program, "serve", str(config)]

    with _server(argv) as server:
        yield server


def registry_config(data: Path, port: int, *, delete: bool, **settings: object) -> str:
    """Returns docker-registry's configuration for versions 2 and 3, as JSON. docker-registry reads it as YAML."""
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": False}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "lab"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": delete}},
    }
    return json.dumps(config | settings, indent=1)


@contextmanager
def _server(argv: Argv) -> Iterator[Server]:
    """Runs `argv(data folder)` until the block ends. The block begins when `/v2/` answers. Raises `ServerFailed`."""
    with Scratch(PREFIX) as scratch:
        data, log_path = scratch.folder("data"), scratch.path / "server.log"
        with log_path.open("wb") as log:
            process = _launch(argv(data), log)
        try:
            url = _wait_ready(process, log_path)
            yield Server(
                url=url, pid=process.pid, log_path=log_path, data_dir=data, is_alive=process.is_alive
            )
        finally:
            _stop(process)


def _launch(argv: list[str], log: BinaryIO) -> sh.RunningCommand:
    """Starts a server in its own session, so that Ctrl-C at the terminal reaches only this process."""
    return sh.Command(argv[0])(
        *argv[1:],
        _bg=True,
        _bg_exc=False,
        _out=log,
        _err=log,
        _tty_out=False,
        _new_session=True,
        _preexec_fn=die_with_parent(signal.SIGKILL),
        _env={**os.environ, "OTEL_TRACES_EXPORTER": "none", "PYTHONPATH": _python_path()},
    )


def _python_path() -> str:
    """Returns a PYTHONPATH with this package, so that servers that are its modules start in any current folder."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Returns a `preexec_fn`: on Linux, the kernel sends the child this signal when the thread that started it ends.

    Elsewhere, it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl
    set_parent_death_signal = 1

    def in_child() -> None:
        prctl(set_parent_death_signal, number)
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def _wait_ready(process: sh.RunningCommand, log_path: Path) -> str:
    """Waits until the server answers and returns its URL. Raises `ServerFailed` if it ends first or takes too long."""
    retrying = Retrying(
        stop=stop_after_delay(READY_SECONDS), wait=wait_fixed(0.02), retry=retry_if_exception_type(OSError)
    )
    try:
        return retrying(_ready_url, process, log_path)
    except RetryError:
        raise ServerFailed(_failure("not ready in time", log_path)) from None


def _ready_url(process: sh.RunningCommand, log_path: Path) -> str:
    """Returns the server's URL. Raises `OSError` if it is not ready yet, `ServerFailed` if it has ended."""
    if not process.is_alive():
        raise ServerFailed(_failure("ended at once", log_path))
    found = LISTENING.search(log_path.read_bytes())
    if not found:
        raise OSError("no port yet")
    url = f"http://127.0.0.1:{int(found[1])}"
    try:
        PROBE.open(f"{url}/v2/", timeout=2).close()
    except urllib.error.HTTPError as error:  # 401 is an answer as well
        error.close()
    return url


def _failure(what: str, log_path: Path) -> str:
    """Returns a message with one line of the log: the first that reports an error, else the last."""
    lines = log_path.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
    telling = [line for line in lines if TROUBLE.search(line)]
    line = (telling or lines[-1:])[0]
    advice = "; give another port" if "address already in use" in line else ""
    return f"server {what}: {line}{advice}"


def check_alive(**servers: Server) -> None:
    """Raises `ServerFailed` if one of the servers has ended. Their names are for the message."""
    for name, server in servers.items():
        if not server.is_alive():
            raise ServerFailed(_failure(f"({name}) has ended; start the lab again", server.log_path))


def _stop(process: sh.RunningCommand) -> None:
    """Stops a server and waits for its end. Kills it if SIGTERM does not end it in `STOP_SECONDS`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not process.is_alive():
            break
        try:
            process.process.signal(number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=STOP_SECONDS)
        except sh.TimeoutException:
            continue
        except sh.ErrorReturnCode:
            break

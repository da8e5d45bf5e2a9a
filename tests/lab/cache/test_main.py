"""The lab's cache as a command: its options, its port and its end."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from lib.lab.cache.__main__ import split_listen
from lib.lab.cache.server import LabCache
from tests.support.asking import get
from tests.support.lab_cache import cache_command, image_of, started
from tests.support.paths import ROOT
from tests.support.ports import taken_port
from tests.support.running import run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_mid_answer_and_nothing_is_left(
    upstream: str, tmp_path: Path, number: signal.Signals
) -> None:
    image = image_of(upstream, "ended")
    with started(upstream, tmp_path, "--fault", "blob-hang") as (address, process):
        get(address, f"/v2/{image.repository}/manifests/v1")
        assert len(list(tmp_path.glob("lab-cache-*/blobs/*"))) == 2
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET /v2/x/blobs/{image.blobs[0]} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            time.sleep(0.1)
            sent = time.monotonic()
            process.send_signal(number)
            assert process.wait(100) == 0
            assert time.monotonic() - sent < 100


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:0", "example.org:80", "[::]:0"])
def test_it_listens_on_loopback_only(listen: str) -> None:
    done = run(*cache_command("--listen", listen, "--upstream", "127.0.0.1:1"), cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a loopback address" in done.stderr
    host = listen.rpartition(":")[0].strip("[]")
    with pytest.raises(ValueError, match="not a loopback address"):
        asyncio.run(LabCache("127.0.0.1:1", data_dir="/nonexistent").start(host))


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("localhost:80", ("localhost", 80)), ("[::1]:5000", ("::1", 5000))],
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    assert split_listen(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_where_not_to_listen(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        split_listen(text)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with taken_port() as port:
        options = ("--listen", f"127.0.0.1:{port}", "--upstream", "127.0.0.1:1", "--data-dir", str(tmp_path))
        done = run(*cache_command(*options), cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"lab cache: .*address already in use.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [["--fault", "drop"], ["--latency", "-1"], ["--bandwidth", "0"], ["--max-concurrent", "0"], []]
)
def test_wrong_options_are_exit_2(options: list[str]) -> None:
    upstream = ["--upstream", "127.0.0.1:1"] if options else []
    done = run(*cache_command(*upstream, *options), cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr


def test_the_help_names_every_fault() -> None:
    done = run(*cache_command("--help"), cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("truncate", "10%", "--max-concurrent"):
        assert word in done.stdout

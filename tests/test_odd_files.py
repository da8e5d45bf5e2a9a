"""Odd files as input: endless, large, of another kind, or not to be opened. Each is one line, in bounded memory."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lib import cli
from tests.support.driving import command
from tests.support.made import Made
from tests.support.processes import read_file
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS, wait_until

URLS = ["--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--passes=1"]
DRY = [*URLS, "--dry-run"]
# Where a file is named: the words before and after its name, and how the error begins, `{}` being the file.
PLACES = {
    "--image-list": ([*DRY, "--image-list={}"], "--image-list: "),
    "--ca-file": ([*DRY, "--ca-file={}"], "--ca-file: "),
    "--client-cert": ([*DRY, "--client-cert={}"], "--client-cert: "),
    "--client-key": ([*DRY, "--client-cert={good}", "--client-key={}"], "--client-"),
    "populate --ca-file": (["populate", "--registry-url=127.0.0.1:1", "--ca-file={}"], "--ca-file: "),
    "report": (["report", "{}", "-o", "{out}"], ""),
    "report, events": (["report", "{summary}", "{}", "-o", "{out}"], ""),
    "compare": (["compare", "{summary}", "{}"], ""),
    "compare --events": (["compare", "{summary}", "{summary}", "--events={events}", "--events={}"], ""),
}  # fmt: skip
MEMORY = 2 << 30


def large(path: Path) -> Path:
    """A file that takes no space."""
    with path.open("wb") as file:
        file.truncate(1 << 40)
    return path


def unreadable(path: Path) -> Path:
    path.write_text("app:v1\n")
    path.chmod(0)
    return path


def linked(path: Path) -> Path:
    path.symlink_to(path)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def binary(path: Path) -> Path:
    path.write_bytes(b"\x7fELF\xff\xfe\x00" * 1000)
    return path


ODD: dict[str, Callable[[Path], Path]] = {
    "/dev/zero": lambda _: Path("/dev/zero"),
    "/dev/urandom": lambda _: Path("/dev/urandom"),
    "a large file": large,
    "a folder": folder,
    "a loop of links": linked,
    "no file": lambda path: path,
    "a file below a file": lambda path: Path("/dev/null/below"),
    "a name that is too long": lambda path: path.with_name("x" * 300),
    "a path that is too long": lambda path: Path("/" + "/".join(["x" * 200] * 30)),
    "binary": binary,
    "nested JSON": lambda path: (path.write_text("[" * 100_000) and path) or path,
}


# What could take memory without an end, or the interpreter's own stack.
_UNBOUNDED = ("/dev/zero", "/dev/urandom", "a large file", "nested JSON")


@pytest.fixture
def names(tmp_path: Path) -> dict[str, str]:
    made = Made(1)
    (tmp_path / "good").write_text("app:v1\n")
    return {
        "good": str(tmp_path / "good"), "out": str(tmp_path / "out"),
        "summary": str(made.write(tmp_path, "a")), "events": str(made.write_events(tmp_path, "a")),
    }  # fmt: skip


def filled_in(words: list[str], path: object, names: dict[str, str]) -> list[str]:
    return [word.replace("{}", str(path)).format(**names) for word in words]


def ran(
    words: list[str], path: object, names: dict[str, str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Within `MEMORY` bytes of address space."""
    argv = command(*filled_in(words, path, names))
    return subprocess.run(
        ["prlimit", f"--as={MEMORY}", *argv], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        timeout=2 * SECONDS, env={**os.environ, **environment},
    )  # fmt: skip


def told(
    words: list[str], path: object, names: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """As `ran`, in this process: (exit status, stdout, stderr)."""
    status = cli.main(filled_in(words, path, names))
    return (status, *capfd.readouterr())


@pytest.mark.parametrize(("place", "odd"), list(itertools.product(PLACES, ODD)))
def test_an_odd_file_is_one_line(
    place: str, odd: str, tmp_path: Path, names: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    path = ODD[odd](tmp_path / "odd")
    words, begins = PLACES[place]
    if odd in _UNBOUNDED:
        done = ran(words, path, names)
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = told(words, path, names, capfd)
    assert status == 2, err
    assert out == ""
    assert err.startswith(f"ocidriver: {begins}")
    assert err.count("\n") == 1
    assert str(path)[:100] in err
    assert "fault in ocidriver" not in err
    assert not Path(names["out"]).exists()


LOGINS = {
    "DOCKER_CONFIG": "config.json", "REGISTRY_AUTH_FILE": "auth.json", "XDG_RUNTIME_DIR": "containers/auth.json",
}  # fmt: skip


@pytest.mark.parametrize("variable", LOGINS)
@pytest.mark.parametrize("odd", ["a large file", "binary", "nested JSON"])
def test_an_odd_login_is_one_line(
    variable: str, odd: str, upstream: Upstream, tmp_path: Path, names: dict[str, str]
) -> None:
    path = tmp_path / LOGINS[variable]
    path.parent.mkdir(exist_ok=True)
    ODD[odd](path)
    value = path if variable == "REGISTRY_AUTH_FILE" else tmp_path
    answering = [f"--pullthrough-url={upstream.address}", *URLS[1:]]
    done = ran(
        [*answering, "--image-list={good}", f"--log-file={tmp_path}/log"], "", names, **{variable: str(value)}
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"ocidriver: {path} " in done.stderr


@pytest.mark.parametrize("variable", ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE"])
@pytest.mark.parametrize("odd", ["/dev/zero", "a folder", "a loop of links", "no file"])
def test_what_is_no_regular_file_holds_no_logins(
    variable: str, odd: str, tmp_path: Path, names: dict[str, str]
) -> None:
    """As with the clients, which pass over it, too."""
    path = tmp_path / "config.json"
    made = ODD[odd](path)
    if made != path:
        path.symlink_to(made)
    value = path if variable == "REGISTRY_AUTH_FILE" else tmp_path
    done = ran(
        [*DRY, "--image-list={good}", f"--log-file={tmp_path}/log"], "", names, **{variable: str(value)}
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("odd", ["/dev/zero", "a large file", "a folder"])
def test_odd_authorities_of_the_environment_are_one_line(
    odd: str, tmp_path: Path, names: dict[str, str]
) -> None:
    path = ODD[odd](tmp_path / "odd")
    done = ran([*DRY, "--image-list={good}"], "", names, SSL_CERT_FILE=str(path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("ocidriver: SSL_CERT_FILE: ")
    assert str(path) in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_may_not_be_read_is_one_line(place: str, tmp_path: Path, names: dict[str, str]) -> None:
    words, begins = PLACES[place]
    done = ran(words, unreadable(tmp_path / "odd"), names)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"ocidriver: {begins}cannot read {tmp_path}/odd: Permission denied")


def test_an_image_list_without_an_end_on_stdin(tmp_path: Path) -> None:
    with open("/dev/zero", "rb") as endless:
        done = subprocess.run(
            ["prlimit", f"--as={MEMORY}", *command(*DRY, "--image-list=-")],
            stdin=endless, capture_output=True, text=True, check=False, timeout=2 * SECONDS,
        )  # fmt: skip
    told = "--image-list: cannot read -: line 1 is longer than 67,108,864 characters; give a list of images"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ocidriver: {told}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", [place for place in PLACES if "client" not in place])
def test_a_signal_ends_the_wait_for_a_writer(
    place: str, number: signal.Signals, tmp_path: Path, names: dict[str, str]
) -> None:
    """A named pipe without a writer."""
    os.mkfifo(tmp_path / "pipe")
    words = [word.replace("{}", f"{tmp_path}/pipe").format(**names) for word in PLACES[place][0]]
    running = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: b"partner" in read_file(running.pid, "wchan"))  # where Linux waits for the other end
    running.send_signal(number)
    out, err = running.communicate(timeout=SECONDS)
    assert running.returncode in (-number, 128 + number)
    assert (out, err) == ("", "")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ([*DRY, "--image-list={good}", f"--{name}-file={{}}"], f"--{name}-file: cannot write ")
        for name in ("metrics", "log", "events", "summary", "report")
    ]
    + [
        (["report", "{summary}", "-o", "{}"], "--output: cannot write "),
        (["compare", "{summary}", "{summary}", "--report-file={}"], "--report-file: cannot write "),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "odd", ["a folder", "a loop of links", "a file below a file", "a name that is too long"]
)
def test_an_odd_file_as_output_is_one_line(
    words: list[str],
    option: str,
    odd: str,
    tmp_path: Path,
    names: dict[str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = ODD[odd](tmp_path / "odd")
    if odd == "a folder":
        done = ran(words, path, names)
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = told(words, path, names, capfd)
    assert (status in (1, 2), out) == (True, "")
    assert err.startswith(f"ocidriver: {option}{str(path)[:100]}")
    assert err.count("\n") == 1

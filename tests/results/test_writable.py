"""Whether a file can be written is told without a trace, and as an attempt to write it would tell."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.results.line_file import LineFile
from lib.results.whole_file import write_whole
from lib.results.writable import unwritable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "sub").mkdir()
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "to-new").symlink_to("sub/new")
    (tmp_path / "to-nowhere").symlink_to("missing/new")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


CASES = {
    "file": None,
    "new": None,
    "sub/new": None,
    "missing/folders/new": None,
    "missing/../new": None,
    "to-file": None,
    "to-new": None,
    "/dev/null": None,
    "/dev/full": None,
    "-": None,
    "": "No such file or directory",
    "sub": "Is a directory",
    "file/new": "Not a directory",
    "file/missing/new": "Not a directory",
    "to-file/new": "Not a directory",
    "to-nowhere": "No such file or directory",
    "to-nowhere/new": "Not a directory",
    "loop": "Too many levels of symbolic links",
    "n" * 256: "File name too long",
    "missing/" + "n" * 256: "File name too long",
    "n" * 256 + "/new": "File name too long",
    "/proc/new": "No such file or directory",
    "/proc/no/new": "No such file or directory",
}


def state(folder: Path) -> dict[str, tuple[int, int]]:
    paths = (folder, *folder.rglob("*"))
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths}


def write_lines(path: Path) -> None:
    file = LineFile(path, "log", lambda _: None)
    file.write("line")
    file.close()


def write_page(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "page")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("replaced", "write"), [(False, write_lines), (True, write_page)])
def test_it_tells_what_an_attempt_would(
    replaced: bool, write: Callable[[Path], None], name: str, folder: Path
) -> None:
    path = name if name in ("-", "") or name.startswith("/") else f"{folder}/{name}"
    before = state(folder)
    assert unwritable(path, replaced=replaced) == CASES[name]
    assert state(folder) == before
    if name in ("", "-", "/dev/full"):
        return
    if CASES[name] is None:
        write(Path(path))
    else:
        with pytest.raises((OSError, UsageError, RuntimeError)):
            write(Path(path))


def test_a_filesystem_without_nameless_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def without(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", without)
    names = set(folder.iterdir())
    assert unwritable(folder / "new", replaced=False) is None
    assert set(folder.iterdir()) == names


def test_who_reads_a_named_pipe_does_not_notice(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(folder / "pipe", os.O_WRONLY)
    assert unwritable(folder / "pipe", replaced=False) is None
    assert unwritable(folder / "pipe", replaced=True) is None
    os.close(writer)
    os.close(reader)
    assert unwritable(folder / "pipe", replaced=True) is None  # a reader may still come


def test_a_socket_is_no_file(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        assert unwritable(folder / "socket", replaced=False) == "No such device or address"


def test_a_folder_that_nobody_may_write_to() -> None:
    """As another user where the tests run as root, who may."""
    become = "os.setgid(65534); os.setuid(65534)" if os.geteuid() == 0 else "pass"
    program = (
        "import os, sys; from lib.results.writable import unwritable\n"
        f"{become}\n"
        "print(*(unwritable(path, replaced=replaced) for path in sys.argv[1:] for replaced in (False, True)), sep='; ')"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file").touch(0o444)
        folder.chmod(0o555)
        paths = [str(folder / each) for each in ("file", "new", "missing/new")]
        done = subprocess.run(
            [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True, cwd=ROOT
        )
        folder.chmod(0o755)
    assert done.stdout == "; ".join(["Permission denied"] * 6) + "\n"

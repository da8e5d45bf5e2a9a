"""A file whole or not at all, and streams in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.results.whole_file import check_path, write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["summary.json"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_cannot_be_put_in_place_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "summary").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "summary", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("summary", "old")]


def test_to_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "all")
    assert os.read(reader, 1000) == b"all"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]


def test_to_a_pipe_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.results.whole_file._READER_SECONDS", 0.2)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it has no reader"):
        write_whole(pipe, "all")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="its reader has stalled"):
        write_whole(pipe, "x" * 1_000_000)
    os.close(reader)


def test_its_place_is_checked_before_the_test(tmp_path: Path) -> None:
    check_path(tmp_path / "new" / "summary.json", "--summary-file")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(UsageError, match="--summary-file: cannot write"):
        check_path(tmp_path, "--summary-file")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--summary-file: cannot write"):
        check_path(tmp_path / "file" / "summary.json", "--summary-file")

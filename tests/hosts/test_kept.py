"""Where the record of a host is kept whose controller is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.hosts.kept import keep


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pieces"
    path.write_text("a line\n")
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return path


def test_it_lies_in_the_working_directory(pieces: Path) -> None:
    path = keep(pieces, "3f", "10.1.2.3:99/../a b")
    assert path == pieces.parent / "here" / "ocidriver-3f-10.1.2.3-99-..-a-b.pieces"
    assert path.read_text() == "a line\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_replaces_nothing_and_follows_no_link(pieces: Path) -> None:
    """What has its name is left alone."""
    (pieces.parent / "here" / "ocidriver-r-h.pieces").symlink_to(pieces.parent / "elsewhere")
    assert keep(pieces, "r", "h") == pieces.parent / "temporary" / "ocidriver-r-h.pieces"
    assert keep(pieces, "r", "h") is None
    assert not (pieces.parent / "elsewhere").exists()


def test_a_folder_that_is_gone_is_no_fault(pieces: Path) -> None:
    (pieces.parent / "here").rmdir()
    assert keep(pieces, "r", "h") == pieces.parent / "temporary" / "ocidriver-r-h.pieces"
    assert keep(pieces.parent / "nothing", "r", "i") is None
    assert [each.name for each in (pieces.parent / "temporary").iterdir()] == ["ocidriver-r-h.pieces"]

"""The fast tests on every Python that is found: which ones those are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import interpreters
from tests.support.paths import ROOT

OWN = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without another Python."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def made(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_one_line_says_that_there_is_no_other(bare: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert interpreters.main([]) == 0
    assert capfd.readouterr().out == f"no Python beside {OWN} was found, so the tests run on this one only\n"


def test_a_shim_that_does_not_work_is_passed_over(bare: Path) -> None:
    made(bare / "bin/python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    made(bare / "pyenv/versions/3.12.1/bin/python", "echo 3.12")
    latest = made(bare / "pyenv/versions/3.12.10/bin/python", "echo 3.12")
    made(bare / "bin/python3.13", "echo 3.11")
    assert interpreters.find("3.12") == str(latest)
    assert interpreters.find("3.13") is None


def test_the_fast_tests_exist_and_their_packages_are_pinned() -> None:
    assert [name for name in interpreters.FAST if not (ROOT / name).exists()] == []
    assert {"pytest", "hypothesis"} <= {line.partition("=")[0] for line in interpreters.packages()}

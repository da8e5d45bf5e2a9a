"""A run that cannot go on, or that has a fault of its own: one line, a summary, and the rest in the log."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from lib import fault as lib_fault
from lib import prepare
from lib.cli import main


@pytest.mark.parametrize(
    ("fault", "words", "in_log"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            "the run cannot continue on this machine: Too many open files",
            False,
        ),
        (ZeroDivisionError("a\x1b[31m\nb"), "a fault in ocidriver itself: ZeroDivisionError", True),
        (RecursionError("deep"), "a fault in ocidriver itself: RecursionError", True),
        (MemoryError(), "the run cannot continue on this machine: out of memory", False),
    ],
)
def test_what_nobody_foresaw_is_one_line(
    fault: Exception,
    words: str,
    in_log: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(prepare, "select", fail)
    (tmp_path / "images").write_text("app:v1\n")
    status = main(
        [
            *("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run"),
            f"--image-list={tmp_path}/images",
            f"--log-file={tmp_path}/log",
            f"--summary-file={tmp_path}/summary",
        ]
    )
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert (status, out) == (1, "")
    assert words in line
    assert line.isprintable()
    log = (tmp_path / "log").read_text()
    assert ("Traceback" in log) == in_log
    assert all(each.replace("\t", " ").isprintable() for each in log.splitlines())
    assert words in json.loads((tmp_path / "summary").read_text())["reason"]


@pytest.mark.parametrize(("options", "variable"), [(["--traceback"], ""), ([], "1"), ([], "")])
def test_the_traceback_of_a_fault_is_shown_to_who_asks_for_it(
    options: list[str],
    variable: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("deep\x1b[31m")

    monkeypatch.setattr(prepare, "select", fail)
    monkeypatch.setattr(lib_fault, "_wanted", False)
    monkeypatch.setenv("OCIDRIVER_TRACEBACK", variable)
    (tmp_path / "images").write_text("app:v1\n")
    status = main(
        [
            *("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run"),
            *(f"--image-list={tmp_path}/images", f"--log-file={tmp_path}/log", *options),
        ]
    )
    *before, last = capfd.readouterr().err.splitlines()
    assert status == 1
    assert "a fault in ocidriver itself: ZeroDivisionError" in last
    if options or variable:
        assert before[0] == "Traceback (most recent call last):"
        assert any("in fail" in line for line in before)
    else:
        assert before == []
        assert "OCIDRIVER_TRACEBACK=1 shows where" in last

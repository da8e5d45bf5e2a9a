"""`ocidriver merge`: the pieces files of a load make the summary that one machine would have written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.fake_crane import image_list, install
from tests.support.driving import NOBODY, Ended, command, drive, finish, start, wait_for_outcomes

IMAGES = ("ok/a:1", "ok/b:1", "ok/c:1", "refused/d:1", "ok/e:1", "ok/f:1", "retry/g:1", "ok/h:1")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    client = install(tmp_path / "bin")
    return [*NOBODY, f"--image-list={image_list(client, IMAGES)}", f"--client={client}"]


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The pieces files of a load in two shares."""
    folder = tmp_path_factory.mktemp("shares")
    client = install(folder / "bin")
    words = [*NOBODY, f"--image-list={image_list(client, IMAGES)}", f"--client={client}"]
    for number in (1, 2):
        recorded(folder / str(number), *words, "--workers=2", "--passes=1", f"--share={number}/2")
    return folder / "1" / "pieces", folder / "2" / "pieces"


def merged(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("merge", *words), capture_output=True, text=True, check=False, timeout=120)


def recorded(folder: Path, *words: str) -> Ended:
    folder.mkdir(exist_ok=True)
    return drive(folder, *words, f"--pieces-file={folder}/pieces")


def summary_of(folder: Path, *files: Path) -> dict[str, Any]:
    path = folder / "merged.json"
    done = merged(*files, f"--summary-file={path}")
    assert path.is_file(), done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize(
    "load",
    [
        ["--workers=3", "--passes=2"],
        ["--workers=3", "--iteration-seconds=0.3", "--hold=0.5"],
        ["--workers=2", "--passes=2", "--batch=3"],
        ["--workers=2", "--passes=2", "--deal=all", "--shuffle"],
        ["--workers=2", "--passes=2", "--herd"],
        ["--workers=4", "--rate=5:40", "--duration=1.5"],
        ["--workers=4", "--stage=0.4:4", "--stage=0.4:1"],
        ["--patterns=[a-c]:,d:,g:", "--passes=3"],
        ["--workers=3", "--passes=2", "--dry-run"],
        ["--workers=3", "--passes=2", "--threshold=error_rate<1%"],
    ],
    ids=lambda load: " ".join(load[1:]),
)
def test_the_pieces_of_a_run_make_its_summary(tmp_path: Path, words: list[str], load: list[str]) -> None:
    ended = recorded(tmp_path, *words, *load, "--tally-seconds=0.25")
    assert ended.summary["pulled"] > 0
    assert summary_of(tmp_path, tmp_path / "pieces") == ended.summary


def test_shares_add_up_to_the_load(tmp_path: Path, words: list[str]) -> None:
    load = ["--workers=5", "--passes=3"]
    whole = recorded(tmp_path / "whole", *words, *load)
    ended = [recorded(tmp_path / str(number), *words, *load, f"--share={number}/3") for number in (1, 2, 3)]
    found = summary_of(tmp_path, *(tmp_path / str(number) / "pieces" for number in (3, 1, 2)))
    counts = (
        "pulled",
        "failed",
        "interrupted_pulls",
        "retried",
        "images",
        "listed",
        "errors",
        "error_rate",
        "load",
    )
    assert {name: found[name] for name in counts} == {name: whole.summary[name] for name in counts}
    of_workers = [{**each, "latency_ms": None} for each in whole.summary["image_sets"]]
    assert [{**each, "latency_ms": None} for each in found["image_sets"]] == of_workers
    assert found["workers"] == whole.summary["workers"]
    assert [host["share"] for host in found["hosts"]] == ["1/3", "2/3", "3/3"]
    for host, run in zip(found["hosts"], ended, strict=True):
        for name in ("pulled", "failed", "rate", "latency_ms"):
            assert host[name] == run.summary[name]
        assert host["lost"] is None
    assert found["complete"] is True
    pulled = [event for run in ended for event in run.events if event["outcome"] == "ok"]
    assert found["latency_ms"]["count"] == found["pulled"] == len(pulled)
    assert found["latency_ms"]["max"] == pytest.approx(
        max(event["seconds"] for event in pulled) * 1000, abs=0.001
    )


def test_a_stopped_run_has_its_pieces(tmp_path: Path, words: list[str]) -> None:
    running = start(tmp_path, *words, "--workers=2", "--passes=1000", f"--pieces-file={tmp_path}/pieces")
    wait_for_outcomes(tmp_path, "ok", 5)
    running.send_signal(signal.SIGINT)
    ended = finish(running, tmp_path)
    assert ended.status == 130
    done = merged(tmp_path / "pieces", f"--summary-file={tmp_path}/merged.json")
    assert (done.returncode, done.stderr) == (1, "ocidriver: interrupted by SIGINT\n")
    assert json.loads((tmp_path / "merged.json").read_text()) == ended.summary


def test_a_record_that_breaks_off_is_a_lost_host(tmp_path: Path, words: list[str]) -> None:
    load = [*words, "--workers=2", "--passes=2", "--tally-seconds=0.1"]
    for number in (1, 2):
        recorded(tmp_path / str(number), *load, f"--share={number}/2")
    first, second = (tmp_path / str(number) / "pieces" for number in (1, 2))
    lines = second.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        # the next line was begun
        second.write_bytes(b"".join(lines[:kept]) + lines[kept][:50])
        refused = merged(first, second)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert f"{second} breaks off" in refused.stderr
        accepted = merged(first, second, "--lost-hosts=1", f"--summary-file={tmp_path}/merged.json")
        found = json.loads((tmp_path / "merged.json").read_text())
        assert (accepted.returncode, found["complete"]) == (0, False)
        assert found["hosts"][0]["lost"] is None
        assert found["hosts"][1]["lost"]["at"] == found["hosts"][1]["counted_until"]
        assert found["pulled"] == sum(host["pulled"] for host in found["hosts"])
        # no step lacks a host and is the peak
        whole = [step["rate"] for step in found["steps"] if step["hosts"] == 2]
        assert found["peak"] is None or found["peak"]["rate"] in whole
    alone = merged(first, "--lost-hosts=1", f"--summary-file={tmp_path}/merged.json")
    assert (alone.returncode, json.loads((tmp_path / "merged.json").read_text())["complete"]) == (0, False)


def without(number: int) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:number], *lines[number + 1 :]]


def with_header(**changes: object) -> Callable[[list[str]], list[str]]:
    return lambda lines: [json.dumps({**json.loads(lines[0]), **changes}), *lines[1:]]


@pytest.mark.parametrize(
    ("edit", "status", "told"),
    [
        (lambda lines: [], 2, "has no pieces"),
        (lambda lines: ["# an image list"], 2, "is not a pieces file"),
        (without(0), 2, "is not a pieces file"),
        (lambda lines: [lines[0], *lines], 2, "line 2 is not valid: it is in the wrong place"),
        (lambda lines: [*lines, lines[1]], 2, "it is in the wrong place"),
        (lambda lines: [*lines[:2], "{}", *lines[2:]], 2, "line 3 is not valid"),
        (without(1), 1, "it lacks pieces"),
        (with_header(format=2), 2, "has format 2, but this ocidriver reads format 1"),
        (with_header(share="3/2"), 2, "is not valid"),
        (with_header(share="1/2"), 2, "are both share 1/2"),
        (with_header(share="2/3"), 2, "the number of shares is 2 in the first and 3 in the second"),
        (with_header(workers=9), 2, "is not valid"),
        (with_header(steps=[]), 2, "line 1 is not valid"),
        (with_header(load="another"), 2, "the load is"),
        (with_header(version="0.1"), 2, "the version of ocidriver is"),
        (with_header(began=0.0), 0, "the hosts began up to"),
        (with_header(client={"name": "crane", "version": "9.9"}), 0, "the hosts had different clients"),
    ],
    ids=range(17),
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, shares: tuple[Path, Path], edit: Callable[[list[str]], list[str]], status: int, told: str
) -> None:
    first, second = shares[0], tmp_path / "pieces"
    second.write_text("".join(f"{line}\n" for line in edit(shares[1].read_text().splitlines())))
    done = merged(first, second)
    assert done.returncode == status, done.stderr
    assert status == 0 or done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_missing_share_is_named(tmp_path: Path, words: list[str]) -> None:
    recorded(tmp_path, *words, "--workers=3", "--passes=1", "--share=2/3")
    done = merged(tmp_path / "pieces")
    assert done.returncode == 1
    assert "share 1/3 is missing, share 3/3 is missing" in done.stderr
    assert "--lost-hosts 2" in done.stderr


def test_a_run_that_began_no_load_has_no_pieces(tmp_path: Path, words: list[str]) -> None:
    ended = recorded(tmp_path, *words, "--filter=nothing", "--workers=1")
    assert ended.status == 1
    done = merged(tmp_path / "pieces")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no pieces, because its run did not begin a load" in done.stderr


def test_merge_judges_thresholds(tmp_path: Path, words: list[str]) -> None:
    recorded(tmp_path, *words, "--workers=1", "--passes=1", "--threshold=error_rate<1%")
    missed = merged(tmp_path / "pieces")
    assert missed.returncode == 3
    assert "threshold missed: error rate was" in missed.stderr
    assert merged(tmp_path / "pieces", "--threshold=error_rate<90%").returncode == 0


def test_merge_names_what_it_needs() -> None:
    done = merged()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--pieces-file" in done.stderr


def test_pieces_count_once_in_any_order(tmp_path: Path, shares: tuple[Path, Path]) -> None:
    """A record that was sent again may have a piece twice."""
    once = summary_of(tmp_path, *shares)
    header, *pieces, end = shares[1].read_text().splitlines()
    second = tmp_path / "pieces"
    second.write_text("\n".join([header, *reversed(pieces), *pieces[:2], end, ""]))
    assert len(pieces) >= 2
    assert summary_of(tmp_path, shares[0], second) == once


def test_a_long_record_takes_little_memory(tmp_path: Path, shares: tuple[Path, Path]) -> None:
    """Thousands of intervals do not each keep a histogram, which takes a quarter of a megabyte."""
    header, *pieces, _ = shares[1].read_text().splitlines()
    timed = next(json.loads(line) for line in pieces if json.loads(line)["first"])
    second = tmp_path / "pieces"
    lines = [json.dumps({**timed, "number": number, "sample": number}) for number in range(2000)]
    second.write_text("\n".join([header, *lines, ""]))
    words = ["merge", second, "--lost-hosts=2"]
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_A_LIMIT, *command(*words)[1:]],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# With less address space than two thousand histograms take.
_UNDER_A_LIMIT = """\
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_DATA, (300 << 20, 300 << 20))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

"""The command `ocidriver compare`: its formats, its exit statuses, and what it refuses."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from tests.support.driving import command
from tests.support.made import Made


def shown(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)."""
    status = main(["compare", *(str(word) for word in words)])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs, the second a quarter slower."""
    return Made(1).write(tmp_path, "a"), Made(2, ms=500.0).write(tmp_path, "b")


def test_json(capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path]) -> None:
    status, out, err = shown(capfd, *pair, "--format=json")
    assert (status, err) == (0, "")
    (told,) = json.loads(out)["comparisons"]
    assert told["verdict"] == "slower"
    assert {"rate", "mean", "p50", "p99", "first.p95", "repeat.mean", "error_rate"} <= set(told["quantities"])
    for quantity in told["quantities"].values():
        assert list(quantity) == ["a", "b", "change", "low", "high", "verdict"]
        assert quantity["verdict"] in ("faster", "slower", "fewer", "more", "same", "inconclusive")
    again = shown(capfd, *pair, "--format=json")[1]
    assert again == out
    assert shown(capfd, *pair, "--format=json", "--seed=7")[1] != out


def test_text(capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path]) -> None:
    status, out, err = shown(capfd, *pair)
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert rows["rate"].endswith("slower")
    assert rows["error_rate"].endswith("inconclusive")
    assert out.startswith("B is slower than A: it pulls ")
    runs = [line.split(": ")[0] for line in out.splitlines() if re.match(r"[AB]  ", line)]
    assert runs == [f"A  {pair[0]}", f"B  {pair[1]}"]


def test_markdown_of_hostile_names(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a, b = Made(1, filter="x"), Made(2, filter="<img src=x>|`\x1b[31m\n# h")
    b.document["errors"] = {"<b>|": 3}
    status, out, _ = shown(capfd, a.write(tmp_path, "a"), b.write(tmp_path, "b"), "--format=markdown")
    assert status == 0
    assert "\x1b" not in out
    assert "\\<img src=x\\>\\|\\`" in out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert table[1] == "| --- | --: | --: | --: | --: | --- |"
    assert {line.replace("\\|", "").count("|") for line in table} == {7}


def test_more_than_two_are_each_compared_with_the_first(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    third = Made(3).write(tmp_path, "c")
    told = json.loads(shown(capfd, *pair, third, "--format=json")[1])["comparisons"]
    assert [(each["a"], each["b"], each["verdict"]) for each in told] == [
        (str(pair[0]), str(pair[1]), "slower"),
        (str(pair[0]), str(third), "inconclusive"),
    ]


@pytest.mark.parametrize(
    ("expressions", "status"),
    [
        (["rate>-5%"], 3),
        (["p50<+10%"], 3),
        (["rate>-50%", "mean<100%", "error_rate<+5%", "errors.timeout<=+5%"], 0),
        (["rate>-50%", "p95<100%"], 3),
        (["errors.timeout<=0%"], 3),
        (["rate>-50%", "mean<10%"], 3),
        (["repeat.p50<10%"], 3),
    ],
)
def test_thresholds(
    capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path], expressions: list[str], status: int
) -> None:
    found, out, err = shown(capfd, *pair, *(f"--threshold={text}" for text in expressions))
    assert found == status
    assert err.startswith("ocidriver: threshold missed: ") if status else err == ""
    assert out.count("\nthreshold ") == len(expressions)


def test_a_threshold_of_a_percentile_says_that_it_needs_events(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = {name: Made(number) for number, name in enumerate("ab", 1)}
    files = [each.write(tmp_path, name) for name, each in made.items()]
    status, out, err = shown(capfd, *files, "--threshold=p95<+100%")
    assert status == 3
    assert re.search(
        r"^threshold p95<\+100%: inconclusive, which counts as missed \(.*, needs --events\)$", out, re.M
    )
    assert "needs --events" in err
    assert re.search(r"^p95 ms .* needs --events  inconclusive$", out, re.M)
    assert shown(capfd, *files, "--threshold=p95<+100%", "--inconclusive=pass")[0] == 0
    events = [word for name, each in made.items() for word in ("--events", each.write_events(tmp_path, name))]
    assert shown(capfd, *files, *events, "--threshold=p95<+100%")[0] == 0


def broken(document: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed[name] = value
    return changed


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in document.items() if each != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x00", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a summary"),
        (b"{}", "not a summary"),
        (b'{"schema": 2}', "has schema 2, but this ocidriver reads schema 1"),
        (b'{"schema": 1}', "not a valid summary"),
        (json.dumps(broken(Made().document, "samples", [{}])).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "rate", None)).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "latency_ms", {"p50": "x"})).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "settings", [])).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "client", 5)).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "rate", float("nan"))).encode(), "not JSON"),
        (json.dumps(broken(Made().document, "rate", -1.0)).encode(), "not a valid summary"),
        *(
            (json.dumps(without(Made().document, name)).encode(), "not a valid summary")
            for name in ("limited_by", "latency_ms", "client", "error_rate", "images")
        ),
    ],
)
def test_wrong_files(capfd: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, message: str) -> None:
    good, bad = Made(1).write(tmp_path, "a"), tmp_path / "bad.json"
    bad.write_bytes(content)
    for files in ((good, bad), (bad, good)):
        status, out, err = shown(capfd, *files)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
        assert "bad.json" in err


def test_wrong_usage(capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]) -> None:
    events = Made(1).write_events(tmp_path, "a")
    missing = tmp_path / "missing"
    for words, message in (
        ([], "at least two"),
        ([pair[0]], "at least two"),
        ([*pair, "--events", events], "1 --events for 2 summaries"),
        ([*pair, "--events", events, "--events", events], "does not have the"),
        ([*pair, "--events", pair[0], "--events", events], "not an events file"),
        ([*pair, "--events", missing, "--events", events], "cannot read"),
        ([pair[0], missing], "cannot read"),
        ([pair[0], tmp_path], "cannot read"),
        ([*pair, "--threshold=rate"], "--threshold: cannot read"),
        ([*pair, "--format=html"], "--format"),
        ([*pair, "--inconclusive=maybe"], "--inconclusive"),
        ([*pair, "--error-margin=-1"], "--error-margin"),
    ):
        status, out, err = shown(capfd, *words)
        assert (status, out, err.count("\n")) == (2, "", 1), words
        assert message in err


@pytest.mark.parametrize("seconds", ["1", True, -1.0, float("nan"), 10**400])
def test_events_whose_seconds_are_no_number(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path], seconds: object
) -> None:
    events, bad = Made(1).write_events(tmp_path, "a"), tmp_path / "bad.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    lines[0]["seconds"] = seconds
    bad.write_text("\n".join(map(json.dumps, lines)))
    status, out, err = shown(capfd, *pair, "--events", bad, "--events", events)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "not an events file" in err


def test_a_run_that_pulled_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    """What there is of it is told all the same: its failures."""
    empty = Made(1, failing=1.1).write(tmp_path, "empty")
    status, out, err = shown(capfd, pair[0], empty, "--format=json", "--threshold=rate>-5%")
    assert (status, err.count("\n")) == (1, 1)
    assert f"{empty}: this run pulled nothing" in err
    (told,) = json.loads(out)["comparisons"]
    assert f"{empty} pulled nothing" in told["notes"]
    rate = told["quantities"]["rate"]
    assert (rate["change"], rate["low"], rate["verdict"]) == (-1.0, None, "inconclusive")
    assert told["quantities"]["p95"]["b"] is None
    assert told["quantities"]["error_rate"]["verdict"] == "more"
    assert told["thresholds"] == [
        {
            "expression": "rate>-5%", "value": -1.0, "verdict": "missed", "times_as_long": None,
            "passed": False,
        }
    ]  # fmt: skip
    assert shown(capfd, empty, pair[1])[0] == 1


def test_a_run_in_which_no_pull_ended(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    made = Made(1)
    made.document.update(
        pulled=0, failed=0, rate=0.0, errors={}, steps=[], samples=[],
        latency_ms=None, first_latency_ms=None, repeat_latency_ms=None,
    )  # fmt: skip
    status, out, _ = shown(capfd, made.write(tmp_path, "none"), pair[1], "--format=json")
    (told,) = json.loads(out)["comparisons"]
    assert status == 1
    assert {each["change"] for each in told["quantities"].values()} == {None}
    assert "error_rate" in told["quantities"]


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    files = [Made(n, filter="gr\u00fcn" * n).write(tmp_path, str(n)) for n in (1, 2)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = command("compare", *map(str, files))
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a setting differs: --filter (A gr?n, B gr?ngr?n)" in done.stdout


def test_no_step_in_common(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = Made(1), Made(2)
    for step in b.document["steps"]:
        step["workers"] += 10
    files = a.write(tmp_path, "a"), b.write(tmp_path, "b")
    events = ("--events", a.write_events(tmp_path, "a"), "--events", b.write_events(tmp_path, "b"))
    for more in ((), events):
        status, told, _ = shown(capfd, *files, *more)
        assert status == 0
        assert told.startswith("The runs do not show whether B is faster or slower than A: the loads differ")
        assert "the loads have no step in common" in told
        assert "--tally-seconds" not in told


def test_too_few_intervals_give_no_verdict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [Made(n, tally=20.0).write(tmp_path, str(n)) for n in (1, 2)]
    status, told, _ = shown(capfd, *files, "--format=json")
    assert status == 0
    assert "only 4 intervals can be paired, too few" in told
    (found,) = json.loads(told)["comparisons"]
    assert {(each["low"], each["verdict"]) for each in found["quantities"].values()} == {
        (None, "inconclusive")
    }
    events = [Made(n, tally=20.0).write_events(tmp_path, str(n)) for n in (1, 2)]
    words = [word for path in events for word in ("--events", path)]
    (found,) = json.loads(shown(capfd, *files, *words, "--format=json")[1])["comparisons"]
    assert found["quantities"]["rate"]["low"] is not None


def test_interrupted_and_client_limited_runs_are_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    made = Made(1, until=50.0)
    made.document["limited_by"] = "client"
    out = shown(capfd, pair[0], made.write(tmp_path, "b"))[1]
    assert "b.json was interrupted" in out
    assert "b.json was limited by its client" in out
    assert "the loads differ: rate and latencies cover only the 50 seconds" in out

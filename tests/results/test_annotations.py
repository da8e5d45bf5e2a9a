"""What a pipeline is told: commands that nothing from outside can break out of, and tables that show it as it is."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from lib.results.annotations import Examples, annotate, commands, is_wanted, markdown, plain
from lib.results.summary_file import summary_of
from tests.doubles.fake_crane import install
from tests.support.driving import between_nobody, drive
from tests.support.held import held
from tests.support.summaries import DOCUMENT, a_summary

HOSTILE = "100%\r\n::error::x ##[add-mask]y | `a` <img src=x onerror=y> [l](http://evil) **b** &lt; \x1b[31m www.e.de"
THRESHOLDS = [
    {"expression": "rate>1", "value": 5.0, "passed": True},
    {"expression": "error_rate<1%", "value": 0.5, "passed": False},
    {"expression": "p95<1ms", "value": None, "passed": False},
]


@pytest.mark.parametrize(
    ("choice", "environment", "wanted"),
    [
        ("auto", {"GITHUB_ACTIONS": "true"}, True),
        ("auto", {"GITHUB_ACTIONS": "false"}, False),
        ("auto", {}, False),
        ("none", {"GITHUB_ACTIONS": "true"}, False),
        ("github", {}, True),
    ],
)
def test_when(choice: str, environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(choice, environment) is wanted


def test_a_good_run_has_no_annotation() -> None:
    assert commands(a_summary(), {}) == []


def test_missed_thresholds_are_errors() -> None:
    assert commands(a_summary(thresholds=THRESHOLDS), {}) == [
        "::error title=ocidriver%3A threshold missed::error rate was 50 %25, must be under 1 %25",
        "::error title=ocidriver%3A threshold missed::p95 was not measured, must be under 1 ms (p95 needs 20 pulls)",
    ]


def test_the_three_commonest_errors_are_warnings() -> None:
    summary = a_summary(
        errors={"timeout": 7, "refused": 5, "dns": 1}, prune_errors={"unsupported": 6, "forbidden": 1}
    )
    examples: Examples = {("pull", "timeout"): "too slow: 10%", ("prune", "timeout"): "no"}
    assert commands(summary, examples) == [
        "::warning title=ocidriver%3A timeout::7 pulls failed with timeout, for example: too slow: 10%25",
        "::warning title=ocidriver%3A unsupported::6 prunes failed with unsupported",
        "::warning title=ocidriver%3A refused::5 pulls failed with refused",
    ]
    assert commands(a_summary(errors={"dns": 1}), {})[0].endswith("::1 pull failed with dns")


def test_a_run_that_failed_says_why() -> None:
    assert commands(a_summary(reason="nothing was pulled"), {}) == [
        "::error title=ocidriver::nothing was pulled"
    ]


def test_a_command_is_one_line_whatever_a_server_said() -> None:
    for summary in (a_summary(reason=HOSTILE), a_summary(errors={"other": 1})):
        (command,) = commands(summary, {("pull", "other"): HOSTILE})
        assert re.fullmatch(r"::(error|warning) title=[^:,\r\n]*::[^\x00-\x1f\x7f]*", command)
        assert "100%25 ::error::x" in command


def test_the_markdown_has_the_result_as_tables() -> None:
    summary = a_summary(thresholds=THRESHOLDS, errors={"timeout": 2}, pruned=3, prune_failed=1)
    lines = shown(markdown(summary, {("pull", "timeout"): "too slow"}))
    for line in (
        "### ocidriver: 2 of 3 thresholds missed",
        "| tested | cache:8080 with crane 0.20, a ramp, cache state unknown (3 images) |",
        "| peak | 5 pulls/s (4 to 6) at 1 worker |",
        "| latency | p50 2.04 ms, p95 4 ms, p99 5 ms at the peak |",
        "| error_rate<1% | 50 % | **missed** |",
        "| p95<1ms | not measured (p95 needs 20 pulls) | **missed** |",
        "| rate>1 | 5 pulls/s | passed |",
        "| timeout | pulls | 2 | too slow |",
        "| 1 | up | 1.0 | 5 | 1 | 5 | 2.0 | 4.0 | 5.0 |",
    ):
        assert line in lines, line


def shown(text: str) -> list[str]:
    return html.unescape(text).splitlines()


def test_every_table_has_rows_of_one_width() -> None:
    summary = a_summary(thresholds=THRESHOLDS, errors={"timeout": 2}, steps=DOCUMENT["steps"] * 150)
    text = markdown(summary, {("pull", "timeout"): HOSTILE})
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 4
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert set(table[1]) <= set("| -")
    assert tables[-1][-1].startswith("| and 100 more |")
    assert len(text) < 1 << 20  # GitHub takes no more of a step


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "peak 5 pulls/s"),
        ({"reason": "interrupted by SIGINT", "interrupted": True}, "interrupted"),
        ({"reason": "nothing was pulled"}, "failed"),
    ],
)
def test_the_heading(changes: dict[str, Any], verdict: str) -> None:
    assert markdown(a_summary(**changes), {}).splitlines()[0] == f"### ocidriver: {verdict}"


def test_before_the_ramp_there_is_little_to_tell() -> None:
    empty = a_summary(client=None, steps=[], latency_ms=None, error_rate=None, reason="no server")
    assert markdown(empty, {}) == "### ocidriver: failed\n\nno server\n\n"


def test_markdown_from_outside_is_text() -> None:
    escaped = plain(HOSTILE)
    assert not set(escaped) & set("|`<>[]*_~!()@$\\\"'\r\n\x1b./:")
    assert html.unescape(escaped) == " ".join(HOSTILE.replace("\x1b", " ").replace("##[", "# #[").split())
    assert plain("- 1. größe #1") == "&#45; 1&#46; größe &#35;1"


def test_the_jobs_summary_is_appended_to(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "step.md"
    path.write_text("before\n")
    annotate(a_summary(errors={"dns": 1}), {}, {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text() == "before\n" + markdown(a_summary(errors={"dns": 1}), {})
    out, err = capfd.readouterr()
    assert (out, err) == ("", "::warning title=ocidriver%3A dns::1 pull failed with dns\n")


def test_a_summary_that_cannot_be_written_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    annotate(a_summary(), {}, {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "step.md")})
    err = capfd.readouterr().err
    assert err.startswith("ocidriver: warning: cannot append to GITHUB_STEP_SUMMARY (")
    assert err.count("\n") == 1


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_a_run_in_github_actions(tmp_path: Path, choice: str) -> None:
    client, step_summary = install(tmp_path), tmp_path / "step.md"
    ended = drive(
        tmp_path, *between_nobody(client, ["ok/app:1", "refused/app:1"], 0.2), "--workers=1", "--passes=2",
        "--threshold=errors.refused<=0", f"--annotations={choice}",
        environment={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(step_summary)},
    )  # fmt: skip
    assert (ended.status, ended.stdout) == (3, "")
    assert ended.stderr.startswith("ocidriver: threshold missed: the number of refused failures was ")
    told = [line for line in ended.stderr.splitlines() if line.startswith("::")]
    if choice == "none":
        assert (told, step_summary.exists()) == ([], False)
        return
    failed = ended.summary["errors"]["refused"]
    assert failed == 2
    assert told[0].startswith(
        "::error title=ocidriver%3A threshold missed::the number of refused failures was "
    )
    assert told[1].startswith(f"::warning title=ocidriver%3A refused::{failed} pull")
    assert "dial tcp 10.0.0.1:1: connect: connection refused" in told[1]
    lines = shown(step_summary.read_text())
    assert "### ocidriver: 1 of 1 threshold missed" in lines
    assert any(line.startswith(f"| refused | pulls | {failed} | ") for line in lines)


def test_a_load_of_one_step_has_its_intervals() -> None:
    lines = markdown(summary_of(held([30, 60])), {}).splitlines()
    head = next(place for place, line in enumerate(lines) if line.startswith("| end, s |"))
    assert [line.split(" | ")[:4] for line in lines[head + 2 : head + 4]] == [
        ["| 15.0", "30", "0", "2"],
        ["| 30.0", "60", "0", "4"],
    ]
    assert not [line for line in lines if line.startswith("| workers |")]
    long = markdown(summary_of(held([30] * 300)), {})
    assert long.rstrip().splitlines()[-1].startswith("| and 100 more |")

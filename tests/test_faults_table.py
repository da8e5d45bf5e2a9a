"""docs/faults.md names tests that exist, cases that are recorded, and every class."""

from __future__ import annotations

import re

from lib.outcomes import ErrorClass
from tests.record_failures import read_recording
from tests.support.paths import ROOT

TESTS = ROOT / "tests"
ROWS = [line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if line.startswith("| ")]


def test_every_test_that_it_names_exists_and_each_row_names_one() -> None:
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    for row in ROWS:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named <= defined, row
        assert named or row.endswith("| tests |"), row


def test_every_case_that_it_calls_recorded_is() -> None:
    recorded = {record.case for record in read_recording().values()}
    named = [case for row in ROWS for case in re.findall(r"\*recorded\* ([^;|]+)", row)]
    assert named
    for cases in named:
        assert set(re.findall(r"`([\w-]+)`", cases)) <= recorded


def test_every_class_stands_in_it() -> None:
    words = set(re.findall(r"`([\w-]+)`", "\n".join(ROWS)))
    assert {each.value for each in ErrorClass} <= words


def test_the_readme_leads_to_it() -> None:
    assert "(docs/faults.md)" in (ROOT / "README.md").read_text()

"""Every test that SECURITY.md names is there."""

from __future__ import annotations

import re

import pytest

from tests.support.paths import ROOT

NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_promise_has_its_test(path: str, name: str) -> None:
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_promise_names_one() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("\n## What is not promised")[0]
    promises = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    assert len(promises) > 10
    assert not [promise for promise in promises if "`tests/" not in promise]

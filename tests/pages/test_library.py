"""The charting library of the pages: a file that its maker published, unchanged, and named in THIRD_PARTY.md."""

from __future__ import annotations

import hashlib
import re

from lib.pages.document import library
from tests.support.paths import ROOT

VERSION = "4.1.1"
SHA256 = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"


def test_the_library_is_the_one_that_its_maker_published() -> None:
    text = library()
    assert hashlib.sha256(text.encode()).hexdigest() == SHA256
    assert f"plotly.js (basic - minified) v{VERSION}\n" in text
    assert "</script" not in text


def test_its_licence_is_named() -> None:
    (notice,) = re.findall(r"^\* Copyright (.+)$", library(), re.MULTILINE)
    told = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert (
        f"plotly.js) {VERSION}, basic bundle | MIT | {notice.replace('-', '–').replace(', ', ' ', 1)} |"
        in told
    )
    for part in ("polybooljs", "object-assign"):
        assert part in library()
        assert part in told

"""What all pages share: text that stays text, and nothing that asks anybody."""

from __future__ import annotations

import json
import re

import pytest

from lib.pages.assets import SCRIPT, STYLE
from lib.pages.chart import label
from lib.pages.command_line import command_line
from lib.pages.document import in_script
from tests.support.browser import HOSTILE


def test_json_in_a_script_cannot_leave_it() -> None:
    shown = in_script({"a": HOSTILE})
    assert not set(shown) & set("<>&\u2028")
    assert json.loads(shown) == {"a": HOSTILE}
    with pytest.raises(ValueError, match="JSON"):
        in_script(float("nan"))


def test_style_and_script_load_nothing() -> None:
    assert not re.search(r"url\(|@import|https?:", STYLE + SCRIPT)


def test_a_name_in_a_chart_is_no_markup() -> None:
    assert label("<b>'\"&\x1b[1m") == "&lt;b&gt;'\"&amp; [1m"


def test_a_command_line_is_shown_as_typed_with_all_that_is_in_it() -> None:
    words = ["./ocidriver.py", "--patterns=-0001,<b>", "a b", "\u202e"]
    shown = "<pre><span>./ocidriver.py</span> <span>&#x27;--patterns=-0001,&lt;b&gt;&#x27;</span> "
    rest = "<span>&#x27;a b&#x27;</span> <span>&#x27;\\u202e&#x27;</span></pre>"
    assert command_line(words, {}) == (shown + rest, True)


def test_a_summary_without_its_command_line_has_one_that_amounts_to_it() -> None:
    settings = {"patterns": ("-0001", "-0002"), "prune": True, "shuffle": False, "seed": None, "grace": 10.0}
    shown, exact = command_line((), settings)
    assert not exact
    assert shown == (
        "<pre><span>ocidriver</span> <span>--patterns=-0001,-0002</span> <span>--prune</span> "
        "<span>--grace=10.0</span></pre>"
    )

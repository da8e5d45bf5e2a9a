"""Text from outside, made safe to print."""

from __future__ import annotations

import re
from typing import Final

_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/\"']+@")
_SCHEME_SECRET: Final = re.compile(r"\b(Bearer|Basic)\s+(?!token|auth|realm)[\w.~+/=-]+", re.IGNORECASE)
_NAMED_SECRET: Final = re.compile(
    r"((?:token|password|passwd|secret|signature|credential|\bsig)(?:=|\"\s*:\s*\"))[^\s&\"',;]+",
    re.IGNORECASE,
)
# `##[error]`, `##vso[…]`: the runners of pipelines obey them wherever in a line they stand.
_PIPELINE_COMMAND: Final = re.compile(r"##(?=\w*\[)")


def clean(text: str, limit: int = 500) -> str:
    """One line of at most `limit` characters that is safe to print: no control characters, secrets or commands."""
    if not text.isprintable():
        # control characters, halves of surrogate pairs, what reorders text, has no width, or no meaning yet
        text = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(text.split())
    line = _URL_PASSWORD.sub("***@", line)
    line = _SCHEME_SECRET.sub(r"\1 ***", line)
    line = _NAMED_SECRET.sub(r"\1***", line)
    line = _PIPELINE_COMMAND.sub("# #", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(text: str) -> str:
    """A name from outside for a log line: short, on one line, without control characters."""
    return clean(text[:1000], 100)

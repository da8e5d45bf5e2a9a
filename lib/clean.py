"""Makes text from outside the driver safe to print."""

from __future__ import annotations

import re
from typing import Final

_URL_PASSWORD: Final = re.compile(r"(?<=://)[^\s/\"']+@")
_SCHEME_SECRET: Final = re.compile(r"\b(Bearer|Basic)\s+(?!token|auth|realm)[\w.~+/=-]+", re.IGNORECASE)
_NAMED_SECRET: Final = re.compile(
    r"((?:token|password|passwd|secret|signature|credential|\bsig)(?:=|\"\s*:\s*\"))[^\s&\"',;]+",
    re.IGNORECASE,
)
# `##[error]`, `##vso[…]`: CI runners obey these commands anywhere in a line.
_PIPELINE_COMMAND: Final = re.compile(r"##(?=\w*\[)")


def clean(text: str, limit: int = 500) -> str:
    """Returns one line of at most `limit` characters, without control characters, secrets or CI commands."""
    if not text.isprintable():
        # control characters, lone surrogates, unassigned characters, and those that reorder text or have no width
        text = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(text.split())
    line = _URL_PASSWORD.sub("***@", line)
    line = _SCHEME_SECRET.sub(r"\1 ***", line)
    line = _NAMED_SECRET.sub(r"\1***", line)
    line = _PIPELINE_COMMAND.sub("# #", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(text: str) -> str:
    """Returns a name from outside for a log line: one clean line of at most 100 characters."""
    return clean(text[:1000], 100)

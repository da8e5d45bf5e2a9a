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
# Control characters, the marks that reorder text, separators of lines, characters without a width, surrogates.
_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)


def clean(text: str, limit: int = 500) -> str:
    """One line of at most `limit` characters that is safe to print: no control characters, no secrets."""
    line = " ".join(_UNPRINTABLE.sub(" ", text).split())
    line = _URL_PASSWORD.sub("***@", line)
    line = _SCHEME_SECRET.sub(r"\1 ***", line)
    line = _NAMED_SECRET.sub(r"\1***", line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def shown(text: str) -> str:
    """A name from outside for a log line: short, on one line, without control characters."""
    return clean(text[:1000], 100)

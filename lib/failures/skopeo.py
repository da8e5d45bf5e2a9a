"""skopeo's stderr: its own words and what they say."""

from __future__ import annotations

import re
from typing import Final

from ..outcomes import CODES, ErrorClass, http_class
from .own_words import QUOTED, crash_or_last_line, own_class

_C = ErrorClass
_SKOPEO_FATAL: Final = re.compile(
    r'^time="[^"]*" level=fatal msg=(?P<value>"(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE
)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SKOPEO_DELETE: Final = re.compile(r"^Failed to delete \S+: .*\((?P<status>\d{3}) [^()]*\)\s*$", re.DOTALL)
_SKOPEO_ANSWER: Final = re.compile(
    r"(?:^|: )(?:"
    r"(?:StatusCode:|(?:received )?unexpected HTTP status:?|invalid status code from registry) "
    r"(?P<status>\d{3})\b|"
    r"(?:errors:\n)?(?P<code>[a-z][a-z0-9_ ]*)(?=: |:\Z)|"
    r"(?P<limited>too many requests to registry))"
)
_SKOPEO_CODES: Final = {
    code.lower().replace("_", " "): error_class for code, error_class in CODES.items()
} | {
    "unknown": _C.SERVER_ERROR,  # a 408, or a 4xx with a code of its own; for 5xx skopeo gives the status
    "digest invalid": _C.BAD_REFERENCE,
}


def skopeo_words(stderr: str) -> str:
    """The message of skopeo's last fatal record, unquoted; no server can forge one, for skopeo quotes it."""
    found = _SKOPEO_FATAL.findall(stderr)
    if not found:
        return crash_or_last_line(stderr)
    value = str(found[-1])
    return (_unquote(value[1:-1]) if value.startswith('"') else value).strip()


def _unquote(text: str) -> str:
    """Undoes Go's quoting."""

    def character(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if not digits:
            return _ESCAPES.get(match[4], match[4])
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"

    return _ESCAPE.sub(character, text)


def skopeo_class(words: str) -> ErrorClass:
    deleted = _SKOPEO_DELETE.match(words)
    if deleted:
        return http_class(int(deleted["status"]))
    unquoted = QUOTED.sub('""', words)
    return _skopeo_answer(unquoted) or own_class(unquoted)


def _skopeo_answer(words: str) -> ErrorClass | None:
    """What the server answered, or None where it is skopeo itself that complains.

    skopeo names its steps first, with words that are no codes; the first code or status is the answer's.
    """
    for match in _SKOPEO_ANSWER.finditer(words):
        if match["status"]:
            return http_class(int(match["status"]))
        if match["limited"]:
            return _C.RATE_LIMITED
        if match["code"] in _SKOPEO_CODES:
            return _SKOPEO_CODES[match["code"]]
    return None

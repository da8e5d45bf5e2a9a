"""Parses the HTTP headers WWW-Authenticate, Link and Retry-After.

A server may be hostile: no text makes a function here raise an exception or take more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final
from urllib.request import parse_http_list

# Characters of a header that are read; registries send no longer headers.
_HEADER_LENGTH: Final = 16384
_CHALLENGE: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?:[ \t]+(.*))?", re.DOTALL)
_PARAMETER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
_LINK_PARTS: Final = re.compile(r'<[^>]*>|"(?:\\.|[^"\\])*"|[,;=]|[^\s<",;=]+', re.DOTALL)
# A header that is one link in a wrong form: without brackets (Quay in 2016), or without a relation.
_LINK_AMISS: Final = re.compile(
    r"""\s*(?:(?P<bare>(?:https?:/)?/[^\s<>"';]+)\s*;\s*rel\s*=\s*["']?next["']?|<\s*(?P<alone>(?:https?:/)?/[^>\s]*)\s*>)\s*""",
    re.IGNORECASE,
)
_SECONDS: Final = re.compile(r"[0-9]{1,18}")
_DATE_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Challenge:
    """One authentication challenge of a 401. `scheme` is in lower case; a missing parameter is an empty string."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """Returns the challenges in the values of WWW-Authenticate, in order (RFC 7235, section 4.1)."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for item in parse_http_list(header[:_HEADER_LENGTH]):
            _take_item(item.strip(), found)
    return [
        Challenge(scheme, values.get("realm", ""), values.get("service", ""), values.get("scope", ""))
        for scheme, values in found
    ]


def _take_item(item: str, found: list[tuple[str, dict[str, str]]]) -> None:
    """Adds an item to `found`: `scheme name=value` begins a challenge, `name=value` belongs to the last one."""
    parameter = _PARAMETER.fullmatch(item)
    if parameter is None:
        challenge = _CHALLENGE.fullmatch(item)
        if challenge is None:
            return
        found.append((challenge[1].lower(), {}))
        parameter = _PARAMETER.fullmatch(challenge[2] or "")
    if parameter is not None and found:
        found[-1][1].setdefault(parameter[1].lower(), _unquoted(parameter[2].strip()))


def next_link(headers: Iterable[str]) -> str | None:
    """Returns the target of the first link with the relation `next`, unresolved; None if there is none.

    The relation may be one of several, in any case, quoted or not (RFC 8288, section 3). One link whose form is wrong
    counts too, if its target is a URL or begins with a slash: a list must not end early for it.
    """
    kept = [header[:_HEADER_LENGTH] for header in headers]
    for header in kept:
        for target, relation in _links(header):
            if "next" in relation.lower().split():
                return target
    amiss = _LINK_AMISS.fullmatch(kept[0]) if len(kept) == 1 else None
    return (amiss["bare"] or amiss["alone"]) if amiss else None


def _links(header: str) -> Iterator[tuple[str, str]]:
    """Yields (target, value of its first `rel`) for each link of one header."""
    target: str | None = None
    relation = name = None
    parts = _LINK_PARTS.findall(header)
    for index, part in enumerate(parts):
        if part == ",":
            if target is not None:
                yield target, relation or ""
            target = relation = name = None
        elif part.startswith("<") and target is None:
            target = part[1:-1].strip()
        elif part == "=":
            name = parts[index - 1].lower() if index else None
        elif name == "rel" and part != ";":
            relation = _unquoted(part) if relation is None else relation
            name = None
        else:
            name = None
    if target is not None:
        yield target, relation or ""


def retry_after(value: str | None, date: str | None = None) -> float | None:
    """Returns the seconds that a Retry-After asks for, as a number or a date; None if it is missing or not valid.

    A date counts from the answer's own `date` header, so a wrong clock does no harm (RFC 9110, section 10.2.3).
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _moment(value)
    if until is None:
        return None
    since = _moment(date or "") or datetime.now(timezone.utc)
    return max(0.0, (until - since).total_seconds())


def _moment(text: str) -> datetime | None:
    """Parses an HTTP date; None if it is not one.

    An HTTP date begins with the name of a day. dateutil accepts other text too, such as `12`.
    """
    if not text[:1].isalpha() or len(text) > _DATE_LENGTH:
        return None
    # imported here, as the import takes ten milliseconds and few answers have a date to parse
    from dateutil import parser

    try:
        moment = parser.parse(text)
    except (ValueError, OverflowError, TypeError, AttributeError):
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def _unquoted(text: str) -> str:
    """Returns the value of a token or quoted string (RFC 9110, section 5.6.4). Removes single quotes too."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text.strip("'")

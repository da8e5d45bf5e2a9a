"""Writes and reads a summary file. Reading checks the types and ranges that `Summary` defines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from ..clean import clean
from ..errors import UsageError
from ..units import LONGEST_SECONDS
from ..user_files import MIB, read_whole, reason
from .summary import SCHEMA, Summary
from .times import to_milliseconds

_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "datetime": "an ISO 8601 time with a zone",
    "null": "null",
}
# Enough for 300,000 tally intervals.
_LONGEST_FILE: Final = 256 * MIB
# The rates of a host, of which there may be thousands, are on one line. A quote within a text has a backslash.
_RATES: Final = re.compile(r'"rates": \[[^]]*\]')
_WITH_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)


def summary_text(summary: Summary) -> str:
    """Returns the content of the file."""
    shown: dict[str, Any] = msgspec.to_builtins(summary, builtin_types=(datetime,))
    shown["started"] = summary.started.isoformat(timespec="seconds")
    text = json.dumps(shown, indent=2, default=to_milliseconds) + "\n"
    return _RATES.sub(lambda rates: " ".join(rates[0].split()), text) if summary.of_hosts else text


def read_summary(path: Path) -> Summary:
    """Reads a summary. Raises `UsageError`, one line that names the file and the field, if it is not valid."""
    try:
        content = read_whole(path, _LONGEST_FILE)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {reason(error)}; give a file that --summary-file wrote"
        ) from None
    try:
        document = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON; give a file that --summary-file wrote") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise UsageError(f"{path} is not a summary of ocidriver; give a file that --summary-file wrote")
    if document["schema"] != SCHEMA:
        raise UsageError(
            f"{path} has schema {clean(repr(document['schema']), 60)}, but this ocidriver reads schema {SCHEMA}; "
            "read it with the ocidriver that wrote it"
        )
    try:
        return summary_of(document)
    except ValueError as error:
        raise UsageError(
            f"{path} is not a valid summary of ocidriver: {error}; give a file that --summary-file wrote"
        ) from None


def _refuse(word: str) -> Any:
    """Refuses NaN and Infinity, which are not valid JSON but which Python reads."""
    raise ValueError(word)


def summary_of(document: Mapping[str, Any]) -> Summary:
    """Converts parsed JSON to a Summary. Raises `ValueError`, one line that names the field."""
    try:
        summary = msgspec.convert(document, Summary)
    except msgspec.ValidationError as error:
        raise ValueError(in_words(str(error))) from None
    lengths = (*(step.seconds for step in summary.steps), *(sample.seconds for sample in summary.samples))
    if sum(lengths) > LONGEST_SECONDS:
        raise ValueError(
            f"the seconds of steps and samples are out of range: their sum is more than {LONGEST_SECONDS}"
        )
    return summary


def in_words(message: str) -> str:
    """Rewrites msgspec's message about a wrong value for users: `rate is text, not a number`."""
    match = _WITH_PLACE.fullmatch(message)
    assert match is not None
    what, place = match["what"], (match["place"] or "").removeprefix(".")
    for pattern, wording in _WORDINGS:
        found = re.fullmatch(pattern, what, re.DOTALL)
        if found is not None:
            return wording(_named(place), *found.groups())
    return f"{_named(place)}: {what.replace('`', '')}"


def _named(place: str) -> str:
    return place.replace("[...]", ".<name>") or "the summary"


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


_WORDINGS: Final[tuple[tuple[str, Callable[..., str]], ...]] = (
    (
        r"Object missing required field `(.+)`",
        lambda place, field: f"{field if place == 'the summary' else f'{place}.{field}'} is missing",
    ),
    (r"(?:Expected `datetime`|Invalid RFC3339).*", lambda place: f"{place} is not {_KINDS['datetime']}"),
    (
        r"Expected `(.+)`, got `(.+)`",
        lambda place, kinds, got: f"{place} is {_kinds(got)}, not {_kinds(kinds)}",
    ),
    (
        r"Expected `.+` >= (.+)",
        lambda place, least: f"{place} is out of range: the least is {float(least):g}",
    ),
    (
        r"Expected `.+` <= (.+)",
        lambda place, most: f"{place} is out of range: the most is {float(most):.16g}",
    ),
    (r"(?:Number|Integer value) out of range", lambda place: f"{place} is out of range"),
)

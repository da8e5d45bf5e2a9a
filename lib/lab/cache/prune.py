"""Parses the criteria by which a prune or a listing selects images."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import re2

from .store import Comparer

_DURATION = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def patterns(expression: str) -> Comparer:
    """Selects manifests whose name matches one of the comma-separated regexes. An empty regex matches every name.

    Raises `re2.error` if a regex is not valid.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = (
        512 << 20
    )  # a prune can name all images of a pass; the default limit refuses about 100 kB
    parts = expression.split(",")
    for part in parts:
        re2.compile(
            part, options
        )  # check each part alone: joined, two invalid parts could form a valid regex
    joined = re2.compile("|".join(f"(?:{part})" for part in parts), options)
    return lambda manifest: joined.search(manifest.address.url) is not None


def has_blob(part: str) -> Comparer:
    return lambda manifest: any(part in digest for digest in manifest.blobs)


def parse_duration(text: str) -> timedelta:
    """Parses a Go duration, or whole days such as `30d`. Ignores a minus sign. Raises `ValueError` if not valid."""
    text = text.removeprefix("-")
    if days := re.fullmatch(r"(\d+)d", text):
        return timedelta(days=int(days[1]))
    if len(text) < 2 or not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration")
    return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text)))


def criteria(kind: str, duration: str, expression: str) -> Comparer:
    """Returns the selection of `/cmd/prune`: by `pattern`, or by age since `created` or `accessed`.

    Raises `ValueError` if the criteria are not valid.
    """
    kind = kind.lower()
    if kind == "pattern":
        try:
            return patterns(expression)
        except re2.error as error:
            raise ValueError(expression) from error
    if kind not in ("created", "accessed"):
        raise ValueError(kind)
    before = datetime.now() - parse_duration(duration)
    if kind == "created":
        return lambda manifest: manifest.created < before
    return lambda manifest: manifest.pulled < before

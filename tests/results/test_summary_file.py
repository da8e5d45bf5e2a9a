"""Summary files: what is read, and the one line that is told of any other file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import UsageError
from lib.results.summary import Summary
from lib.results.summary_file import in_words, read_summary, summary_of, summary_text
from tests.support.summaries import DOCUMENT, a_summary

# What the first version wrote already.
REQUIRED = (
    "started", "elapsed_seconds", "interrupted", "settings", "client", "images", "pulled", "failed",
    "interrupted_pulls", "error_rate", "rate", "errors", "latency_ms", "first_latency_ms", "repeat_latency_ms",
    "workers", "steps", "samples", "limited_by", "thresholds",
)  # fmt: skip


def told_of(path: Path) -> str:
    with pytest.raises(UsageError) as raised:
        read_summary(path)
    return str(raised.value)


def told_of_document(folder: Path, document: Any) -> str:
    path = folder / "summary.json"
    path.write_text(json.dumps(document))
    return told_of(path).removeprefix(f"{path} is not a valid summary of ocidriver: ")


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(summary_text(a_summary()))
    assert read_summary(path) == a_summary()
    assert json.loads(path.read_text()) == DOCUMENT
    assert path.read_text().startswith('{\n  "schema": 1,\n  "started": "2026-01-31T12:00:00+00:00",\n')


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(name: str, tmp_path: Path) -> None:
    left = {field: value for field, value in DOCUMENT.items() if field != name}
    assert told_of_document(tmp_path, left) == f"{name} is missing; give a file that --summary-file wrote"


def test_files_of_earlier_versions_lack_newer_fields() -> None:
    old = {name: DOCUMENT[name] for name in ("schema", *REQUIRED)}
    for part, names in (("steps", ("failed", "offered")), ("samples", ("workers", "limited_by", "errors"))):
        old[part] = [{name: value for name, value in each.items() if name not in names} for each in old[part]]
    summary = summary_of(old)
    assert (summary.late, summary.unstarted, summary.repulled, summary.listed) == (0, 0, 0, 0)
    assert (summary.reason, summary.command, summary.prune_errors, summary.retried) == (None, (), {}, None)
    assert (summary.image_sets, summary.first_pulls, summary.drain) == ((), "unknown", None)
    assert (summary.samples[0].errors, summary.samples[0].retried) == ({}, None)
    assert (summary.latency_unit, summary.steps[0].offered, summary.samples[0].limited_by) == (
        "pull",
        None,
        None,
    )


def test_what_a_newer_version_adds_is_passed_over() -> None:
    newer = {**DOCUMENT, "valley": {"rate": 3}, "mood": None}
    newer["steps"] = [{**each, "slope": 1.0} for each in DOCUMENT["steps"]]
    newer["latency_ms"] = {**DOCUMENT["latency_ms"], "p999": 10}
    assert summary_of(newer) == a_summary()


def test_text_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    """A command line may hold the name of a file that is not UTF-8."""
    summary = a_summary(command=["./ocidriver.py", "--image-list=l\udcfft"])
    path = tmp_path / "summary.json"
    path.write_text(summary_text(summary), encoding="ascii")
    assert read_summary(path) == summary


BROKEN: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "a count that is text": (("pulled",), "10", "pulled is text, not a whole number"),
    "a count that is true": (("failed",), True, "failed is true or false, not a whole number"),
    "half a pull": (("pulled",), 1.5, "pulled is a number, not a whole number"),
    "less than none": (("failed",), -1, "failed is out of range: the least is 0"),
    "a count of 400 digits": (("pulled",), 10**400, "pulled is out of range: the most is 1000000000000000"),
    "a rate of 400 digits": (("rate",), 10**400, "rate is out of range"),
    "no rate": (("rate",), None, "rate is null, not a number"),
    "a rate below zero": (("rate",), -0.5, "rate is out of range: the least is 0"),
    "more errors than pulls": (("error_rate",), 1.5, "error_rate is out of range: the most is 1"),
    "a time without a zone": (
        ("samples", 0, "time"), "2026-01-31T12:00:00", "samples[0].time is not an ISO 8601 time with a zone",
    ),
    "a word for a time": (("started",), "today", "started is not an ISO 8601 time with a zone"),
    "a 13th month": (("started",), "2026-13-31T12:00:00Z", "started is not an ISO 8601 time with a zone"),
    "a number for a time": (("started",), 5, "started is not an ISO 8601 time with a zone"),
    "a run of 30 years": (("elapsed_seconds",), 1e9, "elapsed_seconds is out of range: the most is 316224000"),
    "a latency without p95": (("latency_ms",), {"min": 1.0, "mean": 1.0, "p50": 1.0}, "latency_ms.p90 is missing"),
    "a latency of text": (("steps", 1, "latency_ms", "p50"), "x", "steps[1].latency_ms.p50 is text, not a number"),
    "a step that is a number": (("steps", 0), 3, "steps[0] is a whole number, not an object"),
    "steps that are none": (("steps",), {}, "steps is an object, not a list"),
    "settings that are none": (("settings",), [], "settings is a list, not an object"),
    "a client that is a number": (("client",), 5, "client is a whole number, not an object or null"),
    "a client without a version": (("client",), {"name": "crane"}, "client.version is missing"),
    "a count of errors": (("errors",), {"a\nb": "x"}, "errors.<name> is text, not a whole number"),
    "a word of the command": (("command", 0), 7, "command[0] is a whole number, not text"),
    "a worker without a pattern": (("workers", 0, "pattern"), None, "workers[0].pattern is null, not text"),
    "a threshold": (("thresholds",), [{"expression": "rate>1"}], "thresholds[0].passed is missing"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_field_is_named(kind: str, tmp_path: Path) -> None:
    place, value, told = BROKEN[kind]
    assert (
        told_of_document(tmp_path, replaced(place, value)) == f"{told}; give a file that --summary-file wrote"
    )


def replaced(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))  # which shares no part with another
    holder: Any = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return document


def test_many_steps_that_together_last_too_long(tmp_path: Path) -> None:
    step, sample = ({**DOCUMENT[part][0], "seconds": 2e8} for part in ("steps", "samples"))
    told = told_of_document(tmp_path, {**DOCUMENT, "steps": [step], "samples": [sample]})
    assert told.startswith(
        "the seconds of steps and samples are out of range: their sum is more than 316224000"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON"), (b"\xff\x00", "is not JSON"), (b"[" * 100_000, "is not JSON"),
        (b'{"a":' * 100_000, "is not JSON"), (b'{"schema": 1' + b"0" * 5000 + b"}", "is not JSON"),
        (b'{"schema": NaN}', "is not JSON"), (b'{"schema": -Infinity}', "is not JSON"),
        (b"1", "is not a summary"), (b'"schema"', "is not a summary"), (b"{}", "is not a summary"),
        (b'{"schema": "' + b"x\\n" * 1000 + b'"}', "has schema "), (b'{"schema": null}', "has schema None"),
    ],
)  # fmt: skip
def test_files_that_are_no_summary(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    line = told_of(path)
    assert told in line
    assert str(path) in line
    assert "\n" not in line
    assert len(line) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = [
    *((name,) for name in DOCUMENT if name != "schema"),
    *(("steps", 1, name) for name in DOCUMENT["steps"][1]),
    *(("samples", 0, name) for name in DOCUMENT["samples"][0]),
    *(("workers", 0, name) for name in DOCUMENT["workers"][0]),
    *(("latency_ms", name) for name in DOCUMENT["latency_ms"]),
]


@given(place=st.sampled_from(PLACES), value=JSON)
def test_anything_anywhere_is_read_or_named(place: tuple[str | int, ...], value: Any) -> None:
    found = read_or_told(replaced(place, value))
    if isinstance(found, Summary):
        assert summary_text(summary_of(json.loads(summary_text(found)))) == summary_text(found)
    else:
        assert str(place[0]) in found
        assert not set(found) & set("\n`")


def read_or_told(document: dict[str, Any]) -> Summary | str:
    try:
        return summary_of(document)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Expected `int | null`, got `str` - at `$.retried`", "retried is text, not a whole number or null"),
        ("Expected `object`, got `array`", "the summary is a list, not an object"),
        ("Object missing required field `rate`", "rate is missing"),
        (
            "Object missing required field `p50` - at `$.steps[3].latency_ms`",
            "steps[3].latency_ms.p50 is missing",
        ),
        ("Invalid enum value 2 - at `$.schema`", "schema: Invalid enum value 2"),
    ],
)
def test_messages_in_words(message: str, told: str) -> None:
    assert in_words(message) == told

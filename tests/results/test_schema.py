"""The JSON Schemas in `docs/schema` say what real runs write, and the readers give it back unchanged."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from msgspec import UNSET
from msgspec.structs import fields

from lib.lab.servers import lab_cache
from lib.results.event_line import (
    BATCH_FIELDS,
    HERD_FIELDS,
    HOST_FIELDS,
    SIZE_FIELDS,
    EventLine,
    read_event,
    write_event,
)
from lib.results.summary import Summary
from lib.results.summary_file import read_summary, summary_text
from lib.schema import FILES, text_of
from tests.doubles.fake_crane import install
from tests.support.driving import Ended, between_nobody, drive, finish, start
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schema"
TALLY = "--tally-seconds=0.1"

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _has_a_zone(text: object) -> bool:
    return isinstance(text, str) and datetime.fromisoformat(text).tzinfo is not None


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FORMATS)


@dataclass(frozen=True)
class Ran:
    """A run, with its text as it stands in the files. `optional`: the fields that its options add to the summary."""

    ended: Ended
    summary: str
    events: list[str]
    metrics: list[str]
    optional: tuple[str, ...] = ()


def files_of(ended: Ended, *optional: str) -> Ran:
    text = {name: (ended.folder / name).read_text() for name in ("summary.json", "events", "metrics")}
    return Ran(
        ended, text["summary.json"], text["events"].splitlines(), text["metrics"].splitlines(), optional
    )


@pytest.mark.parametrize("name", FILES)
def test_the_schemas_are_those_of_the_code(name: str) -> None:
    """Else write them again: python -m lib.schema."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(FILES[name]())


@pytest.mark.parametrize("name", FILES)
def test_every_field_says_what_it_means(name: str) -> None:
    for kind in FILES[name]()["$defs"].values():
        assert kind["description"].endswith(".")
        for field, about in kind["properties"].items():
            assert about.get("description", "").endswith("."), field


def with_real_crane(
    upstream: Upstream, crane: str, folder: Path, *options: str, load: str = "--passes=3"
) -> Ended:
    address = upstream.address
    return drive(
        folder, f"--pullthrough-url={address}", f"--registry-url={address}", "--layout=direct",
        f"--client={crane}", load, TALLY, *options,
    )  # fmt: skip


def dry(folder: Path, *options: str) -> list[str]:
    images = folder / "images"
    images.write_text("app-0:v1\napp-1:v1\n")
    urls = ("--pullthrough-url=c:1", "--registry-url=u:1")
    return ["--dry-run", *urls, f"--image-list={images}", "--workers=2", TALLY, "--passes=3", *options]


@pytest.fixture
def crane_with_failures(upstream: Upstream, crane: str, tmp_path: Path) -> Ran:
    listed = tmp_path / "list"
    listed.write_text(f"{upstream.images[0]}\nno/such:image\n")
    limits = ("--threshold=error_rate<1%", "--threshold=first.p95<60s", "--threshold=rate>0")
    ended = with_real_crane(upstream, crane, tmp_path, f"--image-list={listed}", "--workers=1", *limits)
    assert (ended.status, ended.summary["errors"].keys()) == (3, {"not-found"})
    return files_of(ended)


@pytest.fixture
def by_schedule(upstream: Upstream, crane: str, tmp_path: Path) -> Ran:
    ended = with_real_crane(
        upstream,
        crane,
        tmp_path,
        "--workers=2",
        "--rate=5:20",
        "--metrics-format=jsonl",
        load="--iteration-seconds=0.5",
    )
    assert (ended.status, ended.summary["steps"][0]["offered"] is None) == (0, False)
    return files_of(ended)


@pytest.fixture
def in_batches(tmp_path: Path) -> Ran:
    """Some batches fail, so that images are pulled again alone."""
    images = [*(f"ok/app-{k}:v1" for k in range(4)), "refused/app:v1"]
    client = install(tmp_path / "bin")
    ended = drive(tmp_path, *between_nobody(client, images, 0.5), "--workers=1", "--passes=2", "--batch=3")
    assert (ended.status, ended.summary["latency_unit"]) == (0, "launch")
    assert ended.summary["repulled"] > 0
    return files_of(ended)


@pytest.fixture
def in_herds(upstream: Upstream, crane: str, tmp_path: Path) -> Ran:
    """Each image is pruned before the load, and before its herds."""
    with lab_cache(upstream.address) as cache:
        ended = drive(
            tmp_path, f"--pullthrough-url={cache.address}", f"--registry-url={upstream.address}", f"--client={crane}",
            "--workers=2", "--herd", "--prune", "--prune-first", "--passes=2", TALLY,
        )  # fmt: skip
    assert (ended.status, ended.summary["herds"]["count"]) == (0, 24)
    return files_of(ended, "herds", "sized_images")


@pytest.fixture
def dry_run(tmp_path: Path) -> Ran:
    ended = drive(tmp_path, *dry(tmp_path))
    assert (ended.status, ended.summary["client"]) == (0, None)
    return files_of(ended)


@pytest.fixture
def interrupted(tmp_path: Path) -> Ran:
    running = start(tmp_path, *dry(tmp_path), "--passes=1000000")
    wait_until(lambda: (tmp_path / "metrics").exists() and (tmp_path / "metrics").stat().st_size)
    running.send_signal(signal.SIGTERM)
    ended = finish(running, tmp_path)
    assert (ended.status, ended.summary["interrupted"]) == (143, True)
    return files_of(ended)


@pytest.fixture
def failed_before_the_load(tmp_path: Path) -> Ran:
    words = [word for word in dry(tmp_path) if not word.startswith("--workers")]
    ended = drive(tmp_path, *words, "--patterns=nothing")
    assert (ended.status, ended.events, ended.summary["samples"]) == (1, (), [])
    return files_of(ended)


@pytest.fixture
def warmed_up(tmp_path: Path) -> Ran:
    ended = drive(tmp_path, *dry(tmp_path), "--warm-up")
    assert ended.summary["warm_up"]["pulled"] == ended.summary["images"]
    return files_of(ended, "warm_up")


RUNS = (
    "warmed_up",
    "crane_with_failures",
    "by_schedule",
    "in_batches",
    "in_herds",
    "dry_run",
    "interrupted",
    "failed_before_the_load",
)


@pytest.fixture(params=RUNS)
def ran(request: pytest.FixtureRequest) -> Ran:
    found: Ran = request.getfixturevalue(request.param)
    return found


def test_real_runs_write_what_the_schemas_say(ran: Ran) -> None:
    """Every field of a line and of the summary is described, and nothing that is described is left out."""
    document = json.loads(ran.summary)
    validator("summary.schema.json").validate(document)
    herd = bool(document["settings"].get("herd"))
    assert list(document) == [
        each.encode_name for each in fields(Summary) if each.default is not UNSET or each.name in ran.optional
    ]
    lines = validator("events.schema.json")
    known = EventLine.__struct_encode_fields__
    for line in map(json.loads, ran.events):
        lines.validate(line)
        prune = line["op"] == "prune"
        left_out = {
            *(BATCH_FIELDS if prune or ran.ended.summary["latency_unit"] == "pull" else ()),
            *(() if herd else HERD_FIELDS),
            *HOST_FIELDS,
            *(["started"] if prune else ()),
            *(SIZE_FIELDS if prune or "sized_images" not in document else ()),
        }
        assert list(line) == [name for name in known if name not in left_out]


def test_what_is_read_is_written_again_byte_for_byte(ran: Ran) -> None:
    assert summary_text(read_summary(ran.ended.folder / "summary.json")) == ran.summary
    assert [write_event(read_event(line)) for line in ran.events] == ran.events


def test_metrics_as_json_are_the_samples_of_the_summary(by_schedule: Ran) -> None:
    lines = [json.loads(line) for line in by_schedule.metrics]
    samples, drain = by_schedule.ended.summary["samples"], by_schedule.ended.summary["drain"]
    assert lines[: len(samples)] == samples
    drained = [
        {name: line[name] for name in ("seconds", "pulled", "failed")} for line in lines[len(samples) :]
    ]
    assert drained == (
        [] if drain is None else [{**drain, "seconds": pytest.approx(drain["seconds"], abs=1e-6)}]
    )
    assert [list(line) for line in lines[: len(samples)]] == [list(each) for each in samples]


def places(value: object) -> Iterator[tuple[str | int, ...]]:
    """Where a value of the document stands, the document itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *rest) for rest in places(inner))


def changed(document: Any, place: tuple[str | int, ...], change: Callable[[Any, Any], None]) -> Any:
    made = copy.deepcopy(document)
    holder = made
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return made


def remove(holder: Any, key: str | int) -> None:
    del holder[key]


def spoil(holder: Any, key: str | int) -> None:
    holder[key] = {"neither": "number nor text"}


def test_a_schema_refuses_what_no_run_writes(crane_with_failures: Ran) -> None:
    """Each field is required and has a type, but for what a name in `settings` or a class of errors stands for."""
    summary = validator("summary.schema.json")
    document = json.loads(crane_with_failures.summary)
    tried = 0
    for place in places(document):
        if (place[0] in ("settings", "errors") and len(place) > 1) or "errors" in place[:-1]:
            continue
        if isinstance(place[-1], str):
            with pytest.raises(ValidationError):
                summary.validate(changed(document, place, remove))
        if place != ("settings",):
            with pytest.raises(ValidationError):
                summary.validate(changed(document, place, spoil))
        tried += 1
    assert tried > 100
    line = json.loads(crane_with_failures.events[0])
    lines = validator("events.schema.json")
    for place in places(line):
        for change in (remove, spoil):
            with pytest.raises(ValidationError):
                lines.validate(changed(line, place, change))
    for field, value in (
        ("time", "2026-01-31T12:00:00"),
        ("op", "push"),
        ("outcome", "good"),
        ("class", "odd"),
    ):
        with pytest.raises(ValidationError):
            lines.validate({**line, field: value})

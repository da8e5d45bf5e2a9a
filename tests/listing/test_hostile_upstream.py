"""The whole driver against upstreams that fail or mean ill: retried with bounds, or one clear line."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from tests.doubles.catalog import Catalog, Handler, serving
from tests.support.driving import Ended, files, read
from tests.support.listing import many, tags_only
from tests.support.paths import ROOT, SCRIPT
from tests.support.running import run

# Runs the script and says at its end how much memory it has used at most, in KiB.
MEASURED = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    from tests.support.processes import peak_kib
    print(peak_kib())
"""
LEFT_TO_RIGHT = "\u202e"


def driven(handler: Handler, folder: Path, *options: str) -> tuple[Ended, int]:
    """A dry run against this upstream, and the most memory it used, in MiB."""

    async def run() -> tuple[Ended, int]:
        async with serving(handler) as server:
            return await asyncio.to_thread(measured, server.url, folder, options)

    return asyncio.run(run())


def measured(url: str, folder: Path, options: Sequence[str]) -> tuple[Ended, int]:
    done = run(
        *(sys.executable, "-c", MEASURED, SCRIPT, *files(folder), f"--registry-url={url}"),
        *("--pullthrough-url=127.0.0.1:1", "--workers=1", "--passes=1", "--dry-run", *options),
        cwd=ROOT,
    )
    *out, memory = done.stdout.splitlines()
    ended = read(folder, done.returncode, "\n".join(out), done.stderr)
    check_words(ended)
    return ended, int(memory) // 1024


def check_words(ended: Ended) -> None:
    """Whatever happened: nothing on stdout, one line at most on stderr, and no character that does anything."""
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) <= 1
    for line in (*ended.log.splitlines(), *ended.stderr.splitlines()):
        assert line.replace("\t", " ").isprintable()
        assert len(line) < 2100
        assert "Traceback" not in line


def check_refused(ended: Ended, words: str) -> None:
    """One line that says what was wrong, and a summary all the same."""
    assert ended.status == 1
    assert ended.stderr.startswith("ocidriver: cannot list the upstream: ")
    assert words in ended.stderr
    assert ended.summary["reason"] in ended.stderr
    assert ended.summary["pulled"] == 0


def text(body: str | bytes, **headers: str) -> Handler:
    """A catalog of this body."""
    raw = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return tags_only(lambda _: web.Response(body=raw, headers=named))


def test_one_answer_in_three_is_429(tmp_path: Path) -> None:
    catalog = Catalog(many(60), greatest=20)
    count = 0

    async def limited(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.Response(status=429) if count % 3 == 0 else await catalog(request)

    ended, _ = driven(limited, tmp_path)
    assert (ended.status, ended.stderr, ended.summary["listed"]) == (0, "", 60)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<html>\x1b[2J</html>", "is not JSON"),
        ('{"repositories": ["a"', "is not JSON"),
        (b'{"repositories": ["\xff\xfe"]}', "is not JSON"),
        ("[" * 1_000_000, "is not JSON"),
        ("[" * 1_000_001, "values on a page"),
        ('{"repositories": ' + "9" * 100_000 + "}", "is not JSON"),
        ('{"repositories": NaN}', "gives no list"),
        ('{"repositories": "abc"}', "gives no list"),
        ('{"repositories": {"a": 1}}', "gives no list"),
        ('{"repositories": ["a"], "repositories": 3}', "gives no list"),
    ],
)
def test_a_malformed_catalog(body: str | bytes, words: str, tmp_path: Path) -> None:
    check_refused(driven(text(body), tmp_path)[0], words)


def test_pages_without_end(tmp_path: Path) -> None:
    count = 0

    def page(_: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.json_response(
            {"repositories": ["a"]}, headers={"Link": f"</v2/_catalog?{count}>; rel=next"}
        )

    check_refused(driven(tags_only(page), tmp_path)[0], "does not end")
    assert count < 200


def test_names_that_are_attacks_are_left_out_and_shown_harmless(tmp_path: Path) -> None:
    names = [
        *("--help", "-rf", "../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "a\x1b[31m", "a\nforged\tline"),
        *(f"a{LEFT_TO_RIGHT}b", "a\x00b", "=1+1", "@SUM(1)", "<script>alert(1)</script>", "::error::x", "\ud800"),
        *("\ud83d\ude00", "x" * 65536, "Bearer abc.def.ghi", "\u202dx", "\u00adsoft", "\U000e0041tag", "good"),
    ]  # fmt: skip
    tags = [
        "ok",
        "-x",
        "--help",
        "../x",
        "a\nb",
        "\x1b]0;t\x07",
        "=1+1",
        "\ud800",
        "y" * 65536,
        LEFT_TO_RIGHT,
    ]
    body = json.dumps({"repositories": names, "tags": tags})

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=body)

    ended, _ = driven(handle, tmp_path, "--all-tags")
    assert ended.status == 0
    assert {event["image"] for event in ended.events} == {"good:ok"}
    assert ended.summary["listed"] == 1
    assert "abc.def" not in ended.log
    assert ended.log.count("not a repository name") == 20
    assert "skipped: 21 repository names" in ended.log


ENDLESS_ZEROS = gzip.compress(b'{"repositories": ["') + gzip.compress(bytes(1 << 20)) * 1024


@pytest.mark.parametrize(
    ("catalog", "words"),
    [
        (text(ENDLESS_ZEROS, Content_Encoding="gzip"), "longer than 64 MiB"),
        (text('{"repositories": [' + "[]," * (20 << 20) + "0]}"), "values on a page"),
        (text('{"repositories": ["' + "a" * (60 << 20) + '"]}'), "lists no images"),
    ],
    ids=["a GiB in a gzip of 1 MiB", "60 MiB of empty lists", "a name of 60 MiB"],
)
def test_memory_is_bounded(catalog: Handler, words: str, tmp_path: Path) -> None:
    ended, memory = driven(catalog, tmp_path)
    assert ended.status == 1
    assert words in ended.stderr
    assert memory < 400

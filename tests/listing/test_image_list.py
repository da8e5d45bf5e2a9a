"""Image lists."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lib.listing.image_list import ImageListError, parse_image_list
from tests.support.driving import command

SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("lines", "images"),
    [
        (["a:v1\n", "b/c:v2"], [("a", "v1"), ("b/c", "v2")]),
        (["# all", "", "   ", "\t a:v1 \r\n", "a:v1 # again", "b:v1# x"], [("a", "v1"), ("b", "v1")]),
        ([f"a@{SHA}", "a:v1", f"a@{SHA}"], [("a", SHA), ("a", "v1")]),
        (["\ufeffa:v1"], [("a", "v1")]),
        ([], []),
    ],
)
def test_image_list(lines: list[str], images: list[tuple[str, str]]) -> None:
    assert list(parse_image_list(lines)) == images


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a", "line 3: a: no tag"),
        ("A:v1", "line 3: A:v1: not a repository name"),
        ("host:5000/a:v1", "leave out the registry"),
        ("a:v1 b:v1", "not a"),
        ("--help:v1", "not a repository name"),
        ("\x1b[31mred:v1", "not a repository name"),
        ("x" * 65536, "no tag"),
        ("a:\udcff", "not a tag"),
    ],
)
def test_a_bad_line_is_named(line: str, words: str) -> None:
    with pytest.raises(ImageListError, match="line 3: ") as caught:
        list(parse_image_list(["# list", "a:v1", line]))
    message = str(caught.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    "content", [b"app:v1\n\xff\xfe:v1\n", b"--help\n", b"app:v1\n\x1b[31m\n", b"a" * 100_000, None]
)
def test_a_list_that_cannot_be_used_is_wrong_usage_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "images"
    if content is not None:
        path.write_bytes(content)
    urls = ("--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run")
    done = subprocess.run(
        command(*urls, f"--image-list={path}"), capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ocidriver: --image-list: ")
    assert line.isprintable()
    assert len(line) < 600

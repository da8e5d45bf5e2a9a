"""What a server makes a client say, on its way through everything that a run writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.driving import Ended, drive

# Each is a shell command that writes to stderr; crane's own frame stands around some.
VOICES = {
    "escapes": r"""printf 'Error: GET http://h/v2/a/manifests/v: DENIED: \033[2J\033]0;t\007\r\n\tx\n'""",
    "forged": r"""printf 'Error: GET http://h/v2/a/b/c: DENIED: x\n2026-01-01 00:00:00\tforged\n::error::forged\n'""",
    "html": r"""printf 'Error: GET http://h/v2/a/manifests/v: DENIED: <script>alert(1)</script>|`x`|[a](http://e)\n'""",
    "formula": r"""printf '=HYPERLINK("http://e")\n+1\n@SUM(1)\n-1'""",
    "options": r"""printf -- '--help\n-rf\n../../etc/passwd'""",
    "not utf-8": r"""printf 'Error: \377\376\355\240\200\0 \342\200\256x\n'""",
    "long line": r"""head -c 70000 /dev/zero | tr '\0' 'x'""",
    "flood": r"""head -c 10000000 /dev/zero | tr '\0' '\033'""",
    "secrets": r"""printf 'Error: GET http://me:S3CRET@h/: D: Bearer S3CRET ?token=S3CRET "password": "S3CRET"\n'""",
    "silent": "true",
}


def driven(voice: str, folder: Path) -> tuple[Ended, str, str]:
    """A run whose every pull ends so; with it the page and the job's summary."""
    client = folder / "crane"
    client.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo v1 && exit\n{voice} >&2\nexit 1\n')
    client.chmod(0o755)
    (folder / "images").write_text("app:v1\n")
    ended = drive(
        folder, "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--layout=distribution",
        "--keep-going", f"--client={client}", f"--image-list={folder}/images", "--patterns=app",
        "--passes=2", "--annotations=github", f"--report-file={folder}/page.html",
        environment={"GITHUB_STEP_SUMMARY": f"{folder}/job.md"},
    )  # fmt: skip
    return ended, (folder / "page.html").read_text(), (folder / "job.md").read_text()


@pytest.mark.parametrize("name", VOICES)
def test_nothing_in_it_does_anything(name: str, tmp_path: Path) -> None:
    ended, page, job = driven(VOICES[name], tmp_path)
    assert ended.status == 1
    ended.check_accounts()
    check_lines(ended)
    assert ended.summary["failed"] == 2
    assert set(ended.outcomes()) == {"failed"}
    texts = (ended.log, ended.stderr, page, job, json.dumps(ended.summary), json.dumps(ended.events))
    assert not [text for text in texts if "S3CRET" in text]
    assert "<script>alert" not in page + job
    assert not set(page + job) & set("\x1b\x07\x00\u202e")


def check_lines(ended: Ended) -> None:
    """One line each, of known kinds, bounded, and of printable characters; the metrics hold figures alone."""
    for line in ended.log.splitlines():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\t.{1,2000}", line), line
        assert line.replace("\t", " ").isprintable()
        assert not line.endswith("\tforged")
    for line in ended.stderr.splitlines():
        assert line.startswith(
            ("ocidriver: nothing was pulled", "::error title=ocidriver", "::warning title=ocidriver")
        )
        assert line.isprintable()
    for event in ended.events:
        assert event["message"].isprintable()
        assert len(event["message"]) <= 500
    for fields in ended.metrics:
        assert all(re.fullmatch(r"[-0-9.: ]+", field) for field in fields), fields

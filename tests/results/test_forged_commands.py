"""No server can have a pipeline's runner obey it: of all that is printed only our own annotations are commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.doubles.answers import COMMANDS
from tests.doubles.faulty import FaultyRegistry
from tests.support.driving import command

# As actions/runner has them, with what its parsers take for a command (ActionCommand.TryParseV2 and TryParse).
_REGISTERED = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice", "remove-matcher",
    "save-state", "set-env", "set-output", "stop-commands", "warning",
}  # fmt: skip
_NEW = re.compile(r"\s*::(?P<name>[^ :]*)(?: .*?)?::", re.DOTALL)
_OLD = re.compile(r"##\[(?P<name>[^ \]]*)[^\]]*\]")


def obeyed(text: str) -> list[str]:
    """The lines that the runner obeys. It ends a line at either of CR and LF."""
    return [line for line in re.split(r"[\r\n]", text) if _is_command(line)]


def _is_command(line: str) -> bool:
    found = (_NEW.match(line), _OLD.search(line))
    return "##vso[" in line or any(match and match["name"].lower() in _REGISTERED for match in found)


def test_the_servers_text_is_all_commands() -> None:
    """Else the tests below would show nothing."""
    assert [line.strip("\x85 ")[:11] for line in obeyed(COMMANDS)] == [
        "::error::fo", "::add-mask:", "::warning::", "::notice::f", "##[error]fo", "good ###[ad",
    ]  # fmt: skip
    assert obeyed("all ::error::is well ##[x]y") == []


@pytest.mark.parametrize("body", ["commands", "commandsjson"])
def test_a_run_in_github_actions_obeys_nobody_else(body: str, crane: str, tmp_path: Path) -> None:
    (tmp_path / "images").write_text(f"manifest-404-{body}/app:v1\n")
    with FaultyRegistry() as registry:
        done = subprocess.run(
            command(
                f"--pullthrough-url={registry.address}", f"--registry-url={registry.address}", "--layout=distribution",
                f"--client={crane}", f"--image-list={tmp_path}/images", "--workers=1", "--passes=100",
                "--annotations=github", "--summary-file=-", "--events-file=-",
            ),
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.count("add-mask::forged") > 10
    assert done.stdout.count("# #[error]forged") > 10
    assert obeyed(done.stdout) == []
    error, warning = obeyed(done.stderr)
    assert error.startswith("::error title=ocidriver::none of the first 10 pulls succeeded: not-found: ")
    assert warning.startswith("::warning title=ocidriver%3A not-found::")


def test_neither_does_the_doctor(crane: str, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("blob-404-commands/app:v1\n")
    with FaultyRegistry() as registry:
        for words in ([], ["--json"]):
            done = subprocess.run(
                command(
                    "doctor", *words, f"--pullthrough-url={registry.address}", f"--registry-url={registry.address}",
                    "--layout=distribution", f"--client={crane}", f"--image-list={tmp_path}/images", "--workers=1",
                ),
                capture_output=True, text=True, timeout=100, check=False,
            )  # fmt: skip
            assert done.returncode == 1
            assert "# #[error]forged" in done.stdout
            assert obeyed(done.stdout + done.stderr) == []

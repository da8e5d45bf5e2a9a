"""What the pages for maintainers say is true: files and names exist, and their recipe for a client is all it takes."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from lib.clients.table import NAMES
from lib.lab.servers import Server, lab_cache
from tests.support.driving import Ended, files, read
from tests.support.paths import ROOT
from tests.support.running import run
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.test_architecture import IMPORTS

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
RECIPES = (
    "An option", "A client", "A layout", "An error class", "A summary field", "A threshold", "A load shape", "A chart",
    "The retry policy of the listing", "A prune API", "The live view", "A Prometheus metric",
)  # fmt: skip
EXAMPLE = "lib/clients/fetch.py"
_FENCED_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:md|py|toml)|Makefile")
_TEST_WORDS = re.compile(r"tests/[\w/]+(?:\.py)?")


def spans(page: Path) -> list[str]:
    """What stands in backticks outside of code blocks; a line may break after a span, but not in one."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))


# --- files and names -----------------------------------------------------------------------------------------


def defined(tree: ast.AST, path: str = "") -> set[str]:
    """The classes and functions of a file; those in a class with its name before them."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found |= {f"{path}{node.name}", *defined(node, f"{path}{node.name}.")}
    return found


@pytest.mark.parametrize("page", [CONTRIBUTING, ARCHITECTURE], ids=lambda page: page.name)
def test_every_file_and_every_name_in_a_file_exists(page: Path) -> None:
    named = [span for span in spans(page) if _PATH.fullmatch(span.partition("::")[0]) and span != EXAMPLE]
    assert len(named) > 30
    for span in named:
        path, _, name = span.partition("::")
        assert (ROOT / path).exists(), f"no file {path}"
        if name:
            assert name in defined(ast.parse((ROOT / path).read_text())), f"no {name} in {path}"


def test_the_tests_in_commands_exist() -> None:
    commands = [span for span in spans(CONTRIBUTING) if " -m pytest " in span]
    assert commands
    for path in {path for each in commands for path in _TEST_WORDS.findall(each)}:
        assert (ROOT / path).exists(), path


def test_the_make_targets_exist() -> None:
    targets = {name for span in spans(CONTRIBUTING) for name in re.findall(r"\bmake (\w+)", span)}
    assert {"help", "setup", "check", "test", "fuzz", "coverage"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_recipe_has_the_same_parts_in_the_same_order() -> None:
    _, *parts = re.split(r"^### (.+)$", CONTRIBUTING.read_text(), flags=re.MULTILINE)
    recipes = dict(zip(parts[::2], parts[1::2], strict=True))
    assert tuple(recipes) == RECIPES
    for title, text in recipes.items():
        found = re.findall(r"^(Change|Tests|Docs|Check):", text, re.MULTILINE)
        assert found == ["Change", "Tests", "Docs", "Check"], title
        assert "`CHANGELOG.md`" in text, title


def test_the_table_of_folders_says_who_imports_whom() -> None:
    rows = re.findall(r"^\| `lib/(\w+)/` \| [^|]+ \|([^|]*)\|$", ARCHITECTURE.read_text(), re.MULTILINE)
    documented = {folder: set(re.findall(r"`(\w+)`", imports)) for folder, imports in rows}
    actual: dict[str, set[str]] = {module[0]: set() for module in IMPORTS if len(module) > 1}
    for module, imports in IMPORTS.items():
        if len(module) > 1:
            actual[module[0]] |= {each[0] for each in imports if each[0:1] and each[0] in actual}
    assert documented == {folder: imports - {folder} for folder, imports in actual.items()}
    below = [folder for folder, _ in rows]
    for folder, imports in documented.items():
        assert imports <= set(below[below.index(folder) + 1 :]), folder


# --- a fourth client, by the recipe alone --------------------------------------------------------------------

# Pulls a manifest, and its config and layers; several images one after the other. It follows redirects.
PROGRAM = """\
#!{python}
import json, sys, urllib.error, urllib.parse, urllib.request

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))

def get(url):
    request = urllib.request.Request(url, headers={{"Accept": ACCEPT, "User-Agent": "fetch/1.5"}})
    try:
        with OPENER.open(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"fetch: HTTP {{error.code}} for {{url}}: {{error.read()!r}}")
    except urllib.error.URLError as error:
        sys.exit(f"fetch: connect: {{str(error.reason).rpartition('] ')[2].lower()}}")

def pull(url):
    parts = urllib.parse.urlsplit(url)
    repository, _, reference = parts.path[1:].rpartition("@" if "@" in parts.path else ":")
    base = f"{{parts.scheme}}://{{parts.netloc}}/v2/{{repository}}"
    manifest = json.loads(get(f"{{base}}/manifests/{{reference}}"))
    for blob in (manifest["config"], *manifest["layers"]):
        assert len(get(f"{{base}}/blobs/{{blob['digest']}}")) == blob["size"]

if sys.argv[1:] == ["--version"]:
    print("fetch 1.5")
else:
    assert sys.argv[1] == "--platform" and len(sys.argv) > 3, sys.argv
    for url in sys.argv[3:]:
        pull(url)
"""


class Copy:
    """A copy of the project with one file and one line more, and the program on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "ocidriver.py", folder)
        code, line = _FENCED_PYTHON.findall(CONTRIBUTING.read_text())
        (folder / EXAMPLE).write_text(code)
        table = folder / "lib" / "clients" / "table.py"
        before, end, after = table.read_text().partition("\n}\n")
        table.write_text(f"{before}\n{line.rstrip()}{end}{after}")
        self.program = folder / "bin" / "fetch"
        self.program.parent.mkdir()
        self.program.write_text(PROGRAM.format(python=sys.executable))
        self.program.chmod(0o755)

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        path = f"{self.program.parent}:{Path(sys.executable).parent}:/usr/bin:/bin"
        return run(sys.executable, self.folder / "ocidriver.py", *words, environment={"PATH": path})

    def drive(self, folder: Path, *words: object) -> Ended:
        done = self(*files(folder), "--client=fetch", *words)
        return read(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


def servers(under_test: Server, upstream: Upstream, layout: str = "direct") -> tuple[str, ...]:
    return (
        f"--pullthrough-url={under_test.url}",
        f"--registry-url={upstream.url}",
        f"--layout={layout}",
        "--workers=2",
        "--passes=2",
    )


def manifests_served(server: Server, start: int = 0) -> Counter[str]:
    """How often the registry's log has each image's manifest."""
    asked = re.findall(r" GET /v2/(\S+)/manifests/(\S+)", server.log_path.read_text()[start:])
    return Counter(f"{repository}:{tag}" for repository, tag in asked)


def checks(done: subprocess.CompletedProcess[str]) -> Mapping[str, str]:
    """The messages of a doctor that found nothing wrong, the first of each name."""
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), told
    return {check["name"]: check["message"] for check in reversed(told["checks"])}


def test_it_is_one_file_and_one_line_that_fit(copy: Copy) -> None:
    """The example keeps the rules that every file keeps."""
    program = dedent(
        """
        from lib.clients.client import Client
        from lib.clients.fetch import Fetch

        kind: type[Client] = Fetch
        """
    )
    tools = Path(sys.executable).parent
    (copy.folder / "conforms.py").write_text(program)
    for words in (
        ["mypy", "--config-file", ROOT / "pyproject.toml", "conforms.py"],
        ["ruff", "check", "--config", ROOT / "pyproject.toml", EXAMPLE],
        ["ruff", "format", "--check", "--config", ROOT / "pyproject.toml", EXAMPLE, "lib/clients/table.py"],
    ):
        done = run(tools / str(words[0]), *words[1:], cwd=copy.folder)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_pulls_exactly_what_was_asked(copy: Copy, upstream: Upstream, tmp_path: Path) -> None:
    start = len(upstream.server.log_path.read_text())
    ended = copy.drive(tmp_path, *servers(upstream.server, upstream))
    assert (ended.status, ended.stderr) == (0, "")
    ended.check_accounts()
    summary = ended.summary
    assert summary["client"] == {"name": "fetch", "version": "1.5"}
    assert (summary["pulled"], summary["failed"], summary["retried"]) == (24, 0, None)
    assert {event["retries"] for event in ended.events} == {None}
    wanted = Counter(2 * upstream.images)
    wait_until(lambda: manifests_served(upstream.server, start).total() >= wanted.total())
    assert manifests_served(upstream.server, start) == wanted


def test_it_takes_several_images_in_a_launch(copy: Copy, upstream: Upstream, tmp_path: Path) -> None:
    ended = copy.drive(tmp_path, *servers(upstream.server, upstream), "--batch=3")
    assert (ended.status, ended.summary["pulled"]) == (0, 24)
    assert set(Counter(event["launch"] for event in ended.events).values()) == {3}


def test_a_failed_pull_has_the_class_that_read_gives(copy: Copy, upstream: Upstream, tmp_path: Path) -> None:
    listed = tmp_path / "images"
    listed.write_text(f"{upstream.images[0]}\nabsent/app:v1\n")
    ended = copy.drive(tmp_path, *servers(upstream.server, upstream), f"--image-list={listed}")
    assert (ended.status, ended.summary["pulled"]) == (0, 2)
    assert ended.summary["errors"] == {"not-found": 2}
    (message,) = {event["message"] for event in ended.events if event["outcome"] == "failed"}
    assert message.startswith("fetch: HTTP 404 for http://")
    (nobody := tmp_path / "nobody").mkdir()
    refused = copy.drive(
        nobody, "--pullthrough-url=127.0.0.1:1", f"--registry-url={upstream.url}", "--layout=distribution",
        "--workers=1", "--passes=1", "--keep-going",
    )  # fmt: skip
    assert refused.summary["errors"] == {"refused": 12}


def test_doctor_says_that_it_would_work(copy: Copy, upstream: Upstream) -> None:
    told = checks(copy("doctor", "--json", "--client=fetch", *servers(upstream.server, upstream)))
    assert told["client"] == f"fetch 1.5, {copy.program}"
    assert " by fetch in " in told["pull"]


def test_it_goes_by_the_gateway_as_it_cannot_send_a_header(
    copy: Copy, upstream: Upstream, tmp_path: Path
) -> None:
    with lab_cache(upstream.address) as cache:
        ended = copy.drive(tmp_path, *servers(cache, upstream, "ociregistry"))
        told = checks(copy("doctor", "--json", "--client=fetch", *servers(cache, upstream, "ociregistry")))
    assert (ended.status, ended.stderr, ended.summary["pulled"]) == (0, "", 24)
    assert "layout ociregistry, by gateway: " in ended.log
    assert "fetch cannot send a header" in ended.log
    assert " by fetch in " in told["pull"]


def test_it_cannot_prune_by_a_command_that_it_lacks(copy: Copy, upstream: Upstream, tmp_path: Path) -> None:
    with lab_cache(upstream.address) as cache:
        words = servers(cache, upstream, "ociregistry")
        ended = copy.drive(tmp_path, *words, "--prune", "--prune-via=client")
        (other := tmp_path / "other").mkdir()
        by_the_server = copy.drive(other, *words, "--prune")
    assert (ended.status, ended.stderr.count("\n"), ended.summary["pulled"]) == (1, 1, 0)
    assert "--prune-via client: fetch has no delete command; use --prune-via auto" in ended.stderr
    assert (by_the_server.status, by_the_server.summary["prune_failed"]) == (0, 0)
    assert by_the_server.summary["pruned"] == by_the_server.summary["pulled"] == 24


def test_it_is_found_by_its_path_and_auto_prefers_those_before_it(copy: Copy, upstream: Upstream) -> None:
    words = ("doctor", "--json", *servers(upstream.server, upstream))
    assert checks(copy(*words, f"--client={copy.program}"))["client"].startswith("fetch 1.5")
    by_itself = checks(copy(*words))
    assert by_itself["client"].startswith(NAMES[0])
    assert f" by {NAMES[0]} in " in by_itself["pull"]


def test_options_for_others_are_refused_by_its_name(copy: Copy, upstream: Upstream, tmp_path: Path) -> None:
    ended = copy.drive(tmp_path, *servers(upstream.server, upstream), "--containerd-socket=/run/x")
    assert ended.status == 1
    assert ended.stderr == (
        "ocidriver: --containerd-socket: fetch does not use containerd; leave it out, or use --client ctr\n"
    )


def test_help_and_wrong_usage_name_it(copy: Copy) -> None:
    assert f"{', '.join(NAMES)}, fetch," in " ".join(copy("--help").stdout.split())
    wrong = copy("--client=other", "--pullthrough-url=a:1", "--registry-url=b:1", "--workers=1")
    assert wrong.returncode == 2
    assert f"use auto, {', '.join(NAMES)}, fetch or a path" in wrong.stderr

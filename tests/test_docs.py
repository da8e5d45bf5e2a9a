"""The pages that people read: links lead somewhere, every option and field is documented, sentences are short."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from lib.options.definitions import OPTIONS
from lib.options.subcommands import SUBCOMMANDS
from lib.outcomes import ErrorClass
from lib.results.event_line import HERD_FIELDS, HOST_FIELDS, SIZE_FIELDS
from lib.results.sample import MachineUse
from lib.results.summary import (
    Drain,
    Herds,
    HostCounts,
    ImageSetCounts,
    Knee,
    MachineLimit,
    Peak,
    Precision,
    WarmUpCounts,
)
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
REFERENCE = DOCS / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
MOST_WORDS = 18

_FENCED = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"!?\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]*)\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(?P<target>\S+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"""\b(?:href|src)=["'](?P<target>[^"']*)["']""")
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
_ITEM = re.compile(r"^ *(?:[-*+]|\d+\.) +(?:\[[ x]\] +)?")
# A sentence ends where the next one begins, or where its block ends.
_SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_\[]*(?:[A-Z0-9`]|(?:crane|skopeo|ocidriver|docker-registry|pip|zot)\b))"
)
_PROJECT_FOLDERS = ("lib", "tests", "docs", "scripts", "benchmarks", "contrib", ".github", ".ci")
_PATH = re.compile(r"(?:\.?[\w-]+/)*\.?[\w.-]+/?")
_ROOT_FILE = re.compile(r"(?:\./)?(?:[\w-]+\.(?:md|py|toml)|Makefile|LICENSE|requirements[\w-]*\.txt)")
# Files of other programs, and of the example in CONTRIBUTING, whose names look like those of project files.
_FILES_OF_OTHERS = ("hosts.toml", "lib/clients/fetch.py")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


# --- what a page holds ---------------------------------------------------------------------------------------


def without_code_blocks(text: str) -> str:
    """A page without its fenced and indented code and its comments; indented lines of a list item are text."""
    lines: list[str] = []
    in_item = False
    for line in _COMMENT.sub("", _FENCED.sub("", text)).splitlines():
        if _ITEM.match(line):
            in_item = True
        elif line.strip() and not line.startswith(" "):
            in_item = False
        indented = line.startswith(("    ", "\t"))
        lines.append("" if indented and not in_item else line)
    return "\n".join(lines)


def targets(text: str) -> list[str]:
    """What its links, images and HTML lead to."""
    prose = _CODE.sub("", without_code_blocks(text))
    nested = [match["text"] for match in _LINK.finditer(prose)]
    return [
        match["target"]
        for part in (prose, *nested)
        for pattern in (_LINK, _REFERENCE, _ATTRIBUTE)
        for match in pattern.finditer(part)
    ]


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    shown = _LINK.sub(lambda match: match["text"], heading).lower()
    return re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")


def anchors(text: str) -> set[str]:
    found: set[str] = set()
    for heading in _HEADING.findall(without_code_blocks(text)):
        name, number = slug(heading), 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def blocks(text: str) -> Iterator[str]:
    """Each paragraph and each list item as one line, without headings, tables, code blocks and quoted licences."""
    block: list[str] = []
    for line in [*without_code_blocks(text).splitlines(), ""]:
        bare = line.strip()
        skipped = not bare or bare.startswith(("#", "|", ">", "<"))
        if skipped or _ITEM.match(line):
            if block:
                yield " ".join(block)
            block = []
        if not skipped:
            block.append(_ITEM.sub("", line).strip())


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page's prose. A link counts by its text, code as one word; code alone is no sentence."""
    for block in blocks(text):
        plain = _LINK.sub(lambda match: match["text"], block)
        plain = _CODE.sub(lambda match: "`code`" + ("." if match[0].endswith(".`") else ""), plain)
        yield from (part for part in _SENTENCE_END.split(plain) if words(part.replace("`code`", "")))


def words(sentence: str) -> int:
    """Whatever has a letter or a digit between blanks; a dash between words is none."""
    return sum(1 for word in sentence.split() if re.search(r"\w", word))


def average_words(text: str) -> float:
    counts = [words(sentence) for sentence in sentences(text)]
    return sum(counts) / len(counts) if counts else 0.0


# --- the checks themselves -----------------------------------------------------------------------------------


def test_how_sentences_are_counted() -> None:
    text = (
        "# A heading of several words\n\nOne two three. Four `five six.` Seven:\n\n- an item\n"
        "- [a link](x/y.md) with\n  a second line. And more!\n\n| a | table |\n\n    indented code here\n\n"
        "```\nfenced code\n```\n\nThe v1.2 end (of it). crane, e.g. here.\n\n`code`, `alone`\n\n"
        "1. first\n\n   its second paragraph\n"
    )
    assert [words(each) for each in sentences(text)] == [3, 2, 1, 2, 6, 2, 5, 3, 1, 3]


def test_how_anchors_are_made() -> None:
    text = "# One: two `--three`\n\n## See [this](x.md)\n\n## Twice\n\n## Twice\n\n    # code\n"
    assert anchors(text) == {"one-two---three", "see-this", "twice", "twice-1"}


def test_which_targets_are_found() -> None:
    text = (
        "A [b](c.md#d) and ![e](f.png), `[no](g.md)`\n\n    [no](h.md)\n\n"
        '<img src="i.png">\n\n[j]: k.md\n[![l](m.png)](n.md)'
    )
    assert sorted(targets(text)) == ["c.md#d", "f.png", "i.png", "k.md", "m.png", "n.md"]


# --- the pages -----------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 120


def test_the_readme_keeps_the_two_commands_that_set_up_everything() -> None:
    code = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    make ")]
    assert {line.split()[1] for line in code} >= {"demo", "test"}


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in targets(page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page_id(page)}: no file {target}"
        assert file.resolve().is_relative_to(ROOT), f"{page_id(page)}: {target} is outside the repository"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{page_id(page)}: no heading {target}"


def test_the_index_leads_to_every_page_of_the_docs() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in targets(INDEX.read_text())}
    missing = [page_id(page) for page in PAGES if page.is_relative_to(DOCS) and page.resolve() not in linked]
    assert missing == ["docs/README.md"]


@every_page
def test_every_project_file_that_it_names_exists(page: Path) -> None:
    for code in _CODE.findall(without_code_blocks(page.read_text())):
        name = code.strip("`").partition("::")[0]
        below = name.partition("/")[0] in _PROJECT_FOLDERS and "/" in name and _PATH.fullmatch(name)
        if name not in _FILES_OF_OTHERS and (below or _ROOT_FILE.fullmatch(name)):
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{page_id(page)}: no file {name}"


@every_page
def test_its_sentences_are_short(page: Path) -> None:
    average = average_words(page.read_text())
    longest = max(sentences(page.read_text()), key=words, default="")
    assert average <= MOST_WORDS, f"{average:.1f} words per sentence on average; the longest: {longest}"


# --- what must be documented ---------------------------------------------------------------------------------


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row of its tables, by each of the names in backticks that its first cell holds."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            for name in re.findall(r"`([^` ]+)[^`]*`", cells[0]):
                found[name] = cells
    return found


def names(command_options: list[click.Parameter]) -> set[str]:
    return {
        name
        for option in command_options
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


def headed(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_every_option_is_documented_and_no_other() -> None:
    documented = rows((REFERENCE / "options.md").read_text())
    assert {name for name in documented if name.startswith("-")} == names(OPTIONS) | {
        "-V",
        "--version",
        "-h",
        "--help",
    }


def test_the_defaults_are_those_of_the_options() -> None:
    documented = rows((REFERENCE / "options.md").read_text())
    for option in OPTIONS:
        assert isinstance(option, click.Option)
        default = option.to_info_dict()["default"]
        shown = documented[option.opts[0]][1].strip("`")
        if option.required:
            assert shown == "required"
        elif default == "-":
            assert shown == "stdout"
        elif isinstance(default, bool):
            assert shown == (option.opts[0] if default else "off")
        elif default is not None:
            assert shown == str(default), option.opts[0]


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_option_of_a_command_is_documented(command: str) -> None:
    text = (REFERENCE / "commands.md").read_text()
    section = headed(text, command)
    wanted = names(SUBCOMMANDS[command].load().params)
    if command in ("capacity", "doctor"):
        wanted -= names(OPTIONS)
    elif command == "lab":
        section += headed(text, "populate")
    assert wanted <= set(re.findall(r"`(--?[a-z-]+)", section))


def test_every_error_class_is_documented_and_no_other() -> None:
    assert set(rows((REFERENCE / "error-classes.md").read_text())) == {each.value for each in ErrorClass}


def examples() -> list[str]:
    """The thresholds that the reference gives as examples."""
    table = (REFERENCE / "thresholds.md").read_text().partition("\n## ")[0]
    return [
        line.rstrip("| ").rpartition("`")[0].rpartition("`")[2]
        for line in table.splitlines()
        if "` |" in line
    ]


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of a dry run by a schedule, which needs no server, with every documented threshold."""
    folder = tmp_path_factory.mktemp("dry")
    (folder / "images").write_text("app-0001:v1\napp-0002:v1\n")
    files = [f"--{kind}-file={folder / kind}" for kind in ("metrics", "log", "summary", "events")]
    ran = subprocess.run(
        [
            *(sys.executable, str(ROOT / "ocidriver.py"), "--dry-run", "--workers=2", "--rate=20"),
            *("--pullthrough-url=cache:1", "--registry-url=up:1", f"--image-list={folder / 'images'}"),
            *(
                "--iteration-seconds=0.2",
                "--tally-seconds=0.2",
                "--metrics-format=jsonl",
                "--batch=2",
                *files,
            ),
            *(f"--threshold={example}" for example in examples()),
        ],
        capture_output=True,
        text=True,
    )
    assert ran.returncode in (0, 3), ran.stderr
    return folder


def test_every_example_of_a_threshold_is_one(dry_run: Path) -> None:
    summary = json.loads((dry_run / "summary").read_text())
    assert [each["expression"] for each in summary["thresholds"]] == examples() != []


def test_every_field_of_the_summary_is_documented_and_no_other(dry_run: Path) -> None:
    text = (REFERENCE / "summary.md").read_text()
    summary: dict[str, Any] = json.loads((dry_run / "summary").read_text())
    whole = {"The run", "Counts", "Rate and latency", "Peak and knee", "What limited the run"}
    documented = {name for heading in whole for name in rows(headed(text, heading))}
    documented |= {"image_sets", "drain"}
    parts = {
        "Image sets": ImageSetCounts,
        "Herds": Herds,
        "Hosts": HostCounts,
        "Drain": Drain,
        "Machine": MachineUse,
        "Machine limit": MachineLimit,
        "Warm-up": WarmUpCounts,
    }
    for heading, part in parts.items():
        assert set(rows(headed(text, heading))) == set(part.__struct_fields__), heading
    for name, fields in (("peak", Peak), ("knee", Knee), ("precision", Precision)):
        assert set(fields.__struct_fields__) <= set(re.findall(r"`(\w+)`", rows(text)[name][-1])), name
    lists = {"steps", "workers", "samples"}
    assert documented | lists == set(summary)
    for name in lists:
        assert set(rows(headed(text, name.capitalize()))) == set(summary[name][0]), name
    assert set(summary["latency_ms"]) <= set(re.findall(r"`(\w+)`", headed(text, "Rate and latency")))
    assert set(summary["thresholds"][0]) <= set(re.findall(r"`(\w+)`", rows(text)["thresholds"][-1]))


def test_every_field_of_an_event_is_documented_and_no_other(dry_run: Path) -> None:
    event = json.loads((dry_run / "events").read_text().splitlines()[0])
    assert set(rows((REFERENCE / "events.md").read_text())) == {
        *event,
        *HERD_FIELDS,
        *HOST_FIELDS,
        *SIZE_FIELDS,
    }


def test_every_field_of_a_json_metrics_line_is_documented(dry_run: Path) -> None:
    line = json.loads((dry_run / "metrics").read_text().splitlines()[0])
    section = headed((REFERENCE / "metrics.md").read_text(), "JSON lines")
    assert set(line) <= set(re.findall(r"`(\w+)`", section))


def test_every_prometheus_metric_is_documented_and_no_other() -> None:
    """By the names in the source, to which Prometheus adds what the kind of metric ends in."""
    sources = "".join(path.read_text() for path in (ROOT / "lib").rglob("*.py"))
    known = set(re.findall(r'"(ocidriver_\w+)"', sources)) - {"ocidriver_lib"}  # the name of the package
    section = headed((REFERENCE / "metrics.md").read_text(), "Prometheus metrics")
    assert {re.sub(r"_(total|info)$", "", name) for name in rows(section)} == known != set()

"""The command line: forms, checks, help, exit statuses of what is wrong before any load."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
from pathlib import Path

import pytest

from lib import cli
from lib.cli import main
from lib.options.settings import Settings
from lib.options.subcommands import SUBCOMMANDS
from tests.support.driving import command
from tests.support.paths import SCRIPT


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The Settings of each command line that came through."""
    seen: list[Settings] = []

    def run(settings: Settings, command: tuple[str, ...], *, show: bool) -> int:
        assert (command[1:], show) != ((), False)
        seen.append(settings)
        return 0

    monkeypatch.setattr("lib.run.run", run)
    return seen


URLS = ["--pullthrough-url", "cache:8080", "--registry-url", "up:5000"]
VALUES = {
    "--pullthrough-url": "cache:8080",
    "--registry-url": "up:5000",
    "--patterns": "-0001,-0002, -0003,,",
    "--iteration-seconds": "30",
    "--tally-seconds": "5",
    "--metrics-file": "/tmp/metrics",
    "--log-file": "/tmp/log",
    "--filter": "-v.*",
}
SWITCHES = ["--prune", "--dry-run", "--shuffle"]


def test_the_go_drivers_eleven_options_in_both_forms_and_any_order(parsed: list[Settings]) -> None:
    dice = random.Random(1)
    for equals in itertools.product([True, False], repeat=4):
        forms = [
            [f"{name}={value}"] if equals[index % 4] else [name, value]
            for index, (name, value) in enumerate(VALUES.items())
        ] + [[name] for name in SWITCHES]
        dice.shuffle(forms)
        assert main([word for form in forms for word in form]) == 0
    assert len(parsed) == 16
    for settings in parsed:
        assert (settings.pullthrough.url, settings.registry.url) == ("http://cache:8080", "http://up:5000")
        assert settings.patterns == ("-0001", "-0002", "-0003")
        assert (settings.iteration_seconds, settings.tally_seconds) == (30, 5)
        assert (settings.metrics_file, settings.log_file, settings.filter) == (
            "/tmp/metrics",
            "/tmp/log",
            "-v.*",
        )
        assert (settings.prune, settings.dry_run, settings.shuffle) == (True, True, True)


def test_defaults(parsed: list[Settings]) -> None:
    assert main([*URLS, "--patterns", "a"]) == 0
    (settings,) = parsed
    assert (settings.iteration_seconds, settings.tally_seconds, settings.passes) == (60, 15, None)
    assert (settings.metrics_file, settings.log_file) == ("-", "-")
    assert (settings.prune, settings.dry_run, settings.shuffle, settings.filter) == (
        False,
        False,
        False,
        None,
    )
    assert (settings.client, settings.layout.name, settings.prune_via) == ("auto", "ociregistry", "auto")
    assert (settings.pull_timeout, settings.grace, settings.batch) == (300, 10, 1)
    assert (settings.metrics_format, settings.metrics_listen, settings.annotations) == ("tsv", None, "auto")
    assert settings.upstream_name == "up:5000"


@pytest.mark.parametrize(("words", "seconds"), [([], None), (["--iteration-seconds=60"], 60)])
def test_workers_of_fixed_work_start_together_unless_told_otherwise(
    words: list[str], seconds: float | None, parsed: list[Settings]
) -> None:
    assert main([*URLS, "--patterns", "a", "--passes=3", *words]) == 0
    assert (parsed[0].passes, parsed[0].iteration_seconds) == (3, seconds)


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--prune=true"], True), (["--prune=false"], False), (["--prune"], True), ([], False)],
)
def test_switches_take_a_value(words: list[str], value: bool, parsed: list[Settings]) -> None:
    assert main([*URLS, *words, "--patterns", "-0001"]) == 0
    assert parsed[0].prune is value


def test_patterns_may_be_repeated(parsed: list[Settings]) -> None:
    main([*URLS, "--patterns", "-0001", "--patterns=-0002,a b"])
    assert parsed[0].patterns == ("-0001", "-0002", "a b")


def test_the_metrics_endpoint_is_on_loopback_unless_a_host_is_written(parsed: list[Settings]) -> None:
    for text in (":9100", "9100", "0.0.0.0:9100"):
        main([*URLS, "--patterns", "a", "--metrics-listen", text])
    shown = [settings.as_json()["metrics_listen"] for settings in parsed]
    assert shown == ["127.0.0.1:9100", "127.0.0.1:9100", "0.0.0.0:9100"]


WRONG = [
    ([], "Missing option '--pullthrough-url'"),
    (URLS, "either --patterns"),
    ([*URLS, "--patterns", " , "], "either --patterns"),
    ([*URLS, "--patterns", "a", "--workers", "2"], "either --patterns"),
    ([*URLS, "--workers", "0"], "--workers"),
    ([*URLS, "--patterns", "("], "not a valid RE2 regex"),
    ([*URLS, "--patterns", "a", "--filter", "*"], "--filter: '*' is not a valid RE2 regex"),
    ([*URLS, "--patterns", "a", "--iteration-seconds", "0"], "more than zero"),
    ([*URLS, "--patterns", "a", "--tally-seconds", "0.001"], "give 0.01s or more"),
    ([*URLS, "--patterns", "a", "--iteration-seconds", "nan"], "'nan' is not a time"),
    ([*URLS, "--patterns", "a", "--passes", "0"], "--passes"),
    ([*URLS, "--patterns", "a", "--passes", "1.5"], "--passes"),
    ([*URLS, "--patterns", "a", "--passes", "3", "--rate", "9"], "--passes and --rate cannot be combined"),
    ([*URLS, "--patterns", "a", "--passes", "3", "--iteration-seconds", "0"], "more than zero"),
    ([*URLS, "--patterns", "a", "--tally-seconds", "soon"], "'soon' is not a time"),
    ([*URLS, "--patterns", "a", "--grace", "-1"], "'-1' is not a time"),
    ([*URLS, "--patterns", "a", "--client", "docker"], "--client: 'docker' is unknown"),
    ([*URLS, "--patterns", "a", "--containerd-socket", " "], "--containerd-socket: give the path of a socket"),
    ([*URLS, "--patterns", "a", "--prune=perhaps"], "--prune"),
    ([*URLS, "--patterns", "a", "--prune-via", "luck"], "--prune-via"),
    ([*URLS, "--patterns", "a", "--layout", "direct", "--prune"], "delete the upstream's own images"),
    ([*URLS, "--patterns", "a", "--batch", "0"], "--batch"),
    ([*URLS, "--patterns", "a", "--threshold", "speed>9"], "'speed' is not a quantity"),
    ([*URLS, "--patterns", "a", "--platform", "amd64"], "OS/ARCH"),
    ([*URLS, "--patterns", "a", "--image-list", "/does/not/exist"], "--image-list: cannot read"),
    ([*URLS, "--patterns", "a", "--log-file", "/proc/no/file"], "--log-file: cannot write"),
    ([*URLS, "--patterns", "a", "--start-at", "whenever"], "--start-at"),
    ([*URLS, "--patterns", "a", "--metrics-listen", "host"], "--metrics-listen: 'host' is not a valid HOST:PORT"),
    ([*URLS, "--patterns", "a", "--metrics-listen", ":99999"], "--metrics-listen: ':99999' is not a valid HOST:PORT"),
    ([*URLS, "--patterns", "a", "--metrics-format", "xml"], "--metrics-format"),
    ([*URLS, "--patterns", "a", "--annotations", "gitlab"], "--annotations"),
    ([*URLS, "--patterns", "a", "--summary-file", "/tmp/x", "--events-file", "/tmp/x"], "is given twice"),
    ([*URLS, "--patterns", "a", "--log-file", "/tmp/x", "--events-file", "/tmp/x/y"], "/tmp/x/y is in a folder"),
    ([*URLS, "--patterns", "a", "--deal", "all"], "--deal all and --patterns cannot be combined"),
    ([*URLS, "--workers", "2", "--deal", "some"], "--deal"),
    ([*URLS, "--patterns", "a", "--herd"], "--herd and --patterns cannot be combined"),
    ([*URLS, "--herd"], "either --patterns"),
    ([*URLS, "--workers", "2", "--herd", "--rate", "9"], "--herd and --rate cannot be combined"),
    ([*URLS, "--workers", "2", "--herd", "--stage", "9s:9/s"], "--herd and --stage with rates cannot be combined"),
    ([*URLS, "--workers", "2", "--herd", "--batch", "2"], "--herd and --batch cannot be combined"),
    ([*URLS, "--workers", "2", "--herd", "--deal", "split"], "--herd gives every worker all images"),
    ([*URLS, "--patterns", "a", "--unknown"], "--unknown"),
    ([*URLS, "--patterns", "a", "stray"], "stray"),
    (["frobnicate"], "unknown command 'frobnicate'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"), WRONG, ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else ""
)
def test_wrong_usage_is_one_line_and_exit_2(
    words: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words or ["--registry-url", "up:5000"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("ocidriver: ")
    assert told in err


def test_pruning_what_is_the_upstream_itself_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "--pullthrough-url",
                "up:5000",
                "--registry-url",
                "http://up:5000/",
                "--patterns",
                "a",
                "--prune",
            ]
        )
        == 2
    )
    assert "delete the upstream's images" in capfd.readouterr().err


def test_no_arguments_show_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    bare = capfd.readouterr()
    assert main(["--help"]) == 0
    assert capfd.readouterr() == bare
    assert bare.err == ""
    for name in [*VALUES, *SWITCHES, "--workers", "--threshold", "--start-at"]:
        assert name in bare.out


def test_the_help_needs_no_heavy_module() -> None:
    code = "import sys; from lib.cli import main; main(['--help']); print(sorted(sys.modules))"
    python = command()[0]
    done = subprocess.run([python, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("[")[2]
    for heavy in (
        "aiohttp",
        "asyncio",
        "prometheus_client",
        "sh'",
        "hdrh",
        "tenacity",
        "dateutil",
        "numpy",
        "rich",
    ):
        assert f"'{heavy}" not in loaded


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("ocidriver do", ["doctor"]),
        ("ocidriver --pull-t", ["--pull-timeout"]),
        ("ocidriver lab --cache e", ["embedded"]),
        ("ocidriver doctor --prune-v", ["--prune-via"]),
    ],
)
def test_shell_completion(typed: str, completed: list[str]) -> None:
    environment = {
        **os.environ,
        "_OCIDRIVER_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run(command(), env=environment, capture_output=True, text=True, check=True)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    environment = {**os.environ, "_OCIDRIVER_COMPLETE": f"{shell}_source"}
    done = subprocess.run(command(), env=environment, capture_output=True, text=True, check=True)
    assert "ocidriver" in done.stdout
    assert "_OCIDRIVER_COMPLETE" in done.stdout


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("ocidriver, version ")


def test_from_any_folder_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "driver").symlink_to(SCRIPT)
    done = subprocess.run(
        [command()[0], tmp_path / "driver", "--help"], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: ocidriver")


def test_without_its_packages_it_says_how_to_install_them(tmp_path: Path) -> None:
    copy = tmp_path / "ocidriver.py"
    copy.write_text(SCRIPT.read_text())
    done = subprocess.run(
        [command()[0], "-I", "-S", copy, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install -r" in done.stderr


def test_without_its_packages_it_goes_on_in_the_virtual_environment(tmp_path: Path) -> None:
    copy = tmp_path / "ocidriver.py"
    copy.write_text(SCRIPT.read_text())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "in the environment: $2"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [command()[0], "-I", "-S", copy, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "in the environment: --help\n"


def test_a_fault_of_its_own_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli, "make_settings", broken)
    assert main([*URLS, "--patterns", "a"]) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "oops" in err
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command("--help"), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


@pytest.mark.parametrize("name", [None, *SUBCOMMANDS])
def test_the_help_does_not_need_docstrings(name: str | None) -> None:
    """PYTHONOPTIMIZE=2 leaves them out."""
    words = command(*([] if name is None else [name]), "--help")
    shown = [
        subprocess.run(
            words, capture_output=True, text=True, check=True, timeout=100, env={**os.environ, **more}
        ).stdout
        for more in ({}, {"PYTHONOPTIMIZE": "2"})
    ]  # fmt: skip
    assert shown[0] == shown[1]
    assert len(shown[0].split("\n\n")[1]) > 30  # the description

"""No command writes to a file that it reads: each input with each output of every command, under many names."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lib import cli
from lib.lab import demo
from lib.options.files import Reads, Writes
from lib.options.subcommands import SUBCOMMANDS
from tests.support.driving import command

RUN = "the load test"
DEMO = "python -m lib.lab.demo"
COMMANDS: dict[str, click.Command] = {
    RUN: cli._command(),
    DEMO: demo.main,
    **{name: subcommand.load() for name, subcommand in SUBCOMMANDS.items()},
}
# What a command needs besides the files.
NEEDED = {
    RUN: ["--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run", "--passes=1"],
    "doctor": ["doctor", "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--workers=1", "--dry-run"],
    "capacity": ["capacity", "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--slo=p95<1s", "--dry-run",
                 "--max-rate=1", "--from=1", "--trial=1s"],
    "populate": ["populate", "--registry-url=127.0.0.1:1"],
    "report": ["report"],
    "compare": ["compare"],
    "merge": ["merge"],
}  # fmt: skip
# Parameters that look as if they named a file and do not: the demo names the files in its folder itself, and a search
# refuses what it would not write, whatever its value (tests/capacity/test_command.py).
NOT_A_FILE = {(DEMO, "folder"), ("capacity", "pieces_file")}
_LIKE_A_FILE = re.compile(r"(^|_)(file|files|path|list|cert|key|socket|output|folder|summary|events)$")


def names_a_file(parameter: click.Parameter) -> bool:
    """Whether a parameter takes a path, by its type, its metavar or its name."""
    by_words = bool(re.search(r"FILE|PATH|FOLDER|\.json", parameter.metavar or "")) or bool(
        _LIKE_A_FILE.search(parameter.name or "")
    )
    return isinstance(parameter.type, (click.Path, click.File)) or (
        by_words and not isinstance(parameter.type, (click.types.BoolParamType, click.IntRange))
    )


def undeclared(name: str, command: click.Command) -> list[str]:
    return [
        f"{name}: {parameter.name}"
        for parameter in command.params
        if names_a_file(parameter)
        and not isinstance(parameter.type, (Reads, Writes))
        and (name, parameter.name) not in NOT_A_FILE
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_parameter_that_names_a_file_says_what_is_done_with_it(name: str) -> None:
    assert undeclared(name, COMMANDS[name]) == []


@pytest.mark.parametrize(
    "parameter",
    [
        click.Option(["--cache-file"], type=click.Path()),
        click.Option(["--trace-file"]),
        click.Option(["--trace"], metavar="FILE"),
        click.Argument(["summary"], type=click.File()),
    ],
)
def test_a_new_parameter_that_says_nothing_is_found(parameter: click.Parameter) -> None:
    assert undeclared("new", click.Command("new", params=[parameter])) == [f"new: {parameter.name}"]


def word(parameter: click.Parameter, path: object) -> str:
    return str(path) if isinstance(parameter, click.Argument) else f"{parameter.opts[-1]}={path}"


def declared(kind: type) -> Iterator[tuple[str, click.Parameter]]:
    for name, each in COMMANDS.items():
        for parameter in each.params:
            if isinstance(parameter.type, kind):
                yield name, parameter


PAIRS = [
    pytest.param(name, read, write, id=f"{name}: {read.name} and {write.name}")
    for (name, read), (other, write) in itertools.product(declared(Reads), declared(Writes))
    if name == other
]


def words_for(
    name: str, read: click.Parameter, path: object, write: click.Parameter, other: object
) -> list[str]:
    """A command line with this input and this output. Arguments before the input are files of their own."""
    before = list(itertools.takewhile(lambda each: each is not read, COMMANDS[name].params))
    fillers = [
        "filler" for each in before if isinstance(read, click.Argument) and isinstance(each, click.Argument)
    ]
    return [*NEEDED[name], *fillers, word(read, path), word(write, other)]


def test_there_are_pairs_of_every_command_that_has_both() -> None:
    names = {each.values[0] for each in PAIRS}
    assert names == {RUN, "capacity", "doctor", "report", "compare", "merge"}
    assert len(PAIRS) >= 2 * 5 * 5 + 2 + 2


@pytest.mark.parametrize(("name", "read", "write"), PAIRS)
def test_an_output_is_never_an_input(
    name: str,
    read: click.Parameter,
    write: click.Parameter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By each of these names for the output, and the same names for the input."""
    path = tmp_path / "input"
    path.write_text("precious")
    (tmp_path / "link").symlink_to("input")
    (tmp_path / "link to a link").symlink_to(tmp_path / "link")
    os.link(path, tmp_path / "hard")
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder/..")
    monkeypatch.chdir(tmp_path / "folder")
    with path.open() as file:
        number = file.fileno()
        names = [
            path, "../input", tmp_path / "folder" / ".." / "input", f"{tmp_path}//./input",
            tmp_path / "other" / "input",
            tmp_path / "link", tmp_path / "link to a link", tmp_path / "hard", f"/dev/fd/{number}",
            f"/proc/self/fd/{number}", f"/proc/{os.getpid()}/cwd/../input",
        ]  # fmt: skip
        for one, other in [(path, each) for each in names] + [(each, path) for each in names]:
            status = cli.main(words_for(name, read, one, write, other))
            out, err = capfd.readouterr()
            assert (status, out) == (2, ""), (one, other)
            label = read.opts[-1] if isinstance(read, click.Option) else (read.name or "").upper()
            told = f"is read as well ({label}); name another file to write to\n"
            assert err.startswith(f"ocidriver: {write.opts[-1]}: "), err
            assert err.endswith(told), err
    assert path.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["folder", "hard", "input", "link", "link to a link", "other"]


OUTPUTS = [parameter for name, parameter in declared(Writes) if name == RUN]


@pytest.mark.parametrize("write", OUTPUTS, ids=lambda each: each.name)
@pytest.mark.parametrize(
    "variable", ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_DIR", "SSL_CERT_FILE", "XDG_RUNTIME_DIR"]
)
def test_a_file_that_the_environment_names_is_an_input(
    variable: str, write: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    below = {
        "DOCKER_CONFIG": "config.json",
        "SSL_CERT_DIR": "authority.pem",
        "XDG_RUNTIME_DIR": "containers/auth.json",
    }.get(variable, "")
    path = tmp_path / "named" / below if below else tmp_path / "named"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    assert cli.main([*NEEDED[RUN], word(write, path)]) == 2
    assert "is read as well (" in capfd.readouterr().err
    assert path.read_text() == "{}"


@pytest.mark.parametrize("write", OUTPUTS, ids=lambda each: each.name)
@pytest.mark.parametrize("client", ["{0}/crane", "crane", "auto"])
def test_the_client_is_an_input(
    client: str, write: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "crane"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert cli.main([*NEEDED[RUN], f"--client={client.format(tmp_path)}", word(write, path)]) == 2
    assert "is read as well (the client)" in capfd.readouterr().err
    assert path.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize("write", OUTPUTS, ids=lambda each: each.name)
def test_the_image_list_on_stdin_is_an_input(write: click.Parameter, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_text("app:v1\n")
    for listed in ("-", "/dev/stdin", "/proc/self/fd/0"):
        for name in (str(path), "/dev/stdin"):
            with path.open() as file:
                done = subprocess.run(
                    command(*NEEDED[RUN], f"--image-list={listed}", word(write, name)),
                    stdin=file, capture_output=True, text=True, check=False, timeout=100,
                )  # fmt: skip
            assert (done.returncode, done.stdout) == (2, ""), done.stderr
            assert "is read as well (--image-list)" in done.stderr
    assert path.read_text() == "app:v1\n"


@pytest.mark.parametrize("words", [
    (*NEEDED[RUN], "--image-list={0}"), (*NEEDED["doctor"], "--image-list={0}"), (*NEEDED[RUN], "--ca-file={0}"),
    ("report", "{0}"), ("report", "none", "{0}"), ("compare", "{0}", "none"), ("compare", "none", "{0}"),
    ("populate", "--registry-url=127.0.0.1:1", "--client-key={0}"),
])  # fmt: skip
def test_a_stream_that_goes_to_an_input_is_not_written(words: tuple[str, ...], tmp_path: Path) -> None:
    """As with `>> FILE`: the error goes to the other stream, or nowhere."""
    path = tmp_path / "input"
    path.write_text("app:v1\n")
    argv = command(*(each.format(path) for each in words))
    told = f"{path}, which is read ("
    with path.open("a") as file:
        out = subprocess.run(argv, stdout=file, stderr=subprocess.PIPE, text=True, check=False, timeout=100)
        err = subprocess.run(argv, stderr=file, stdout=subprocess.PIPE, text=True, check=False, timeout=100)
        both = subprocess.run(argv, stderr=file, stdout=file, check=False, timeout=100)
    assert (out.returncode, err.returncode, both.returncode) == (2, 2, 2)
    assert f"stdout goes to {told}" in out.stderr
    assert f"stderr goes to {told}" in err.stdout
    assert path.read_text() == "app:v1\n"


def test_devices_and_terminals_may_be_read_and_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [*NEEDED[RUN], *(word(each, "/dev/null") for each in OUTPUTS), "--image-list=/dev/null"]
    assert cli.main(words) == 1
    assert "names no images" in capfd.readouterr().err
    master, terminal = os.openpty()
    try:
        name = os.ttyname(terminal)
        os.write(master, b"app:v1\n\x04")
        assert cli.main([*NEEDED[RUN], f"--log-file={name}", "--metrics-file=-", f"--image-list={name}"]) == 0
    finally:
        os.close(master)
        os.close(terminal)


# --- outputs among themselves


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations(OUTPUTS, 2)), ids=lambda each: getattr(each, "name", "")
)
@pytest.mark.parametrize("exists", [True, False])
def test_outputs_share_a_file_only_if_they_write_lines(
    one: click.Parameter, other: click.Parameter, exists: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (tmp_path / "images").write_text("app:v1\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "same").symlink_to("folder")
    names: list[tuple[object, object]] = [(tmp_path / "folder" / "out", tmp_path / "same" / "out")]
    if exists:
        (tmp_path / "folder" / "out").write_text("earlier")
        os.link(tmp_path / "folder" / "out", tmp_path / "hard")
        names.append((tmp_path / "hard", tmp_path / "same" / "out"))
    shared = {one.name, other.name} == {"metrics_file", "log_file"}
    for first, second in names:
        words = [*NEEDED[RUN], f"--image-list={tmp_path}/images", word(one, first), word(other, second)]
        assert cli.main(words) == (0 if shared else 2)
        err = capfd.readouterr().err
        assert err == "" if shared else "is given twice (" in err


@pytest.mark.parametrize("write", OUTPUTS, ids=lambda each: each.name)
def test_the_summary_of_a_github_job_is_an_output(
    write: click.Parameter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (tmp_path / "images").write_text("app:v1\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "job"))
    words = [*NEEDED[RUN], f"--image-list={tmp_path}/images", "--annotations=github"]
    assert cli.main([*words, word(write, tmp_path / "job")]) == 2
    assert "is given twice (" in capfd.readouterr().err
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "images"))
    assert cli.main(words) == 2
    assert f"GITHUB_STEP_SUMMARY: {tmp_path}/images is read as well" in capfd.readouterr().err
    assert (tmp_path / "images").read_text() == "app:v1\n"


def test_files_of_different_folders_with_the_same_name_are_different(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").write_text("app:v1\n")
    outputs = [word(each, tmp_path / f"{each.name}/images") for each in OUTPUTS]
    assert cli.main([*NEEDED[RUN], f"--image-list={tmp_path}/images", *outputs]) == 0
    assert all("made the folder" in line for line in capfd.readouterr().err.splitlines())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_bind_mount_is_another_name(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("app:v1\n")
    (tmp_path / "mounted").touch()
    script = f'mount --bind {tmp_path}/images {tmp_path}/mounted && exec "$@"'
    words = command(*NEEDED[RUN], f"--image-list={tmp_path}/images", f"--log-file={tmp_path}/mounted")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if "mount" in done.stderr and "ocidriver" not in done.stderr:
        pytest.skip(f"this machine mounts nothing: {done.stderr}")
    assert (done.returncode, "is read as well (--image-list)" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "images").read_text() == "app:v1\n"

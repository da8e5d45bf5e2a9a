"""The files that commands read and write. No command writes to a file that it reads, under whatever name.

Every option or argument that names a file has the type `Reads` or `Writes`. `check_apart` runs before each command. It
compares devices and inodes, so it sees through links, other spellings, `/dev/fd/N` and bind mounts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..choices import NONE
from ..errors import UsageError
from ..streams import STDOUT, is_stdout


class _Named(click.Path):
    """Takes the name of a file as it is. Whoever opens the file reports what is wrong with it."""

    def __init__(self, path_type: type[Any] = Path) -> None:
        super().__init__(path_type=path_type, readable=False, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if "\0" in os.fspath(value):
            self.fail("a file's name cannot contain a null character", param, ctx)
        if not os.fspath(value):
            self.fail("a file's name cannot be empty", param, ctx)
        return super().convert(value, param, ctx)


class Reads(_Named):
    """The type of a parameter that names a file which the command reads. `-` is stdin if the command takes it."""


class Writes(_Named):
    """The type of a parameter that names a file which the command writes. `-` is stdout.

    `lines`: it is written line by line, so other outputs of this kind may share the file.
    """

    def __init__(self, path_type: type[Any] = Path, *, lines: bool = False) -> None:
        super().__init__(path_type)
        self.lines = lines


class _File(NamedTuple):
    """A file, and the option, argument or variable that names it. `path` is a descriptor for a standard stream."""

    name: str
    path: str | int
    lines: bool = False

    @property
    def shown(self) -> str:
        return self.name if isinstance(self.path, int) else f"{self.name}: {self.path}"


def check_apart(context: click.Context) -> None:
    """Raises `UsageError` if an output of the command is one of its inputs, or if two outputs replace one another."""
    inputs, outputs = list(_inputs(context)), list(_outputs(context))
    read: dict[Hashable, _File] = {}
    for each in inputs:
        key = _identity(each.path)
        if key is not None:
            read.setdefault(key, each)
    _check_streams(read)
    for each in outputs:
        found = read.get(_identity(each.path))
        if found is not None:
            raise UsageError(f"{each.shown} is read as well ({found.name}); name another file to write to")
    _check_outputs(outputs)
    _check_folders(outputs)


def _check_streams(read: Mapping[Hashable, _File]) -> None:
    """Raises `UsageError` if stdout or stderr goes to an input. Nothing more is then written to that stream."""
    wrong = [(number, read[key]) for number in (1, 2) if (key := _identity(number)) in read]
    if not wrong:
        return
    for number, _ in wrong:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(null if number == 1 or len(wrong) == 2 else 1, number)
        os.close(null)
    number, found = wrong[0]
    stream = "stdout" if number == 1 else "stderr"
    raise UsageError(f"{stream} goes to {found.path}, which is read ({found.name}); send it to another file")


def _check_outputs(outputs: Sequence[_File]) -> None:
    """Raises `UsageError` if outputs share a file, unless it is a stream or a device, or all write lines."""
    seen: dict[Hashable, _File] = {}
    for each in [_File("stderr", 2, lines=True), *outputs]:
        if each.path == 1 or (isinstance(each.path, str) and is_stdout(each.path)):
            continue
        key = _identity(each.path)
        if key is None or key[0] == _PIPE:
            continue
        first = seen.setdefault(key, each)
        if first is not each and not (first.lines and each.lines):
            raise UsageError(f"{each.shown} is given twice ({first.name}); give them different files")


def _check_folders(outputs: Sequence[_File]) -> None:
    """Raises `UsageError` if an output lies in a folder that is also given as an output."""
    given = {os.path.realpath(each.path) for each in outputs if isinstance(each.path, str)}
    for each in outputs:
        if isinstance(each.path, str) and not is_stdout(each.path):
            path = Path(os.path.realpath(each.path))
            if any(str(folder) in given for folder in path.parents):
                raise UsageError(
                    f"{each.shown} is in a folder that is also given as a file of this run; name another file"
                )


_FILE, _PIPE, _DISK, _NEW = "file", "pipe", "disk", "new"


def _identity(path: str | int) -> tuple[Hashable, ...] | None:
    """Returns what two names of one file have in common. None: a terminal or another device, where nothing is lost.

    A file that does not exist is known by its name in the folder that exists.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return _new(path) if isinstance(path, str) else None
    if stat.S_ISREG(status.st_mode):
        return _FILE, status.st_dev, status.st_ino
    if stat.S_ISFIFO(status.st_mode):
        return _PIPE, status.st_dev, status.st_ino
    return (_DISK, status.st_rdev) if stat.S_ISBLK(status.st_mode) else None


def _new(path: str) -> tuple[Hashable, ...] | None:
    folder, missing = Path(os.path.realpath(path)), []
    while folder != folder.parent:
        missing.append(folder.name)
        folder = folder.parent
        try:
            status = os.stat(folder)
        except OSError:
            continue
        return _NEW, status.st_dev, status.st_ino, *missing
    return None


def _inputs(context: click.Context) -> Iterator[_File]:
    yield from _given(context, Reads)
    if "ca_file" in context.params:  # the command sends requests to registries
        from ..http.credential_files import config_files
        from ..http.tls import authorities_files, files_in_folders

        yield from (_File("the logins", str(path)) for path in config_files(os.environ))
        authorities = (*authorities_files(os.environ), *files_in_folders(os.environ))
        yield from (_File("trusted authorities", path) for path in authorities)
    client = context.params.get("client")
    if client:
        from ..clients.find import executables

        yield from (_File("the client", path) for path in executables(client))


def _outputs(context: click.Context) -> Iterator[_File]:
    yield from _given(context, Writes)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and context.params.get("annotations", NONE) != NONE:
        yield _File("GITHUB_STEP_SUMMARY", summary)


def _given(context: click.Context, kind: type[Reads] | type[Writes]) -> Iterator[_File]:
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if not isinstance(parameter.type, kind) or value is None:
            continue
        name = (parameter.name or "").upper() if isinstance(parameter, click.Argument) else parameter.opts[-1]
        lines = isinstance(parameter.type, Writes) and parameter.type.lines
        for path in value if isinstance(value, (tuple, list)) else (value,):
            standard = 0 if kind is Reads else 1
            yield _File(name, standard if str(path) == STDOUT else os.fspath(path), lines)

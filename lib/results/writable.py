"""Whether a file can be written, found out without writing, making or emptying it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from ..options.settings import Settings
from ..streams import is_stdout


def unwritable_files(settings: Settings) -> dict[str, str]:
    """Of the files that a run writes, those that it cannot: their options, each with the message that says so."""
    replaced = {"--summary-file": settings.summary_file, "--report-file": settings.report_file}
    lines = {
        "--metrics-file": settings.metrics_file,
        "--log-file": settings.log_file,
        "--events-file": settings.events_file,
    }
    found = {}
    for option, path in {**replaced, **lines}.items():
        reason = None if path is None else unwritable(path, replaced=option in replaced)
        if reason is not None:
            found[option] = cannot_write(option, path, reason)
    return found


def cannot_write(option: str, path: object, reason: str) -> str:
    """The message about the file of an option that cannot be written."""
    return f"{option}: cannot write {path}: {reason}"


def unwritable(path: str | Path, *, replaced: bool) -> str | None:
    """Why this file, or a folder that it needs, cannot be written; None if it can.

    `replaced`: a new file takes its place, so its folder must be writable, not the file itself.
    """
    if is_stdout(path):
        return None
    try:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return _cannot_be_made(os.fspath(path))
        if stat.S_ISREG(mode) and replaced:
            _try_folder(os.path.dirname(os.path.realpath(path)))
        elif stat.S_ISREG(mode) or stat.S_ISCHR(mode):
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
        else:
            return _cannot_be_opened(path, mode)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _cannot_be_opened(path: str | Path, mode: int) -> str | None:
    """For what may not be opened to try it: whoever reads a named pipe would take that for its end."""
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    if stat.S_ISSOCK(mode):
        return os.strerror(errno.ENXIO)
    return None if os.access(path, os.W_OK) else os.strerror(errno.EACCES)


def _cannot_be_made(text: str) -> str | None:
    """The reason, or OSError, if the file cannot be made along with the folders that it needs."""
    path = Path(text)
    if not path.name or text.endswith(os.sep):
        return os.strerror(errno.EISDIR if text else errno.ENOENT)
    if path.is_symlink():  # what it leads to is made, but no folder for that
        path = Path(os.path.realpath(path))
        missing, folder = [path.name], path.parent
    else:
        missing, folder = [path.name], path.parent
        while not os.path.lexists(folder):
            missing.append(folder.name)
            folder = folder.parent
    if not folder.is_dir():
        return os.strerror(errno.ENOTDIR if os.path.lexists(folder) else errno.ENOENT)
    longest = os.pathconf(folder, "PC_NAME_MAX")
    if any(len(os.fsencode(name)) > longest for name in missing):
        return os.strerror(errno.ENAMETOOLONG)
    _try_folder(folder)
    return None


def _try_folder(folder: str | Path) -> None:
    """OSError if no file can be made here. `access` would not do: it promises root files in /proc.

    The file has no name, and is gone at once. Only on filesystems without such files it has a name for a moment.
    """
    tempfile.TemporaryFile(prefix=".ocidriver.", dir=folder).close()

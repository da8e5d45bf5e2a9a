"""Checks whether a file can be written, without writing, creating or emptying it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from ..options.settings import Settings
from ..streams import is_stdout, say

# These files are replaced at the end; the others are written line by line.
_REPLACED: Final = ("summary", "report")


def unwritable_files(settings: Settings) -> dict[str, str]:
    """Returns, by option, an error message for each file of a run that cannot be written."""
    found = {}
    for what, path in settings.written.items():
        reason, option = unwritable(path, replaced=what in _REPLACED), f"--{what}-file"
        if reason is not None:
            found[option] = cannot_write(option, path, reason)
    return found


def missing_folders(settings: Settings) -> dict[str, Path]:
    """Returns, by option, the folder of each file of a run whose folder does not exist."""
    folders = {f"--{what}-file": Path(path).parent for what, path in settings.written.items()}
    return {option: folder for option, folder in folders.items() if not folder.exists()}


def make_folder(path: str | Path, option: str) -> None:
    """Makes the folder of a file if it does not exist, and says so. Raises `OSError` if it cannot."""
    folder = Path(path).parent
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        say(made_folder(folder, option))


def made_folder(folder: Path, options: str) -> str:
    """Returns the message about a folder that was made for the files of these options."""
    return f"{options}: made the folder {folder}, which did not exist"


def cannot_write(option: str, path: object, reason: str) -> str:
    """Returns the error message for an option's file that cannot be written."""
    return f"{option}: cannot write {path}: {reason}; name a file in a folder that you may write to"


def unwritable(path: str | Path, *, replaced: bool) -> str | None:
    """Returns why a file, or a folder that it needs, cannot be written, or None if it can.

    `replaced`: a new file replaces it, so its folder must be writable, not the file itself.
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
    """Returns the reason for a file that must not be opened: closing a named pipe would end its reader's input."""
    if stat.S_ISDIR(mode):
        return os.strerror(errno.EISDIR)
    if stat.S_ISSOCK(mode):
        return os.strerror(errno.ENXIO)
    return None if os.access(path, os.W_OK) else os.strerror(errno.EACCES)


def _cannot_be_made(text: str) -> str | None:
    """Returns why the file and its missing folders cannot be created, or None. May also raise `OSError`."""
    path = Path(text)
    if not path.name or text.endswith(os.sep):
        return os.strerror(errno.EISDIR if text else errno.ENOENT)
    if path.is_symlink():  # the link's target is created, but no folders for it
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
    """Creates and removes a temporary file. Raises `OSError` if that fails.

    `os.access` is not enough: for root, it claims that files can be created in /proc. The temporary file has no name,
    except for a moment on filesystems that do not support such files.
    """
    tempfile.TemporaryFile(prefix=".ocidriver.", dir=folder).close()

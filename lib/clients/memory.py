"""The memory file system, where pulled images lie for a moment instead of on a disk.

skopeo and containerd flush every layer to its file system. On a disk, that takes longer than the pull of a small image.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - the folders in it are made for the user alone
# Bytes that have to be free there at the start of a run.
_ENOUGH: Final = 2 << 30
# Bytes that an image is taken to need until the first one was pulled.
_GUESS: Final = 256 << 20
# The folder for images in a worker's scratch folder.
_ON_DISK: Final = "images"
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")


def folder_in_memory(elsewhere: Callable[[Path], Path]) -> Path | None:
    """A folder of the run in memory; None if images do not belong there."""
    with suppress(OSError):
        return elsewhere(MEMORY) if memory_is_wanted() else None
    return None


def memory_is_wanted() -> bool:
    """Whether images belong in memory: there is room, and the user has not chosen another place with TMPDIR."""
    return "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and _free() >= _ENOUGH


class ImageFolders:
    """Says where each launch writes its images, and empties that folder afterwards. Threads share it.

    A launch writes to `memory`, if running launches leave room there. Each reserves as much as the largest image so far
    has needed, and together they take at most half of what is free. Any other launch writes to its worker's scratch
    folder. Without `memory`, all do.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._reserved: dict[str, int] = {}
        self._largest = 0
        self._lock = threading.Lock()

    def take(self, scratch: Path, images: int) -> Path:
        """The folder for a launch of the worker with this scratch folder. It does not exist yet."""
        if self._memory is not None:
            with self._lock:
                self._reserved.pop(scratch.name, None)
                wanted = images * (self._largest or _GUESS)
                if sum(self._reserved.values()) + wanted <= _free() // 2:
                    self._reserved[scratch.name] = wanted
                    return self._memory / scratch.name
        return scratch / _ON_DISK

    def empty(self, scratch: Path, images: int) -> None:
        """Removes what the worker's last launch has written to memory. Its scratch folder is the driver's to empty."""
        if self._memory is None:
            return
        in_memory = scratch.name in self._reserved
        folder = self._memory / scratch.name if in_memory else scratch / _ON_DISK
        each = _size(folder) // images
        if in_memory:
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            self._largest = max(self._largest, each)
            self._reserved.pop(scratch.name, None)


def _size(folder: Path) -> int:
    total = 0
    with suppress(OSError):
        for entry in os.scandir(folder):
            total += _size(Path(entry)) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
    return total


def _free() -> int:
    """Bytes that can be written to memory: the file system, the machine and the container have to have them."""
    try:
        return min(shutil.disk_usage(MEMORY).free, _available(), _below_the_limit())
    except (OSError, ValueError, IndexError):
        return 0


def _available() -> int:
    """Source: MemAvailable, in KiB (proc(5))."""
    return int(_MEMINFO.read_text().partition("MemAvailable:")[2].split(maxsplit=1)[0]) << 10


def _below_the_limit() -> int:
    """Source: memory.max and memory.current of the container (cgroup v2)."""
    with suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())
        return limit - int((_CGROUP / "memory.current").read_text())
    return 1 << 62

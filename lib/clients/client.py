"""The clients: argv for pull and delete, finding them, their version. Pure but for `find_client` and skopeo's list.

Pulled bytes are not kept: crane writes its tarball to /dev/null, skopeo a docker-archive to the same. Only skopeo's
`sync`, for several images in a launch, knows no such place: it writes to the worker's folder, which is emptied then.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..errors import UsageError

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm/v7", "armv6l": "arm/v6"}


class Client(Protocol):
    """What the driver needs of a tool. `scratch` is a folder of the worker's own, emptied after a failure."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def version(self) -> str: ...

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]: ...

    def leaves_files(self, images: int) -> bool:
        """Whether a pull of so many images fills `scratch` also where it succeeds."""
        ...

    def delete(self, reference: str, scratch: Path) -> list[str]: ...


def this_platform() -> str:
    """OS/ARCH of this machine in Go's words; containers are Linux's also where the driver does not run on it."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def parse_platform(text: str) -> str:
    """`OS/ARCH` or `OS/ARCH/VARIANT`; anything else is wrong usage."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(
        part.isascii() and part.replace("_", "").isalnum() for part in parts
    ):
        raise UsageError(f"--platform: '{text}' is not OS/ARCH, such as linux/amd64")
    return text

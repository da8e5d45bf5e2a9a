"""What a host is: its versions, and what its machine has."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from .. import __version__
from ..processes.cgroup import limits
from ..processes.cpu import cores
from .protocol import PROTOCOL, Driving, HostFacts

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE: Final = "/proc/self/ns/pid"
# What stands for "no limit" on open files.
_UNLIMITED: Final = 1 << 31


def host_facts(driving: Driving | None) -> HostFacts:
    """Returns the facts of this machine. `driving` is the run that it drives."""
    return HostFacts(
        version=__version__,
        protocol=PROTOCOL,
        python=platform.python_version(),
        distributed=_distributed(),
        node=platform.node(),
        machine=_machine(),
        cores=cores(),
        memory_bytes=_memory(),
        free_bytes=_free(),
        descriptors=_descriptors(),
        driving=driving,
    )


def _distributed() -> str:
    """Returns the version of distributed, which every worker has imported."""
    return str(getattr(sys.modules.get("distributed"), "__version__", ""))


def _machine() -> str:
    boot, namespace = platform.node(), ""
    with suppress(OSError):
        boot = _BOOT_ID.read_text().strip()
    with suppress(OSError):
        namespace = os.readlink(_PID_NAMESPACE)
    return f"{boot} {namespace}"


def _memory() -> int:
    """Returns the bytes of memory that this process may use: the limit of its cgroups, or all of the machine."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = limits().memory
    return min(whole, limit) if limit else whole


def _free() -> int:
    """Returns the bytes that are free for the files of a run."""
    with suppress(OSError):
        return shutil.disk_usage(tempfile.gettempdir()).free
    return 0


def _descriptors() -> int:
    """Returns the hard limit on open files. A run raises its own limit up to it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard

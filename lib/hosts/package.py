"""The name of this package, and the environment in which another Python finds it."""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import Final

# In a checkout, the package has another name than when it is installed.
PACKAGE: Final = __name__.split(".", 1)[0]
_ROOT: Final = str(Path(__file__).resolve().parents[2])


def installing() -> str:
    """Returns the command that installs what `--hosts` needs beside this package, and where to run it."""
    if PACKAGE == "ocidriver_lib":
        return f"in a clone of ocidriver, run {shlex.quote(sys.executable)} -m pip install '.[distributed]'"
    words = [sys.executable, "-m", "pip", "install", "-r", f"{_ROOT}/requirements-distributed.txt"]
    return f"run {shlex.join(words)}"


def environment() -> dict[str, str]:
    """Returns this process's environment. In a checkout, it says where the package is."""
    values = dict(os.environ)
    if _ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        before = values.get("PYTHONPATH")
        values["PYTHONPATH"] = f"{_ROOT}{os.pathsep}{before}" if before else _ROOT
    return values

"""The name of this package, and the environment in which another Python finds it."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Final

# In a checkout, the package has another name than when it is installed.
PACKAGE: Final = __name__.split(".", 1)[0]
_ROOT: Final = str(Path(__file__).resolve().parents[2])


def environment() -> dict[str, str]:
    """Returns this process's environment. In a checkout, it says where the package is."""
    values = dict(os.environ)
    if _ROOT not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        before = values.get("PYTHONPATH")
        values["PYTHONPATH"] = f"{_ROOT}{os.pathsep}{before}" if before else _ROOT
    return values

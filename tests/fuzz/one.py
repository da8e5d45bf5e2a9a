"""`python -m tests.fuzz.one TARGET OPTIONS`: fuzz one target; libFuzzer takes the options, and ends the process."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["lib"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[name])
    atheris.Fuzz()

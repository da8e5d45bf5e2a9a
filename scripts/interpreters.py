"""Runs the fast tests on every other Python that this machine has, each in a virtual environment of its own.

    .venv/bin/python scripts/interpreters.py [VERSION…]

The fast tests need no servers and no clients, and simulate no hundreds of runs (the marker `statistics`). Interpreters
are looked for on PATH and among those of pyenv. The environments lie in `.venv-interpreters`. One that is up to date is
used again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-interpreters"
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Of requirements-dev.txt, what the fast tests import.
_TEST_PACKAGES = (
    "hypothesis",
    "jsonschema",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "setuptools",
    "build",
)
FAST = (
    "tests/clients/test_failures.py",
    "tests/compare/test_compare.py",
    "tests/hosts/test_agent.py",
    "tests/http/test_credentials.py",
    "tests/http/test_tls.py",
    "tests/load",
    "tests/options/test_start_at.py",
    "tests/options/test_thresholds.py",
    "tests/processes/test_cgroup.py",
    "tests/progress/test_view.py",
    "tests/results",
    "tests/servers/test_layout.py",
    "tests/test_grammar.py",
)
# In the folders above, these run the whole program, or wait for the clock.
_SLOW = ("tests/load/test_open_model.py", "tests/results/test_schema.py")


def candidates(version: str) -> Iterator[str]:
    """Yields where a Python of this version may be, best first."""
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    builds = sorted((pyenv / "versions").glob(f"{version}.*"), key=_release, reverse=True)
    yield from (str(build / "bin" / "python") for build in builds)


def _release(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]


def find(version: str) -> str | None:
    """Returns a Python of this version that works. A shim of pyenv may not."""
    program = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in candidates(version):
        try:
            done = subprocess.run(
                [path, "-c", program], capture_output=True, text=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            return path
    return None


def packages() -> list[str]:
    """Returns the requirements of the fast tests, as pip takes them."""
    pinned = (ROOT / "requirements-dev.txt").read_text().splitlines()
    wanted = [line for line in pinned if line.partition("=")[0] in _TEST_PACKAGES]
    return ["-r", str(ROOT / "requirements.txt"), *wanted]


def set_up(version: str, python: str) -> Path | None:
    """Returns the Python of an environment with the packages; None, after a line that says why, if there is none."""
    folder = ENVIRONMENTS / version
    stamp, inside = folder / "stamp", folder / "bin" / "python"
    text = "\n".join((python, str(folder), *packages(), (ROOT / "requirements.txt").read_text()))
    digest = hashlib.sha256(text.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return inside
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    for argv in ([python, "-m", "venv", "--clear", str(folder)], [str(inside), *install, *packages()]):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            print(f"Python {version} ({python}): left out, as its packages cannot be installed: {reason}")
            return None
    stamp.write_text(digest)
    return inside


def run(version: str, python: Path) -> bool:
    """Runs the fast tests. Returns whether all passed."""
    print(f"Python {version}: the fast tests", flush=True)
    words = (
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "-n",
        str(2 * (os.cpu_count() or 1)),
        "-p",
        "no:cacheprovider",
        "-m",
        "not statistics",
        *FAST,
        *(f"--ignore={each}" for each in _SLOW),
    )
    return subprocess.run([str(python), *words], cwd=ROOT, check=False).returncode == 0


def main(wanted: Sequence[str]) -> int:
    own = "{}.{}".format(*sys.version_info[:2])
    found = {version: find(version) for version in wanted or VERSIONS if version != own}
    pythons = {version: path for version, path in found.items() if path is not None}
    if not pythons:
        print(f"no Python beside {own} was found, so the tests run on this one only")
    failed = []
    for version, path in pythons.items():
        inside = set_up(version, path)
        if inside is not None and not run(version, inside):
            failed.append(version)
    if failed:
        print(f"the fast tests fail on Python {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

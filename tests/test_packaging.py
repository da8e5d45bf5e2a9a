"""The installed package: `ocidriver` runs, and nothing called `lib` is installed."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PARTS = (
    "pyproject.toml", "MANIFEST.in", "requirements.txt", "requirements-distributed.txt", "README.md", "LICENSE",
    "THIRD_PARTY.md",
)  # fmt: skip
LICENCES = ("LICENSE", "THIRD_PARTY.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist beside it, and both from a copy: building leaves folders beside the sources."""
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("lib", "tests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for part in PARTS:
        shutil.copy(ROOT / part, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ".", cwd=source)
    return next((source / "dist").glob("ocidriver-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; the dependencies are those of this Python, so nothing is fetched."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(wheel))
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(*argv: str, cwd: Path | None = None) -> str:
    ran = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, f"{argv}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def test_the_installed_command_shows_its_help(environment: Path, tmp_path: Path) -> None:
    shown = run(str(environment / "bin" / "ocidriver"), "--help", cwd=tmp_path)
    assert "--pullthrough-url" in shown
    assert "--registry-url" in shown


def test_the_command_runs_the_installed_copy(environment: Path, tmp_path: Path) -> None:
    program = "import ocidriver_lib.cli as c, importlib.util as u; print(c.__file__, u.find_spec('lib'))"
    path, _, lib = (
        run(str(environment / "bin" / "python"), "-c", program, cwd=tmp_path).strip().rpartition(" ")
    )
    assert Path(path).is_relative_to(environment)
    assert lib == "None"


def test_the_process_of_a_host_is_a_module_of_the_installed_copy(environment: Path, tmp_path: Path) -> None:
    argv = [str(environment / "bin" / "python"), "-m", "ocidriver_lib.host_process"]
    ran = subprocess.run(
        argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("ocidriver: a host process needs its orders on stdin")


def sources() -> set[str]:
    """The files of lib: its modules, and the charting library of the pages."""
    return {
        str(path.relative_to(ROOT / "lib"))
        for kind in ("*.py", "*.js")
        for path in (ROOT / "lib").rglob(kind)
    }


def test_the_wheel_holds_all_of_lib_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"ocidriver_lib/{name}" for name in sources()}


def test_the_wheel_tells_its_version_and_dependencies(wheel: Path) -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "lib" / "__init__.py").read_text())
    assert version is not None
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"ocidriver-{version[1]}.dist-info/METADATA").decode()
    told = re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE)
    extra = '; extra == "distributed"'
    assert {each for each in told if "extra ==" not in each} == pins("requirements.txt")
    assert {each.partition(";")[0] for each in told if extra in each.replace(" and extra", "; extra")} == {
        each.partition(";")[0] for each in pins("requirements-distributed.txt")
    }
    assert "\nRequires-Python: >=3.10\n" in metadata


def pins(name: str) -> set[str]:
    """The requirements in a file."""
    found = set(re.findall(r"^(\S+==.+)$", (ROOT / name).read_text(), re.MULTILINE))
    assert found
    return found


def test_wheel_and_sdist_hold_the_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        folder = metadata.removesuffix("METADATA")
        described = archive.read(metadata).decode()
        for name in LICENCES:
            assert archive.read(f"{folder}licenses/{name}") == (ROOT / name).read_bytes()
    assert "\nLicense-Expression: Apache-2.0 AND MIT\n" in described
    assert "License ::" not in described  # PyPI refuses such a classifier beside the expression
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        assert set(LICENCES) <= {name.partition("/")[2] for name in archive.getnames()}


def test_the_sdist_holds_no_tests_but_all_that_a_wheel_is_made_of(wheel: Path) -> None:
    """The tests need what an sdist has no place for."""
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert not [name for name in names if name.startswith("tests")]
    assert {f"lib/{name}" for name in sources()} <= names


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-distributed.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().splitlines()
        wanted = [line for line in lines if line and not line.startswith(("#", "-r "))]
        assert wanted
        assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+(; .+)?", line) for line in wanted), name


def test_the_script_looks_for_every_package_that_a_run_needs() -> None:
    """Where one is missing, it goes on in the checkout's .venv, or says what to install."""
    modules: dict[str, set[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    needed = set(runpy.run_path(str(ROOT / "ocidriver.py"), run_name="looked at")["NEEDED"])
    lacking = {name for name in pinned if not modules[name] & needed}
    assert lacking == {"numpy"}  # only the report and the comparison need it


def test_the_load_test_imports_nothing_of_the_lab_or_the_comparison() -> None:
    """The modules that the command line imports, seen in a process of its own."""
    program = "import sys, lib.cli; print(*[name for name in sys.modules if name.startswith('lib.')])"
    modules = run(sys.executable, "-c", program, cwd=ROOT).split()
    assert "lib.cli" in modules
    assert not [name for name in modules if name.startswith(("lib.lab", "lib.compare"))]

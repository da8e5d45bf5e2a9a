"""`make setup` where it cannot work: the real reason, and no package of the system is upgraded.

apt-get, dpkg-query, sudo and pip's sources are not those of the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

NOBODY_ELSE = 64_999
PARTS = ("scripts", "requirements.txt", "requirements-distributed.txt", "requirements-dev.txt", "Makefile")
APT = """#!/bin/sh
echo "apt-get $*" >>{record}
case " $* " in *" --simulate "*) cat {simulated} 2>/dev/null; exit 0 ;; *" install "*) touch {record}.installed ;; esac
exit 0
"""
# Says that venv is missing until apt-get has installed it.
PYTHON = """#!/bin/sh
case "$2" in *"import ensurepip"*) [ -e {record}.installed ] || exit 1 ;; esac
exec {python} "$@"
"""
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and be another user")


class Machine:
    """A checkout, and programs that stand in for those of the system."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.programs = folder / "checkout", folder / "programs"
        self.record, self.simulated = folder / "record", folder / "simulated"
        self.checkout.mkdir()
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, self.checkout / part)
        self.programs.mkdir()
        self.program("apt-get", APT.format(record=self.record, simulated=self.simulated))
        self.program("dpkg-query", "#!/bin/sh\nexit 1\n")
        self.program("sudo", "#!/bin/sh\nexit 1\n")

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        path = f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        # nothing is fetched: a set-up that goes so far ends there
        return {**kept, "PATH": path, "PIP_NO_INDEX": "1", "GOPROXY": "off", "PYTHON": sys.executable, **more}

    def setup(self, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, str(self.checkout / "scripts/setup.sh"), "run"],
            capture_output=True, text=True, check=False, timeout=200, env=self.environment(**environment),
        )  # fmt: skip

    def apt(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        if folder.owner() == Path.home().owner():
            folder.chmod(folder.stat().st_mode | 0o055)
    return Machine(tmp_path)


@root
@pytest.mark.parametrize("target", ["scripts/setup.sh", "make"])
def test_a_folder_of_another_user(target: str, machine: Machine) -> None:
    other = ("setpriv", f"--reuid={NOBODY_ELSE}", "--clear-groups")
    readable = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    words = ("make", "-C", str(machine.checkout), "setup") if target == "make" else ()
    if words:
        done = subprocess.run(
            [*other, *readable, *words], capture_output=True, text=True, check=False, timeout=200,
            env=machine.environment(),
        )  # fmt: skip
    else:
        done = machine.setup((*other, *readable))
    assert done.returncode != 0
    assert f"setup: cannot write to {machine.checkout}: Permission denied\n" in done.stderr
    assert "venv" not in done.stdout + done.stderr.replace(str(machine.checkout), "")
    assert machine.apt() == []


def mounted(machine: Machine, options: str) -> tuple[str, ...]:
    """A prefix for a command: its checkout is a file system of its own with these options."""
    copy = machine.checkout.with_name("copy")
    machine.checkout.rename(copy)
    machine.checkout.mkdir()
    script = (
        f"mount -t tmpfs -o {options} none {machine.checkout} && cp -r {copy}/. {machine.checkout} && "
        f'{{ [ -z "$FILL" ] || head -c 100000000 /dev/zero >{machine.checkout}/filler 2>/dev/null; '
        f'[ -z "$READONLY" ] || mount -o remount,ro {machine.checkout}; exec "$@"; }}'
    )
    return ("unshare", "--mount", "sh", "-c", script, "sh")


@root
def test_a_read_only_file_system(machine: Machine) -> None:
    done = machine.setup(mounted(machine, "size=10m"), READONLY="yes")
    assert done.returncode == 1
    assert done.stderr == f"setup: cannot write to {machine.checkout}: Read-only file system\n"
    assert machine.apt() == []


@root
def test_a_full_disk(machine: Machine) -> None:
    done = machine.setup(mounted(machine, "size=10m"), FILL="yes")
    assert done.returncode == 1
    assert done.stderr == f"setup: cannot write to {machine.checkout}: No space left on device\n"
    assert machine.apt() == []


@root
@pytest.mark.parametrize("kibibytes", [400, 2000, 8000])
def test_a_disk_that_fills_up(kibibytes: int, machine: Machine) -> None:
    """While the virtual environment is made."""
    done = machine.setup(mounted(machine, f"size={kibibytes}k"))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "install the package" not in done.stderr
    assert machine.apt() == []


@root
def test_no_place_for_temporary_files(machine: Machine, tmp_path: Path) -> None:
    done = machine.setup(TMPDIR=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert done.stderr.endswith("no temporary folder can be made, see above; set TMPDIR to another place\n")
    assert machine.apt() == []


@root
def test_what_is_missing_is_named_and_then_installed(machine: Machine) -> None:
    machine.program("python", PYTHON.format(record=machine.record, python=sys.executable))
    machine.simulated.write_text(
        "NOTE: This is only a simulation!\nInst python3-wheel-whl (0.38 Debian:12 [all])\n"
        "Inst python3-venv (3.11 Debian:12 [amd64])\nConf python3-venv (3.11)\n"
    )
    done = machine.setup(PYTHON=str(machine.programs / "python"))
    assert "setup: installing with apt: python3-wheel-whl python3-venv \n" in done.stdout
    installs = [line for line in machine.apt() if " install " in line and "--simulate" not in line]
    assert len(installs) == 1
    assert {"--no-upgrade", "--no-remove", "--no-install-recommends"} <= set(installs[0].split())
    assert not [line for line in machine.apt() if "upgrade" in line.replace("--no-upgrade", "")]
    assert "pip could not install requirements.txt, see above" in done.stderr  # nothing is fetched here


@root
@pytest.mark.parametrize(
    "line", ["Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])", "Remv python3-old [1.0]"]
)
def test_what_apt_would_upgrade_or_remove_is_left_to_the_user(line: str, machine: Machine) -> None:
    machine.program("python", PYTHON.format(record=machine.record, python=sys.executable))
    machine.simulated.write_text(f"{line}\nInst python3-venv (3.11 Debian:12 [amd64])\n")
    done = machine.setup(PYTHON=str(machine.programs / "python"))
    assert done.returncode == 1
    assert f"because apt would upgrade or remove: {line.split()[1]}" in done.stderr
    assert "lacks the modules ensurepip and venv: install the package python3" in done.stderr
    assert not [each for each in machine.apt() if " install " in each and "--simulate" not in each]


def test_without_root_nothing_is_installed(machine: Machine) -> None:
    machine.program("python", PYTHON.format(record=machine.record, python=sys.executable))
    machine.program("id", "#!/bin/sh\necho 1000\n")
    done = machine.setup(PYTHON=str(machine.programs / "python"))
    assert done.returncode == 1
    assert "lacks the modules ensurepip and venv: install the package python3" in done.stderr
    assert machine.apt() == []

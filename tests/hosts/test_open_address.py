"""The warning about an address of hosts that others may reach, and the options that hosts get."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.driving import NOBODY, drive
from tests.support.ports import refused_port

pytest.importorskip("distributed")


def stderr(tmp_path: Path, address: str) -> str:
    images = tmp_path / "images"
    images.write_text("app:v1\n")
    ended = drive(
        tmp_path, f"--hosts={address}", *NOBODY, "--workers=1", "--dry-run", f"--image-list={images}"
    )
    assert ended.status == 1
    return ended.stderr


def test_it_warns_of_an_address_that_others_may_reach(tmp_path: Path) -> None:
    with refused_port() as address:
        said = stderr(tmp_path, f"tcp://{address.replace('127.0.0.1', '0.0.0.0')}")
    assert "has no TLS" in said
    assert "whoever reaches the scheduler can run any code on all hosts" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_it_does_not_warn_of_loopback(tmp_path: Path, host: str) -> None:
    with refused_port() as address:
        said = stderr(tmp_path, f"tcp://{address.replace('127.0.0.1', host)}")
    assert "TLS" not in said
    assert "refused" in said


def test_files_that_cannot_be_used_are_wrong_usage(tmp_path: Path) -> None:
    """Nothing is opened or written then."""
    folder, garbage = tmp_path / "results", tmp_path / "garbage"
    folder.mkdir()
    garbage.write_text("garbage")
    tls = (f"--hosts-ca-file={garbage}", f"--hosts-cert={garbage}", f"--hosts-key={garbage}")
    ended = drive(folder, "--hosts=tls://127.0.0.1:1", *tls, *NOBODY, "--workers=1", "--dry-run")
    assert ended.status == 2
    assert ended.stderr == f"ocidriver: --hosts-ca-file: {garbage} holds no certificate in PEM\n"
    assert list(folder.iterdir()) == []

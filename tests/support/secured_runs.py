"""Runs with TLS and logins: what they need, and what is to be seen of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.lab.servers import Server
from tests.doubles.certificates import Authority, Certificate
from tests.doubles.spy import Spy
from tests.doubles.tokens import TokenService
from tests.support.driving import Ended, drive

CLIENTS = ["crane", "skopeo"]
QUICK = ("--patterns=-0001,-0002", "--layout=distribution", "--passes=1", "--tally-seconds=0.3")


@dataclass(frozen=True)
class World:
    """A CA, a certificate of its for localhost, and a registry's data with the images in it."""

    authority: Authority
    certificate: Certificate
    storage: Path
    images: tuple[str, ...]


@dataclass(frozen=True)
class WithTokens:
    """A registry that takes tokens only, and the service that gives them."""

    server: Server
    service: TokenService


def told(ended: Ended) -> str:
    """What stands on stderr, without the warning of one server: many of these tests pull from the upstream itself."""
    lines = ended.stderr.splitlines(keepends=True)
    return "".join(line for line in lines if "--registry-url are the same server" not in line)


def servers(pullthrough: Server, registry: Server) -> list[str]:
    return [f"--pullthrough-url={pullthrough.url}", f"--registry-url={registry.url}"]


def apart(folder: Path) -> dict[str, str]:
    """An environment in which temporary files lie apart, and no login of who runs the tests is found."""
    (folder / "tmp").mkdir(exist_ok=True)
    home = {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "none")}
    return {**home, "TMPDIR": str(folder / "tmp")}


def watched_run(world: World, spy: Spy, folder: Path, *options: str, login: Mapping[str, str]) -> Ended:
    """A run with this login in its environment, which has to pull all images well, while the spy watches."""
    with spy.watching():
        ended = drive(
            folder, *options, *QUICK, f"--ca-file={world.authority.path}", f"--client={spy.client}",
            f"--report-file={folder}/report.html", environment={**apart(folder), **login},
        )  # fmt: skip
    assert (ended.status, told(ended)) == (0, "")
    ended.check_accounts()
    assert (ended.summary["failed"], ended.summary["images"]) == (0, len(world.images))
    return ended


def check_nothing_leaked(ended: Ended, spy: Spy, *secrets: str) -> None:
    """In no file that the run wrote, on no stream of its, in no argv and no client's environment."""
    written = b"".join(
        (ended.folder / name).read_bytes()
        for name in ("log", "events", "metrics", "summary.json", "report.html")
    )
    shown = f"{ended.stdout}{ended.stderr}".encode()
    for secret in secrets:
        assert secret
        for place in (written, shown, spy.kept()):
            assert secret.encode() not in place


def check_private(spy: Spy, folder: Path, *names: str) -> None:
    """While clients ran these files were the user's alone; afterwards there are none."""
    private = {path: mode for mode, kind, path in spy.files() if kind != "l"}
    assert private.keys() >= {"", *names}
    # a worker's folder is private itself, and skopeo writes images there in its own way
    loose = {
        path: mode
        for path, mode in private.items()
        if mode[1:] not in ("rwx------", "rw-------") and not re.match(r"worker-\d+/", path)
    }
    assert not loose
    assert list((folder / "tmp").iterdir()) == []


def one_line(ended: Ended) -> str:
    """All that stands on stderr."""
    assert told(ended).count("\n") == 1
    return told(ended).rstrip("\n")

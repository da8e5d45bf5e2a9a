"""A stand-in for crane that does what a real one cannot be made to do at will: hang, flood, die.

The first path component of a repository names the fault: `127.0.0.1:1/hang/app:v1` hangs, and `ok/app:v1` is pulled
well. Of several images, the last one that is not good decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lib.lab.fault_names import Repertoire
from tests.support.waiting import wait_until

KINDS: Final = {
    "ok": "exit 0",
    "slow": "sleep 0.3; exit 0",
    "gate": 'until [ -e "@GATE@" ]; do sleep 0.05; done; exit 0',
    "hang": "sleep 600",
    "stubborn": "trap '' INT TERM HUP; sleep 600; sleep 600",
    "daemon": """setsid sleep 600 & echo $! >> "@DAEMONS@"; exit 0""",
    "orphan": "sleep 600 & exit 0",
    "flood": r"""
        head -c 3000000 /dev/zero | tr '\0' x >&2
        echo 'Error: Get "http://x/v2/": dial tcp: lookup x: no such host' >&2
        exit 1""",
    "asks": "read -r password </dev/tty || echo 'Error: nobody answers' >&2; exit 1",
    "signal": "kill -SEGV $$",
    "retry": "echo '2026/01/01 00:00:00 retrying GET' >&2; exit 0",
    "litter": """: > "$TMPDIR/litter"; exit 1""",
    "refused": r"""
        repository=${reference#*/}
        echo "Error: Get \"http://x:1/v2/${repository%:*}/\": dial tcp 10.0.0.1:1: connect: connection refused" >&2
        exit 1""",
}
"""What the script does for each fault."""

REPERTOIRE: Final = Repertoire(usage=f"one of {', '.join(KINDS)}", alone=KINDS)

_SCRIPT = r"""#!/bin/sh
for argument; do
    case "$argument" in
        version) echo v0.0.1; exit 0 ;;
        */*:*|*/*@*)
            references="$references $argument"
            case "${argument#*/}" in ok/*) reference=${reference:-$argument} ;; *) reference=$argument ;; esac ;;
    esac
done
echo "$1$references" >> "@LOG@"
[ "$1" = delete ] && sleep 600
fault=${reference#*/}; fault=${fault%%/*}
case "$fault" in
@KINDS@
    *) echo "Error: what is $fault?" >&2; exit 1 ;;
esac
"""


def install(folder: Path) -> Path:
    """The executable `crane` in the folder; each launch is a line `verb reference…` in `launches` beside it."""
    folder.mkdir(exist_ok=True)
    path = folder / "crane"
    kinds = "\n".join(f"    {name}) {action} ;;" for name, action in KINDS.items())
    script = _SCRIPT.replace("@KINDS@", kinds)
    path.write_text(
        script.replace("@LOG@", f"{folder}/launches")
        .replace("@DAEMONS@", f"{folder}/daemons")
        .replace("@GATE@", f"{folder}/gate")
    )
    path.chmod(0o755)
    return path


def open_gate(client: Path) -> None:
    """Pulls of the kind `gate` go on, those that wait and those to come."""
    (client.parent / "gate").touch()


def image_list(client: Path, images: Sequence[str]) -> Path:
    """A file beside the client that lists these images. Raises ValueError where one names no fault of `KINDS`."""
    for image in images:
        REPERTOIRE.parse(image.partition("/")[0])
    path = client.parent / "images"
    path.write_text("".join(f"{image}\n" for image in images))
    return path


def wait_for_launches(client: Path, verb: str = "pull", count: int = 1) -> None:
    """Until it was started so often with this verb."""
    wait_until(lambda: sum(line.startswith(verb) for line in launches(client)) >= count)


def launches(client: Path) -> list[str]:
    """What it was asked to do, in order."""
    log = client.parent / "launches"
    return log.read_text().splitlines() if log.exists() else []

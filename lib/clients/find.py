"""Finds the executable of a client and asks it for its version."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import RunError

NAMES = ("crane", "skopeo")
_INSTALL = (
    "install it (crane: 'go install github.com/google/go-containerregistry/cmd/crane@latest', "
    "skopeo: the package of that name) or give a path with --client"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A client's executable: `kind` is crane or skopeo, `path` absolute."""

    kind: str
    path: str
    version: str


def find_client(wanted: str, environment: Mapping[str, str]) -> Found:
    """`auto`, a name or a path to the executable there is; RunError where there is none or it does not answer."""
    names = NAMES if wanted == "auto" else (wanted,)
    for name in names:
        path = _which(name)
        if path:
            return _identify(path, environment)
    if wanted == "auto":
        raise RunError(f"neither crane nor skopeo was found on PATH: {_INSTALL}")
    raise RunError(f"the client '{wanted}' was not found or cannot be executed: {_INSTALL}")


def _which(name: str) -> str | None:
    """On PATH, else beside this interpreter, where a virtual environment keeps what was set up with it."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    path = shutil.which(name, path=beside)
    return os.path.abspath(path) if path else None


def _identify(path: str, environment: Mapping[str, str]) -> Found:
    """Ask the executable what it is: crane has the command `version`, skopeo the option `--version`."""
    base = os.path.basename(path).lower()
    kinds = NAMES if "skopeo" not in base else tuple(reversed(NAMES))
    reasons = []
    for kind in kinds:
        try:
            output = _ask(path, "version" if kind == "crane" else "--version", environment)
        except RunError as error:
            reasons.append(str(error))
            continue
        if kind == "skopeo" and output.startswith("skopeo version "):
            return Found(kind, path, output.split()[2])
        if kind == "crane" and output and len(output.split()) == 1:
            return Found(kind, path, output.removeprefix("v"))
    why = reasons[0] if reasons else "it answers neither as crane nor as skopeo does"
    raise RunError(f"the client '{path}' does not work: {why}")


def _ask(path: str, question: str, environment: Mapping[str, str]) -> str:
    import sh

    try:
        command = sh.Command(path)
        return str(
            command(question, _timeout=10, _tty_out=False, _new_session=True, _env=dict(environment))
        ).strip()
    except sh.TimeoutException:
        raise RunError(f"'{path} {question}' did not answer within 10 s") from None
    except sh.SignalException as error:
        raise RunError(f"'{path} {question}' was ended by signal {-error.exit_code}") from None
    except sh.ErrorReturnCode as error:
        raise RunError(f"'{path} {question}' ended with status {error.exit_code}") from None
    except OSError as error:
        raise RunError(f"'{path}' cannot be started: {error.strerror}") from None
    except (sh.CommandNotFound, sh.ForkException):
        raise RunError(f"'{path}' cannot be executed") from None

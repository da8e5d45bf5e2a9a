"""What a client finds around it beside its command line: variables that a run keeps from it, and its helpers' own.

The file of each client decides what is kept from it. `docs/reference/what-clients-read.md` lists every decision.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from .client import Orders


def without(environment: Mapping[str, str], patterns: Collection[str]) -> dict[str, str]:
    """The variables that no pattern matches, such as `OTEL_*`."""
    return {name: value for name, value in environment.items() if not _matches(name, patterns)}


def variables_in(environment: Mapping[str, str], patterns: Collection[str]) -> list[str]:
    """Those that are set and that a pattern matches, as `$NAME`."""
    return sorted(f"${name}" for name, value in environment.items() if value and _matches(name, patterns))


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def say_what_is_not_read(orders: Orders, client: str, things: Iterable[str]) -> None:
    """One line in the log, if there are such things."""
    found = list(things)
    if found:
        orders.log(
            f"{client} is kept from these, which would change where it pulls or what it requests: {', '.join(found)}"
        )


def helpers_as_before(
    folder: Path, names: Iterable[str], user: Mapping[str, str], changed: Mapping[str, str]
) -> dict[str, str]:
    """A PATH on which each credential helper is a script that starts the user's with the variables of the user.

    A helper keeps its own files in the user's home, so it must not see the `changed` variables of its client. Without
    helpers the result is empty.
    """
    made = False
    for name in names:
        program = f"docker-credential-{name}"
        path = shutil.which(program, path=user.get("PATH"))
        if path is None:
            continue  # the client reports it
        script = folder / program
        script.write_text(
            "\n".join(["#!/bin/sh", *_restoring(user, changed), f'exec {shlex.quote(path)} "$@"', ""])
        )
        script.chmod(0o700)
        made = True
    return {"PATH": f"{folder}:{user.get('PATH', '')}"} if made else {}


def _restoring(user: Mapping[str, str], changed: Mapping[str, str]) -> list[str]:
    lines = []
    for name in ("PATH", *changed):
        lines.append(f"export {name}={shlex.quote(user[name])}" if name in user else f"unset {name}")
    return lines

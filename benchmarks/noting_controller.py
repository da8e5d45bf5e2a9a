"""The driver as it is, which also notes when it finds out what, for `hosts_faults`.

    python -m benchmarks.noting_controller NOTES OPTION…

NOTES gets one JSON object on each line, with the monotonic time `at`.
"""

from __future__ import annotations

import json
import sys
from time import monotonic
from typing import Any

from lib.cli import main
from lib.hosts.driving import Load
from lib.hosts.hearing import Hearing
from lib.hosts.member import Member
from lib.hosts.protocol import Started


def take_notes(path: str) -> None:
    """Notes losses, and how each host began."""
    file = open(path, "w", buffering=1)  # noqa: SIM115 - it is open as long as the process runs

    def note(what: str, **known: Any) -> None:
        file.write(json.dumps({"at": monotonic(), "what": what, **known}) + "\n")

    lose, lose_scheduler = Hearing.lose, Hearing._lose_scheduler
    start, begin = Load._start, Load.begin

    def noting_lose(self: Hearing, member: Member, reason: str) -> None:
        note("lost", host=member.name, reason=reason)
        lose(self, member, reason)

    def noting_lose_scheduler(self: Hearing, reason: str) -> None:
        note("scheduler lost", reason=reason)
        lose_scheduler(self, reason)

    def noting_start(self: Load, member: Member, started: Started) -> None:
        note(
            "started",
            host=member.name,
            offset=member.clock.offset,
            bound=member.clock.bound,
            began=started.header.began,
            error=started.error_seconds,
        )
        start(self, member, started)

    def noting_begin(self: Load, at: float) -> None:
        note("begin", moment=at)
        begin(self, at)

    Hearing.lose = noting_lose  # type: ignore[method-assign]
    Hearing._lose_scheduler = noting_lose_scheduler  # type: ignore[method-assign]
    Load._start = noting_start  # type: ignore[method-assign]
    Load.begin = noting_begin  # type: ignore[method-assign]


if __name__ == "__main__":
    take_notes(sys.argv[1])
    sys.exit(main(sys.argv[2:]))

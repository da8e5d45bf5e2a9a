"""Stands in for a host process: it does what the options of its first order say, and repeats every order as a line.

`counter`: a file that gets a line for each start. `line`: the length of its second message. `say`: words for stderr.
`exit`: it ends at once with this status. `stubborn`: it goes on after `leave`. `child`: it starts a process that
inherits the lock and lives for so many seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def write(number: int, body: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"number": number, "body": body}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def main() -> None:
    first = json.loads(sys.stdin.readline())
    options = first["options"]
    if "counter" in options:
        with open(options["counter"], "a") as counter:
            counter.write(f"{os.getpid()}\n")
    if "say" in options:
        print(options["say"], file=sys.stderr, flush=True)
    if "exit" in options:
        sys.exit(options["exit"])
    if "child" in options:
        subprocess.Popen(["sleep", str(options["child"])], close_fds=False, start_new_session=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "events.jsonl").write_text(options.get("events", ""))
        (Path(folder) / "log").write_text("the log\n")
        write(0, {"line": "ready", "header": {}, "folder": folder})
        number = 1
        if "line" in options:
            write(1, {"line": "note", "text": "x" * options["line"]})
            number = 2
        for line in sys.stdin:
            write(number, {"line": "note", "text": line})
            number += 1
            if json.loads(line)["order"] == "leave" and "stubborn" not in options:
                break


if __name__ == "__main__":
    main()

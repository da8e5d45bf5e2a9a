"""Runs a client on a machine without free local ports: `unshare --net python -m tests.doubles.portless WORDS`.

`{address}` in a word is the address of a good registry there. Two connections hold the only two ports. Shows what the
client writes on stderr, and ends with its status.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from tests.doubles.faulty import FaultyRegistry


def main() -> NoReturn:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with FaultyRegistry() as registry, ExitStack() as held:
        host, port = registry.address.split(":")
        first = 40000 if int(port) > 50000 else 60000
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {first + 1}")
        for _ in range(2):
            held.enter_context(socket.create_connection((host, int(port))))
        words = [word.replace("{address}", registry.address) for word in sys.argv[1:]]
        # the network of its own ends with this process, so nothing has to be closed
        os._exit(subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode)


if __name__ == "__main__":
    main()

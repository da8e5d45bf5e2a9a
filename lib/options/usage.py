"""The program's name as the user called it, and the examples at the end of the help."""

from __future__ import annotations

import os
import sys
from pathlib import Path

EXAMPLES = """\b
Examples:
  cached pulls, by three workers:
    ocidriver --pullthrough-url=cache:8080 --registry-url=up.local:5000 --patterns=-0001,-0002,-0003
  cold pulls: prune before the load and after each pass, so that the cache has to fetch from the upstream again:
    ocidriver --pullthrough-url cache:8080 --registry-url up.local:5000 --patterns -0001,-0002 \\
      --prune --prune-first
  docker-registry as a proxy, eight workers, and thresholds for a pipeline:
    ocidriver --pullthrough-url proxy:5000 --registry-url up.local:5000 --workers 8 \\
      --layout distribution --threshold 'error_rate<1%' --threshold 'p95<250ms'

\b
Exit status:
  0  the test ran, and at least one pull succeeded
  1  the test could not be carried out, no pull succeeded, or a file could not be written
  2  wrong usage, or a file could not be opened at the start
  3  a threshold was missed
  130, 143, 129  stopped by SIGINT, SIGTERM, SIGHUP"""


def called() -> str:
    """Returns the name that the user called this program by, for the commands that it prints."""
    path = Path(sys.argv[0])
    if path.suffix != ".py":
        return path.name
    relative = os.path.relpath(path)
    return relative if os.sep in relative else f"./{relative}"

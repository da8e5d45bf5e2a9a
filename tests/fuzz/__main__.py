"""`python -m tests.fuzz [--seconds S] [TARGET…]`: fuzz each target for its share of the seconds, one after the other.

What was interesting is kept in `.fuzz/TARGET` and is where the next run goes on. A finding ends the run with exit
status 1; `python -m tests.fuzz --repeat FILE TARGET` shows it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha1
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS
from tests.support.paths import ROOT

_CORPUS = ROOT / ".fuzz"
_LONGEST = 4096
# A single input that takes longer, by the clock, is a finding; on a busy machine a second can take a minute.
_HANG_SECONDS = 300


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run one target with this input")
    options = parser.parse_args(words)
    names = options.targets or list(TARGETS)
    unknown = set(names) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    if options.repeat:
        TARGETS[names[0]](options.repeat.read_bytes())
        return 0
    if find_spec("atheris") is None:
        print(
            f"fuzz: there is no atheris for Python {sys.version.split()[0]} on this machine; nothing was done"
        )
        return 0
    failed = [name for name in names if not fuzz(name, max(1, options.seconds // len(names)))]
    print(f"fuzz: findings in {', '.join(failed)}" if failed else f"fuzz: no finding in {', '.join(names)}")
    return 1 if failed else 0


def fuzz(name: str, seconds: int) -> bool:
    """One target in a process of its own; False for a finding."""
    folder = _CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (folder / sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    dictionary = _CORPUS / "words"
    dictionary.write_text("".join(f'"{_in_hex(word)}"\n' for word in WORDS))
    print(f"fuzz: {name}, {seconds} s", flush=True)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-timeout={_HANG_SECONDS}",
        "-rss_limit_mb=2048",
    ]
    quiet = ["-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={_CORPUS}/finding-{name}-"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one", name, str(folder), *limits, *quiet],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        print(done.stdout)
    else:
        print(
            "".join(f"  {line}\n" for line in done.stdout.splitlines() if "number_of_executed" in line),
            end="",
        )
    return done.returncode == 0


def _in_hex(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

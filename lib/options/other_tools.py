"""Options of other load tools, such as k6, vegeta, oha, hey, wrk and ab, and the options of ours that do the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_WORKERS: Final = "for the number of clients that pull at the same time, give --workers N"
_PASSES: Final = "for a fixed number of pulls, give --passes N: each worker pulls each of its images N times"
_DURATION: Final = "for the length of the load, give --duration S, such as 30s or 5m"
_RATE: Final = "for a number of pulls per second, give --rate R"
_STAGE: Final = "for stages, give --stage S:N, such as 30s:8"
_RISE: Final = (
    "to start the workers one after the other, give --iteration-seconds S, or stages with --stage S:N"
)
_TIMEOUT: Final = "to end a pull that takes too long, give --pull-timeout S"
_OUTPUT: Final = "to write the result to a file, give --summary-file FILE, or --report-file FILE for a page"
_LOGIN: Final = "to log in, run docker login HOST before the run; ocidriver reads the same files"
_SERVER: Final = "for the server under test, give --pullthrough-url URL"

_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    _WORKERS: (
        "-u", "--vus", "-c", "--concurrency", "--connections", "-w", "--max-workers", "--threads", "--clients",
        "--users", "--max-vus",
    ),
    _PASSES: ("-n", "--requests", "-i", "--iterations"),
    _DURATION: ("-d", "-z", "--time", "--run-time"),
    _RATE: ("-q", "--qps", "--rps", "-r", "-R", "--requests-per-second"),
    _STAGE: ("-s", "--stages"),
    _RISE: ("--rampup", "--ramp-up", "--ramp", "--spawn-rate"),
    _TIMEOUT: ("--timeout",),
    f"{_WORKERS}; {_TIMEOUT}": ("-t",),
    _OUTPUT: ("-o", "--output", "--out", "--summary-export"),
    _SERVER: ("--url", "--host", "--target", "--targets"),
    _LOGIN: (
        "--user", "--username", "--password", "--password-stdin", "--creds", "--src-creds", "--token", "--auth",
        "--authfile",
    ),
    "to pull each image once before the load, give --warm-up": ("--warmup", "--warm"),
    "to accept any certificate, give --insecure": ("-k", "--insecure-skip-tls-verify"),
}  # fmt: skip
_ADVICE: Final[Mapping[str, str]] = {form: advice for advice, forms in _FORMS.items() for form in forms}


def advice_for(option: str, words: Sequence[str]) -> str | None:
    """Returns which option of ours to use instead of an unknown one; None if no other tool has it.

    `words` are those of the command line. vegeta and ab also take long names with one dash: of `-timeout=30s`, a parser
    of ours sees only the unknown `-t`.
    """
    for word in words:
        name = word.partition("=")[0]
        if name.startswith(option) and len(name) > 2 and f"-{name}" in _ADVICE:
            return _ADVICE[f"-{name}"]
        if name == "--":
            break
    return _ADVICE.get(option)

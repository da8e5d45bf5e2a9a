"""The main command's options: names, defaults, checks and help, in the order and under the headings of `--help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ..choices import ANNOTATIONS, AUTO, METRICS_FORMATS, PROGRESS, PRUNE_VIA, TSV
from ..fault import show_tracebacks
from ..streams import STDOUT
from .sections import Section
from .settings import ITERATION_SECONDS
from .types import Seconds

EXAMPLES = """\b
Examples:
  cached pulls, up to three at a time:
    ocidriver --pullthrough-url=cache:8080 --registry-url=up.local:5000 --patterns=-0001,-0002,-0003
  cold pulls: prune before and between passes, so that the cache goes upstream again:
    ocidriver --pullthrough-url cache:8080 --registry-url up.local:5000 --patterns -0001,-0002 \\
      --prune --prune-first
  a docker-registry proxy, eight workers, a verdict for a pipeline:
    ocidriver --pullthrough-url proxy:5000 --registry-url up.local:5000 --workers 8 \\
      --layout distribution --threshold 'error_rate<1%' --threshold 'p95<250ms'

\b
Exit status: 0 it ran; 1 it could not, or nothing was pulled; 2 wrong usage;
3 a threshold was missed; 128 + number: stopped by that signal."""


def called() -> str:
    """How this program was called, so that what it prints can be typed where it was."""
    path = Path(sys.argv[0])
    if path.suffix != ".py":
        return path.name
    relative = os.path.relpath(path)
    return relative if os.sep in relative else f"./{relative}"


# A tally takes a moment itself, in seconds.
_LEAST_TALLY = 0.01


def _switch(names: list[str], section: str, text: str) -> Section:
    """`--x`, `--x=true`, `--x=false`."""
    return Section(
        names,
        section=section,
        type=click.BOOL,
        is_flag=False,
        flag_value="true",
        default=False,
        metavar="",
        help=text,
    )


SERVERS, TLS, RAMP, IMAGES, CLIENT = "Servers", "TLS", "Ramp", "What is pulled", "Client"
PRUNE, OUTPUT, VERDICT = "Pruning", "Output", "Ending and verdict"


def _file(name: str, section: str, text: str) -> Section:
    """An option that names a file."""
    return Section([name], section=section, type=click.Path(path_type=Path), metavar="FILE", help=text)


# Other commands that talk to registries take these as well.
TLS_OPTIONS: list[click.Parameter] = [
    _file("--ca-file", TLS, "Trust the CAs in this PEM file as well as the system's."),
    Section(
        ["--insecure"],
        section=TLS,
        is_flag=True,
        help="Check no server's certificate; whoever is in between reads along.",
    ),
    _file("--client-cert", TLS, "Certificate (PEM) for servers that ask for one; crane can show none."),
    _file("--client-key", TLS, "Its key, without a passphrase.  [default: in the file of --client-cert]"),
]

OPTIONS: list[click.Parameter] = [
    Section(
        ["--pullthrough-url"],
        section=SERVERS,
        required=True,
        metavar="URL",
        help="Server under test: host:port (http), http://… or https://…",
    ),
    Section(
        ["--registry-url"],
        section=SERVERS,
        required=True,
        metavar="URL",
        help="Upstream it pulls from, which is listed.",
    ),
    Section(
        ["--layout"],
        section=SERVERS,
        default="ociregistry",
        show_default=True,
        metavar="NAME",
        help="How the server names upstream images: ociregistry, distribution, zot, direct (the upstream itself), "
        "harbor:PROJECT, nexus:REPO, artifactory:KEY, quay:ORG, ecr:PREFIX, acr:TARGET, gar:PROJECT/REMOTE, "
        "or a template such as '{pullthrough}/my-proxy/{repository}'.",
    ),
    Section(
        ["--upstream-name"],
        section=SERVERS,
        metavar="NAME",
        help="What the server calls the upstream.  [default: host and port of --registry-url]",
    ),
    *TLS_OPTIONS,
    Section(
        ["--patterns"],
        section=RAMP,
        multiple=True,
        metavar="RE2,…",
        help="One worker for each of these regexes, searched in pullthrough/registry/repository:tag; may be repeated.",
    ),
    Section(
        ["--workers"],
        section=RAMP,
        type=click.IntRange(1),
        metavar="N",
        help="In place of --patterns: deal the images evenly to N workers.",
    ),
    Section(
        ["--iteration-seconds"],
        section=RAMP,
        type=Seconds(),
        metavar="S",
        help="Add a worker every S seconds, and later remove one every S seconds: N workers take 2·N·S.  "
        f"[default: {ITERATION_SECONDS:g}]",
    ),
    Section(
        ["--passes"],
        section=RAMP,
        type=click.IntRange(1),
        metavar="N",
        help="Fixed work in place of the ramp: each worker makes N passes over its images and ends. Workers start "
        "together, or --iteration-seconds apart. Not with --rate.",
    ),
    Section(
        ["--rate"],
        section=RAMP,
        metavar="R|R:R",
        help="Start pulls by a schedule, so many a second over all workers, or from:to rising over the ramp; "
        "all workers run all along, and latencies count from the schedule.  [default: back to back]",
    ),
    Section(
        ["--start-at"],
        section=RAMP,
        metavar="TIME",
        help="Begin the ramp at this time, such as 22:30, on several machines together.",
    ),
    Section(
        ["--filter"], section=IMAGES, metavar="RE2", help="Keep only images whose repository:tag matches."
    ),
    Section(
        ["--all-tags"],
        section=IMAGES,
        is_flag=True,
        help="Every tag of a repository, not just the first listed.",
    ),
    Section(
        ["--image-list"],
        section=IMAGES,
        metavar="FILE",
        help="Images, one a line, in place of the upstream's catalog; - is stdin.",
    ),
    _switch(["--shuffle"], section=IMAGES, text="Each worker shuffles its list between passes."),
    Section(["--seed"], section=IMAGES, type=int, metavar="N", help="Makes --shuffle repeatable."),
    _switch(
        ["--dry-run"],
        section=IMAGES,
        text="Everything but pulling and pruning: 5 ms an image, nobody is asked.",
    ),
    Section(
        ["--client"],
        section=CLIENT,
        default=AUTO,
        show_default=True,
        metavar="NAME",
        help="crane, skopeo, a path to one, or auto: crane, else skopeo.",
    ),
    Section(
        ["--platform"],
        section=CLIENT,
        metavar="OS/ARCH",
        help="Platform to pull of multi-platform images.  [default: this machine's]",
    ),
    Section(
        ["--pull-timeout"],
        section=CLIENT,
        type=Seconds(),
        default=300,
        show_default=True,
        metavar="S",
        help="A client that runs longer is killed; the pull counts as failed.",
    ),
    Section(
        ["--batch"],
        section=CLIENT,
        type=click.IntRange(1, 1000),
        default=1,
        show_default=True,
        metavar="N",
        help="Images per client launch: far more pulls a second from one machine; latencies are then a launch's.",
    ),
    Section(
        ["--lean/--no-lean"],
        section=CLIENT,
        is_flag=True,
        default=True,
        help="Start crane with GOMAXPROCS=1, unless the environment has it, and let no client preempt what runs "
        "(SCHED_BATCH): more than a tenth less CPU a pull.  [default: lean]",
    ),
    _switch(
        ["--prune"],
        section=PRUNE,
        text="After each pass a worker prunes what it pulled: the server goes upstream again.",
    ),
    Section(
        ["--prune-first"],
        section=PRUNE,
        is_flag=True,
        help="Prune the selected images before the ramp: first pulls are cold.",
    ),
    Section(
        ["--prune-via"],
        section=PRUNE,
        type=click.Choice(PRUNE_VIA),
        default=AUTO,
        show_default=True,
        help="By the client's delete command, Ociregistry's admin API, or the first that works.",
    ),
    Section(
        ["--tally-seconds"],
        section=OUTPUT,
        type=Seconds(least=_LEAST_TALLY),
        default=15,
        show_default=True,
        metavar="S",
        help="A metrics line every so many seconds.",
    ),
    Section(
        ["--metrics-file"],
        section=OUTPUT,
        default=STDOUT,
        metavar="FILE",
        help="Metrics lines: time, pulls/s, workers, failed, p50, p95, p99 in ms.  [default: stdout]",
    ),
    Section(
        ["--metrics-format"],
        section=OUTPUT,
        type=click.Choice(METRICS_FORMATS),
        default=TSV,
        show_default=True,
        help="Those lines tab-separated, or one JSON object each.",
    ),
    Section(
        ["--metrics-listen"],
        section=OUTPUT,
        metavar="[HOST]:PORT",
        help="Serve live metrics to Prometheus at /metrics; :9100 is this machine only, :0 any free port.",
    ),
    Section(
        ["--log-file"], section=OUTPUT, default=STDOUT, metavar="FILE", help="Log lines.  [default: stdout]"
    ),
    Section(
        ["--summary-file"],
        section=OUTPUT,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The result as JSON.",
    ),
    Section(
        ["--events-file"],
        section=OUTPUT,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="One JSON line for each pull and prune.",
    ),
    Section(
        ["--report-file"],
        section=OUTPUT,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="One HTML page with charts, of the summary and, with --events-file, the events.",
    ),
    Section(
        ["--progress"],
        section=OUTPUT,
        type=click.Choice(PROGRESS),
        default=AUTO,
        show_default=True,
        help="A live view on stderr, auto: where it is a terminal; always: in a pipe a plain line every tally.",
    ),
    Section(
        ["--threshold"],
        section=VERDICT,
        multiple=True,
        metavar="EXPR",
        help="Exit 3 unless it holds: error_rate<1%, p95<250ms, first.p99<2s, rate>50, errors.timeout<=5; "
        "may be repeated.",
    ),
    Section(
        ["--annotations"],
        section=VERDICT,
        type=click.Choice(ANNOTATIONS),
        default=AUTO,
        show_default=True,
        help="Missed thresholds and the commonest errors for GitHub Actions, with a job summary; auto: when in it.",
    ),
    Section(
        ["--keep-going"],
        section=VERDICT,
        is_flag=True,
        help="Do not end a run whose first 10 pulls all failed.",
    ),
    Section(
        ["--grace"],
        section=VERDICT,
        type=Seconds(least=0),
        default=10,
        show_default=True,
        metavar="S",
        help="How long a stop by a signal lets running clients finish.",
    ),
    Section(
        ["--traceback"],
        section=VERDICT,
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda _context, _option, wanted: show_tracebacks() if wanted else None,
        help="Show the traceback of a fault in ocidriver itself, as OCIDRIVER_TRACEBACK=1 does for every command.",
    ),
]

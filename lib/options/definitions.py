"""The main command's options: names, defaults, checks and help, in the order and under the headings of `--help`."""

from __future__ import annotations

import click

from ..choices import (
    ANNOTATIONS,
    ARRIVALS,
    AUTO,
    DEAL,
    EVEN,
    FOREIGN,
    METRICS_FORMATS,
    MOST_IN_A_BATCH,
    PROGRESS,
    PRUNE_VIA,
    REFUSE,
    SIZES,
    TSV,
)
from ..clients.table import NAMES
from ..durations import spoken
from ..fault import show_tracebacks
from ..streams import STDOUT
from .files import Reads, Writes
from .sections import Section
from .settings import ITERATION_SECONDS
from .types import Seconds, Whole, WholeOrAuto

# The shortest tally interval in seconds. A tally itself takes some time.
_LEAST_TALLY = 0.01


def _switch(names: list[str], section: str, text: str) -> Section:
    """Makes a switch that can be given as `--x`, `--x=true` or `--x=false`."""
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


SERVERS, TLS, LOAD, IMAGES, CLIENT = "Servers", "TLS", "Load", "What is pulled", "Client"
PRUNE, HOSTS, OUTPUT, VERDICT = "Pruning", "Many hosts", "Output", "Ending and verdict"


def _file(name: str, section: str, text: str) -> Section:
    """Makes an option that names a file to read."""
    return Section([name], section=section, type=Reads(), metavar="FILE", help=text)


# Other commands that connect to registries have these options too.
TLS_OPTIONS: list[click.Parameter] = [
    _file(
        "--ca-file", TLS, "Trust the CA certificates in this PEM file, in addition to those of the system."
    ),
    Section(
        ["--insecure"],
        section=TLS,
        is_flag=True,
        help="Do not check certificates. Others on the network path can then read and change the traffic.",
    ),
    _file(
        "--client-cert",
        TLS,
        "Client certificate (PEM), for servers that ask for one. crane cannot present it.",
    ),
    _file(
        "--client-key",
        TLS,
        "The key of the client certificate, without a passphrase.  [default: in the file of --client-cert]",
    ),
]

OPTIONS: list[click.Parameter] = [
    Section(
        ["--pullthrough-url"],
        section=SERVERS,
        required=True,
        metavar="URL",
        help="The server under test: host:port (http), http://… or https://…",
    ),
    Section(
        ["--registry-url"],
        section=SERVERS,
        required=True,
        metavar="URL",
        help="The upstream that the server under test pulls from. The driver lists its images. It may have a path "
        "(Artifactory).",
    ),
    Section(
        ["--layout"],
        section=SERVERS,
        default="ociregistry",
        show_default=True,
        metavar="NAME",
        help="How the server under test names the upstream's images: ociregistry, distribution, zot, direct (the "
        "upstream itself), harbor:PROJECT, nexus:REPO, artifactory:KEY, quay:ORG, ecr:PREFIX, acr:TARGET, "
        "gar:PROJECT/REMOTE, or a template such as '{pullthrough}/my-proxy/{repository}'.",
    ),
    Section(
        ["--upstream-name"],
        section=SERVERS,
        metavar="NAME",
        help="The name that the server under test uses for the upstream.  [default: host and port of --registry-url]",
    ),
    *TLS_OPTIONS,
    Section(
        ["--patterns"],
        section=LOAD,
        multiple=True,
        metavar="RE2,…",
        help="One worker for each regex. A worker pulls each image whose full name "
        "(pullthrough/registry/repository:tag) contains a match of its regex. Repeatable.",
    ),
    Section(
        ["--workers"],
        section=LOAD,
        type=Whole(1),
        metavar="N",
        help="Instead of --patterns: distribute the images evenly among N workers.",
    ),
    Section(
        ["--deal"],
        section=LOAD,
        type=click.Choice(DEAL),
        help="With --workers. split: each worker pulls images of its own. all: every worker pulls all images, and "
        "begins at a different place in the list, as nodes that run the same images do.  [default: split]",
    ),
    Section(
        ["--herd"],
        section=LOAD,
        is_flag=True,
        help="With --workers: all workers pull the same image at the same moment, then the next one, as nodes do in a "
        "rollout. With --prune, each image is pruned before its herd.",
    ),
    Section(
        ["--iteration-seconds"],
        section=LOAD,
        type=Seconds(),
        metavar="S",
        help="Start a worker every S seconds, and later stop one every S seconds. A run with N workers takes 2·N·S "
        f"seconds.  [default: {spoken(ITERATION_SECONDS)}]",
    ),
    Section(
        ["--passes"],
        section=LOAD,
        type=Whole(1),
        metavar="N",
        help="Fixed work instead of the ramp: each worker makes N passes over its images and ends. Workers start "
        "together. If you give --iteration-seconds, they start that many seconds apart. Cannot be combined with "
        "--rate.",
    ),
    Section(
        ["--hold"],
        section=LOAD,
        type=Seconds(),
        metavar="S",
        help="Keep all workers running for S seconds at the top of the ramp.  [default: twice --iteration-seconds]",
    ),
    Section(
        ["--duration"],
        section=LOAD,
        type=Seconds(),
        metavar="S",
        help="Constant load instead of the ramp: all workers run from the first moment on, for S seconds. With "
        "--rate R, the rate is R all the time.",
    ),
    Section(
        ["--stage"],
        section=LOAD,
        multiple=True,
        metavar="S:N|S:R/s",
        help="Stages instead of the ramp: in S seconds, go to N workers, one at a time. With R/s, go to R pulls per "
        "second on a schedule, for example 5m:200/s. Repeatable.",
    ),
    Section(
        ["--rate"],
        section=LOAD,
        metavar="R|R:R",
        help="Start R pulls per second on a schedule, even if the server is slow. R:R changes the rate during the "
        "run, for example from 10 to 200 (10:200). Latencies then count from the scheduled time.  [default: no "
        "schedule; each worker starts its next pull when its previous one has ended]",
    ),
    Section(
        ["--arrivals"],
        section=LOAD,
        type=click.Choice(ARRIVALS),
        default=EVEN,
        show_default=True,
        help="The gaps between the pulls of a schedule. even: all the same. poisson: random, as between the pulls of "
        "many independent clients. --seed makes them repeatable.",
    ),
    Section(
        ["--warm-up"],
        section=LOAD,
        is_flag=True,
        help="Before the load, pull each selected image once, N at a time with N workers. These pulls do not count. "
        "Cannot be combined with --prune or --prune-first.",
    ),
    Section(
        ["--start-at"],
        section=LOAD,
        metavar="TIME",
        help="Begin the load at this time, for example 22:30. Use it to begin at the same time on several machines.",
    ),
    Section(
        ["--filter"],
        section=IMAGES,
        metavar="RE2",
        help="Keep only the images whose repository:tag contains a match.",
    ),
    Section(
        ["--all-tags"],
        section=IMAGES,
        is_flag=True,
        help="Pull every tag of each repository.  [default: only the first listed tag that can be the tag of an image]",
    ),
    Section(
        ["--image-list"],
        section=IMAGES,
        type=Reads(str),
        metavar="FILE",
        help="A file with one image per line, instead of the upstream's catalog. - is stdin.",
    ),
    Section(
        ["--foreign"],
        section=IMAGES,
        type=click.Choice(FOREIGN),
        default=REFUSE,
        show_default=True,
        help="What to do with images of --image-list whose upstream the layout cannot name. skip leaves out all images "
        "of upstreams other than --registry-url.",
    ),
    Section(
        ["--sizes"],
        section=IMAGES,
        type=click.Choice(SIZES),
        default=AUTO,
        show_default=True,
        help="Read each image's size from the upstream's manifests before the load, to report bytes. auto: not with "
        "--layout direct or --image-list, as public registries may count such a request as a pull.",
    ),
    _switch(["--shuffle"], section=IMAGES, text="Each worker shuffles its images between passes."),
    Section(
        ["--draw"],
        section=IMAGES,
        metavar="zipf:S|uniform",
        help="Draw each image at random, with replacement. zipf:S: by Zipf's law with the exponent S; the first image "
        "of the list is the most popular. uniform: all equally often. A worker with N images draws N times in a pass.",
    ),
    Section(
        ["--seed"],
        section=IMAGES,
        type=int,
        metavar="N",
        help="Make --shuffle, --draw and --arrivals poisson repeatable.  [default: random; with --draw or poisson, the "
        "log names it]",
    ),
    _switch(
        ["--dry-run"],
        section=IMAGES,
        text="Do everything except pulling and pruning. A pause of 5 ms stands for each pull.",
    ),
    Section(
        ["--client"],
        section=CLIENT,
        default=AUTO,
        show_default=True,
        metavar="NAME",
        help=f"{', '.join(NAMES)}, a path to one of them, or auto: crane if it is installed, else skopeo, never ctr.",
    ),
    Section(
        ["--containerd-socket"],
        section=CLIENT,
        type=Reads(str),
        metavar="PATH",
        help="With --client ctr: use the containerd at this socket.  [default: start one for the run]",
    ),
    Section(
        ["--platform"],
        section=CLIENT,
        metavar="OS/ARCH",
        help="Of a multi-platform image, pull the variant for this platform.  [default: that of this machine]",
    ),
    Section(
        ["--pull-timeout"],
        section=CLIENT,
        type=Seconds(),
        default="5m",
        show_default=True,
        metavar="S",
        help="Kill a client that runs longer than S seconds. Its pull counts as failed.",
    ),
    Section(
        ["--batch"],
        section=CLIENT,
        type=WholeOrAuto(1, MOST_IN_A_BATCH),
        default=1,
        show_default=True,
        metavar="N|auto",
        help="Pull N images in each client launch. The rate can then be two to three times higher, but all images of "
        "a launch share one latency. auto: the number with which calibrate reached the highest rate on this machine. "
        "Not with ctr.",
    ),
    Section(
        ["--lean/--no-lean"],
        section=CLIENT,
        is_flag=True,
        default=True,
        help="Start crane and ctr with GOMAXPROCS=1 and GOGC=400, unless the environment sets them. Run workers and "
        "clients with the scheduling policy SCHED_BATCH. This saves 10 to 20 % of the CPU time per pull.  "
        "[default: lean]",
    ),
    _switch(
        ["--prune"],
        section=PRUNE,
        text="After each pass, a worker prunes the images that it pulled, so that the server has to fetch them from "
        "the upstream again.",
    ),
    Section(
        ["--prune-first"],
        section=PRUNE,
        is_flag=True,
        help="Prune all selected images before the load, so that their first pulls are cold.",
    ),
    Section(
        ["--prune-via"],
        section=PRUNE,
        type=click.Choice(PRUNE_VIA),
        default=AUTO,
        show_default=True,
        help="client: the client's delete command (ctr has none). ociregistry: Ociregistry's admin API. auto: the "
        "first that works. auto tries the admin API first with --layout ociregistry, and deletes first with other "
        "layouts.",
    ),
    Section(
        ["--hosts"],
        section=HOSTS,
        metavar="ADDRESS",
        help="Carry out the load on the Dask workers of this scheduler, one on each machine: tls://HOST:PORT or "
        "tcp://HOST:PORT. --workers, --patterns and --rate are totals of all hosts. local:N starts N hosts on this "
        "machine.",
    ),
    Section(
        ["--min-hosts"],
        section=HOSTS,
        type=Whole(1),
        metavar="N",
        help="Begin when at least N hosts have joined.  [default: 1, or all of local:N]",
    ),
    Section(
        ["--hosts-timeout"],
        section=HOSTS,
        type=Seconds(),
        default="60s",
        show_default=True,
        metavar="S",
        help="Wait up to S seconds until the hosts have joined.",
    ),
    Section(
        ["--lost-hosts"],
        section=HOSTS,
        type=Whole(0),
        default=0,
        show_default=True,
        metavar="N",
        help="Go on if up to N hosts are lost. One more stops the load.",
    ),
    _file(
        "--hosts-ca-file", HOSTS, "Trust the scheduler and the hosts by the CA certificate in this PEM file."
    ),
    _file("--hosts-cert", HOSTS, "The certificate (PEM) of this machine, for the scheduler and the hosts."),
    _file(
        "--hosts-key",
        HOSTS,
        "The key of this certificate, without a passphrase.  [default: in the file of --hosts-cert]",
    ),
    Section(
        ["--share"],
        section=HOSTS,
        metavar="K/N",
        help="Without --hosts: take the K-th of N shares of the load: of its workers and of its schedule. Start the "
        "other shares on other machines, with the same options and the same --start-at.",
    ),
    Section(
        ["--tally-seconds"],
        section=OUTPUT,
        type=Seconds(least=_LEAST_TALLY),
        default="15s",
        show_default=True,
        metavar="S",
        help="Write a metrics line every S seconds.",
    ),
    Section(
        ["--metrics-file"],
        section=OUTPUT,
        type=Writes(str, lines=True),
        default=STDOUT,
        metavar="FILE",
        help="Write metrics lines to this file: time, pulls/s, workers, failed, p50, p95, p99 (ms).  [default: stdout]",
    ),
    Section(
        ["--metrics-format"],
        section=OUTPUT,
        type=click.Choice(METRICS_FORMATS),
        default=TSV,
        show_default=True,
        help="Write metrics lines as columns separated by tabs (tsv), as columns separated by commas with a header "
        "(csv), or as JSON objects (jsonl).",
    ),
    Section(
        ["--metrics-listen"],
        section=OUTPUT,
        metavar="[HOST]:PORT",
        help="Serve live metrics for Prometheus at /metrics. :9100 serves this machine only, :0 takes any free port.",
    ),
    Section(
        ["--log-file"],
        section=OUTPUT,
        type=Writes(str, lines=True),
        default=STDOUT,
        metavar="FILE",
        help="Write log lines to this file.  [default: stdout]",
    ),
    Section(
        ["--summary-file"],
        section=OUTPUT,
        type=Writes(),
        metavar="FILE",
        help="Write the result as JSON.",
    ),
    Section(
        ["--events-file"],
        section=OUTPUT,
        type=Writes(),
        metavar="FILE",
        help="Write one JSON line for each pull and prune.",
    ),
    Section(
        ["--pieces-file"],
        section=OUTPUT,
        type=Writes(),
        metavar="FILE",
        help="Write what ocidriver merge adds up to one summary: a JSON line for each interval and each step. For a "
        "load on several machines (--share).",
    ),
    Section(
        ["--report-file"],
        section=OUTPUT,
        type=Writes(),
        metavar="FILE",
        help="Write an HTML page with charts of the summary and, with --events-file, of the events.",
    ),
    Section(
        ["--progress"],
        section=OUTPUT,
        type=click.Choice(PROGRESS),
        default=AUTO,
        show_default=True,
        help="Show progress on stderr. auto: a live view on a terminal, except in CI. always: on a terminal the live "
        "view, else one plain line every --tally-seconds.",
    ),
    Section(
        ["--threshold"],
        section=VERDICT,
        multiple=True,
        metavar="EXPR",
        help="Exit with status 3 unless EXPR holds. Examples: error_rate<1%, p95<250ms, first.p99<2s, rate>50, "
        "errors.dns<=5. Repeatable.",
    ),
    Section(
        ["--annotations"],
        section=VERDICT,
        type=click.Choice(ANNOTATIONS),
        default=AUTO,
        show_default=True,
        help="Report missed thresholds and the most frequent errors to GitHub Actions. auto: only in GitHub Actions.",
    ),
    Section(
        ["--keep-going"],
        section=VERDICT,
        is_flag=True,
        help="Continue even if the first ten pulls all fail. Also skip the check, before the load, that the server "
        "under test answers.",
    ),
    Section(
        ["--grace"],
        section=VERDICT,
        type=Seconds(least=0),
        default="10s",
        show_default=True,
        metavar="S",
        help="After a signal, wait up to S seconds for running clients, then kill them.",
    ),
    Section(
        ["--traceback"],
        section=VERDICT,
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda _context, _option, wanted: show_tracebacks() if wanted else None,
        help="Show the traceback of a fault in ocidriver itself. OCIDRIVER_TRACEBACK=1 does the same for every "
        "command.",
    ),
]

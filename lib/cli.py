"""The command line: options to Settings, exceptions to exit statuses. The heavy modules are imported by the run only."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from . import __version__
from .clients import NAMES, parse_platform, this_platform
from .errors import ExitStatus, UsageError
from .failures import ErrorClass
from .layout import parse_layout
from .output import say
from .settings import STDOUT, Settings, check_together, parse_endpoint
from .thresholds import parse_threshold

EXAMPLES = """\b
Examples:
  cached pulls, up to three at a time:
    ocidriver --pullthrough-url=cache:8080 --registry-url=up:5000 --patterns=-0001,-0002,-0003
  cold pulls: prune between passes, so that the cache goes upstream again:
    ocidriver --pullthrough-url cache:8080 --registry-url up:5000 --patterns -0001,-0002 --prune
  a docker-registry proxy, eight workers, a verdict for a pipeline:
    ocidriver --pullthrough-url proxy:5000 --registry-url up:5000 --workers 8 \\
      --layout distribution --threshold 'error_rate<1%' --threshold 'p95<250ms'

\b
Exit status: 0 it ran; 1 it could not, or nothing was pulled; 2 wrong usage;
3 a threshold was missed; 128 + number: stopped by that signal."""


class Section(click.Option):
    """An option with the heading that it stands under in the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists its options under headings, in the order of their definition."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=30)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(self.epilog)


class Seconds(click.ParamType):
    """A number of seconds, finite, greater than zero (or zero where that is allowed)."""

    name = "seconds"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"'{value}' is not a number of seconds", param, ctx)
        if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not self._zero):
            self.fail(f"'{value}' is not {'zero or more' if self._zero else 'more than zero'} seconds", param, ctx)
        return seconds


def switch(*names: str, section: str, help: str) -> Any:
    """`--x`, `--x=true`, `--x=false`."""
    return click.option(
        *names,
        cls=Section,
        section=section,
        type=click.BOOL,
        is_flag=False,
        flag_value="true",
        default=False,
        show_default=False,
        metavar="",
        help=help,
    )


def option(*names: str, section: str, **attributes: Any) -> Any:
    return click.option(*names, cls=Section, section=section, **attributes)


SERVERS, RAMP, IMAGES, CLIENT = "Servers", "Ramp", "What is pulled", "Client"
PRUNE, OUTPUT, VERDICT = "Pruning", "Output", "Ending and verdict"


@click.command(
    cls=SectionedCommand,
    name="ocidriver",
    epilog=EXAMPLES,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)
@option("--pullthrough-url", section=SERVERS, required=True, metavar="URL", help="Server under test: host:port (http), http://… or https://…  [required]")
@option("--registry-url", section=SERVERS, required=True, metavar="URL", help="Upstream it pulls from, which is listed.  [required]")
@option("--layout", section=SERVERS, default="ociregistry", show_default=True, metavar="NAME", help="How the server names upstream images: ociregistry, distribution, zot, direct, harbor:PROJECT, nexus:REPO, artifactory:KEY, quay:ORG, ecr:PREFIX, acr:TARGET, gar:PROJECT/REMOTE, or a template such as '{pullthrough}/my-proxy/{repository}'.")
@option("--upstream-name", section=SERVERS, metavar="NAME", help="What the server calls the upstream.  [default: host and port of --registry-url]")
@option("--patterns", section=RAMP, multiple=True, metavar="RE2,…", help="One worker for each of these regexes, searched in pullthrough/registry/repository:tag; may be repeated.")
@option("--workers", section=RAMP, type=click.IntRange(1), metavar="N", help="In place of --patterns: deal the images evenly to N workers.")
@option("--iteration-seconds", section=RAMP, type=Seconds(), default=60, show_default=True, metavar="S", help="A worker is added, later removed, every so many seconds: N workers take 2·N·S.")
@option("--start-at", section=RAMP, metavar="TIME", help="Begin the ramp at this time, such as 22:30, on several machines together.")
@option("--filter", section=IMAGES, metavar="RE2", help="Keep only images whose repository:tag matches.")
@option("--all-tags", section=IMAGES, is_flag=True, help="Every tag of a repository, not just the first.")
@option("--image-list", section=IMAGES, metavar="FILE", help="Images, one a line, in place of the upstream's catalog; - is stdin.")
@switch("--shuffle", section=IMAGES, help="Each worker shuffles its list between passes.")
@option("--seed", section=IMAGES, type=int, metavar="N", help="Makes --shuffle repeatable.")
@switch("--dry-run", section=IMAGES, help="Everything but pulling and pruning.")
@option("--client", section=CLIENT, default="auto", show_default=True, metavar="NAME", help="crane, skopeo, a path to one, or auto: crane, else skopeo.")
@option("--platform", section=CLIENT, metavar="OS/ARCH", help="Platform to pull of multi-platform images.  [default: this machine's]")
@option("--pull-timeout", section=CLIENT, type=Seconds(), default=300, show_default=True, metavar="S", help="A client that runs longer is killed; the pull counts as failed.")
@option("--batch", section=CLIENT, type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Images per client launch; only 1 for now.")
@switch("--prune", section=PRUNE, help="After each pass a worker prunes what it pulled: the server goes upstream again.")
@option("--prune-first", section=PRUNE, is_flag=True, help="Prune the selected images before the ramp: first pulls are cold.")
@option("--prune-via", section=PRUNE, type=click.Choice(["auto", "client", "ociregistry"]), default="auto", show_default=True, help="By the client's delete command, Ociregistry's admin API, or the first that works.")
@option("--tally-seconds", section=OUTPUT, type=Seconds(), default=15, show_default=True, metavar="S", help="A metrics line every so many seconds.")
@option("--metrics-file", section=OUTPUT, default=STDOUT, metavar="FILE", help="Metrics lines: time, pulls/s, workers, failed, p50, p95, p99 in ms.  [default: stdout]")
@option("--log-file", section=OUTPUT, default=STDOUT, metavar="FILE", help="Log lines.  [default: stdout]")
@option("--summary-file", section=OUTPUT, type=click.Path(path_type=Path), metavar="FILE", help="The result as JSON.")
@option("--events-file", section=OUTPUT, type=click.Path(path_type=Path), metavar="FILE", help="One JSON line for each pull and prune.")
@option("--threshold", section=VERDICT, multiple=True, metavar="EXPR", help="Exit 3 unless it holds: error_rate<1%, p95<250ms, first.p99<2s, rate>50, errors.timeout<=5; may be repeated.")
@option("--keep-going", section=VERDICT, is_flag=True, help="Do not end a run whose first 10 pulls all failed.")
@option("--grace", section=VERDICT, type=Seconds(zero=True), default=10, show_default=True, metavar="S", help="How long a stop by a signal lets running clients finish.")
@click.version_option(__version__, "-V", "--version", prog_name="ocidriver")
def ocidriver(**options: Any) -> int:
    """Load-test a pull-through OCI registry with the real clients, crane or skopeo.

    Lists the upstream's images, ramps workers up and down, one for each pattern, each pulling its images through the
    server under test, and tallies the pull rate over time.
    """
    settings = make_settings(options)
    start_at = None
    if settings.start_at is not None:
        from .start import parse_start

        start_at = parse_start(settings.start_at, datetime.now().astimezone())
    from .run import run

    return run(settings, start_at)


def make_settings(options: dict[str, Any]) -> Settings:
    """The parsed options, checked; UsageError says which is wrong."""
    registry = parse_endpoint("--registry-url", options["registry_url"])
    if options["batch"] != 1:
        raise UsageError("--batch: more than one image a launch is not supported yet; leave it at 1")
    classes = frozenset(each.value for each in ErrorClass)
    settings = Settings(
        pullthrough=parse_endpoint("--pullthrough-url", options["pullthrough_url"]),
        registry=registry,
        patterns=_patterns(options["patterns"]),
        workers=options["workers"],
        iteration_seconds=options["iteration_seconds"],
        tally_seconds=options["tally_seconds"],
        metrics_file=options["metrics_file"],
        log_file=options["log_file"],
        filter=options["filter"],
        dry_run=options["dry_run"],
        prune=options["prune"],
        prune_first=options["prune_first"],
        prune_via=options["prune_via"],
        shuffle=options["shuffle"],
        seed=options["seed"],
        client=_client(options["client"]),
        layout=parse_layout(options["layout"]),
        upstream_name=_upstream_name(options["upstream_name"], registry.name),
        image_list=options["image_list"],
        all_tags=options["all_tags"],
        platform=parse_platform(options["platform"] or this_platform()),
        pull_timeout=options["pull_timeout"],
        batch=options["batch"],
        thresholds=tuple(parse_threshold(text, classes) for text in options["threshold"]),
        grace=options["grace"],
        summary_file=options["summary_file"],
        events_file=options["events_file"],
        keep_going=options["keep_going"],
        start_at=options["start_at"],
    )
    check_together(settings)
    return settings


def _patterns(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern.strip() for text in given for pattern in text.split(",") if pattern.strip())


def _client(text: str) -> str:
    if text in ("auto", *NAMES) or "/" in text:
        return text
    raise UsageError(f"--client: '{text}' is unknown; use auto, crane, skopeo or a path to one of them")


def _upstream_name(text: str | None, default: str) -> str:
    name = default if text is None else text.strip()
    if not name or any(c.isspace() or not c.isprintable() or not c.isascii() for c in name):
        raise UsageError(f"--upstream-name: '{name}' is no name of an upstream")
    return name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status. Errors are one line on stderr, never a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words:
            words = ["--help"]
        if not words[0].startswith("-"):
            raise UsageError(f"there is no command '{words[0]}'; see ocidriver --help")
        result = ocidriver.main(words, prog_name="ocidriver", standalone_mode=False)
        return int(result or 0)
    except click.ClickException as error:
        say(f"{_one_line(error)} (see ocidriver --help)")
        return ExitStatus.USAGE
    except UsageError as error:
        say(str(error))
        return ExitStatus.USAGE
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        return ExitStatus.FAILED


def _one_line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split()).rstrip(".")

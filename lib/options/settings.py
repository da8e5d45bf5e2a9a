"""Parses and checks the command line of the load test into one value, before any traffic."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from ..choices import ALL, AUTO, EVEN, POISSON, SPLIT
from ..clients.client import parse_platform, this_platform
from ..clients.table import NAMES
from ..errors import RunError, UsageError
from ..http.address import Endpoint, Listen, parse_endpoint, parse_listen, spelled_alike
from ..http.tls import Tls, parse_tls
from ..images import compile_regex
from ..load.curve import Rate, parse_rate
from ..load.order import Draw, parse_draw
from ..load.share import WHOLE, Share, parse_share
from ..load.stages import Stage, most_workers, parse_stages
from ..servers.layout import DIRECT, Layout, parse_layout
from ..servers.under_test import ServerUnderTest
from .hosts import Hosts, parse_hosts
from .thresholds import Threshold, parse_threshold
from .usage import called

# Default seconds between the starts of two workers of the ramp.
ITERATION_SECONDS = 60.0


# Options that a summary names only if they are given.
_LATER: Final[Mapping[str, Any]] = {
    "passes": None,
    "warm_up": False,
    "hold": None,
    "duration": None,
    "stages": (),
    "arrivals": EVEN,
    "draw": None,
    "deal": SPLIT,
    "herd": False,
    "sizes": AUTO,
    "share": WHOLE,
    "pieces_file": None,
    "hosts": None,
}

# These do not change the load: they only say where results go and how they are judged.
OF_NO_WEIGHT: Final = frozenset(
    (
        *("metrics_file", "log_file", "summary_file", "events_file", "pieces_file", "report_file"),
        *("metrics_format", "metrics_listen", "progress", "annotations", "threshold"),
        *("start_at", "grace", "keep_going"),
        *("hosts_ca_file", "hosts_cert", "hosts_key", "min_hosts", "lost_hosts"),
    )
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The main command's options. Times are in seconds. `patterns` is empty if `workers` is given.

    `iteration_seconds` is None if workers do not start one after the other. One of `passes`, `duration` and `stages` at
    most replaces the ramp; `hold` is the length of its peak. With `herd`, `deal` is `all`.
    """

    pullthrough: Endpoint
    registry: Endpoint
    tls: Tls
    patterns: tuple[str, ...]
    workers: int | None
    deal: str
    herd: bool
    share: Share
    hosts: Hosts | None
    iteration_seconds: float | None
    passes: int | None
    warm_up: bool
    hold: float | None
    duration: float | None
    stages: tuple[Stage, ...]
    tally_seconds: float
    metrics_file: str
    metrics_format: str
    metrics_listen: Listen | None
    log_file: str
    filter: str | None
    dry_run: bool
    prune: bool
    prune_first: bool
    prune_via: str
    shuffle: bool
    draw: Draw | None
    seed: int | None
    client: str
    containerd_socket: str | None
    layout: Layout
    upstream_name: str
    image_list: str | None
    foreign: str
    sizes: str
    all_tags: bool
    platform: str
    pull_timeout: float
    batch: int
    rate: Rate | None
    arrivals: str
    lean: bool
    thresholds: tuple[Threshold, ...]
    grace: float
    summary_file: Path | None
    events_file: Path | None
    pieces_file: Path | None
    report_file: Path | None
    progress: str
    keep_going: bool
    start_at: str | None
    annotations: str

    @property
    def under_test(self) -> ServerUnderTest:
        """The server under test as these options describe it."""
        return ServerUnderTest(self.pullthrough, self.registry, self.upstream_name, self.layout)

    @property
    def written(self) -> dict[str, str]:
        """The files that a run writes, by what they hold. The option of each is `--WHAT-file`."""
        files = {
            "summary": self.summary_file,
            "events": self.events_file,
            "report": self.report_file,
            "pieces": self.pieces_file,
            "metrics": self.metrics_file,
            "log": self.log_file,
        }
        return {what: str(path) for what, path in files.items() if path is not None}

    def as_json(self) -> dict[str, Any]:
        """Returns the settings for the summary, by option name. They contain no secrets."""
        shown: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Endpoint):
                shown[f"{field.name}_url"] = value.url
            elif isinstance(value, (Tls, Hosts)):
                shown.update(value.as_json())
            elif isinstance(value, Layout):
                shown[field.name] = value.name
            elif field.name == "thresholds":
                shown["threshold"] = [threshold.expression for threshold in self.thresholds]
            elif field.name in _LATER and value == _LATER[field.name]:
                continue
            elif field.name == "stages":
                shown["stage"] = [str(stage) for stage in self.stages]
            else:
                shown[field.name] = (
                    str(value) if isinstance(value, (Path, Listen, Rate, Draw, Share)) else value
                )
        return shown


def check_together(settings: Settings) -> None:
    """Raises `UsageError` if options cannot be combined or a regex is not valid."""
    if bool(settings.patterns) == (settings.workers is not None):
        raise UsageError(
            "give either --patterns (one worker for each) or --workers N (which share the images evenly)"
        )
    _check_shape(settings)
    _check_deal(settings)
    _check_hosts(settings)
    for option, regexes in (("--patterns", settings.patterns), ("--filter", (settings.filter or "",))):
        for regex in regexes:
            compile_regex(option, regex)
    pruning = settings.prune or settings.prune_first
    if pruning and settings.warm_up:
        raise UsageError(
            f"--warm-up and {'--prune' if settings.prune else '--prune-first'} cannot be combined: one makes the pulls "
            "of the load warm, the other cold; leave one of them out"
        )
    if pruning and settings.layout.is_upstream:
        raise UsageError(
            "--prune with --layout direct would delete the upstream's own images; leave one of them out"
        )
    if settings.registry.path and settings.layout.template == DIRECT:
        raise UsageError(
            f"--layout {settings.layout.name}: clients cannot pull from a registry below the path "
            f"'{settings.registry.path}' of --registry-url; use a template, such as '{{upstream}}/KEY/{{repository}}'"
        )
    if pruning and spelled_alike(settings.pullthrough, settings.registry):
        raise UsageError(
            "--pullthrough-url and --registry-url are the same server, so --prune would delete the upstream's images; "
            "leave --prune out or correct a URL"
        )


def _check_shape(settings: Settings) -> None:
    """Raises `UsageError` if the options describe no load, or two."""
    shapes = {
        "--hold": settings.hold,
        "--duration": settings.duration,
        "--stage": settings.stages or None,
        "--passes": settings.passes,
    }
    given = [option for option, value in shapes.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} are two shapes of the load; leave one of them out")
    if settings.passes is not None and settings.rate is not None:
        raise UsageError(
            "--passes and --rate cannot be combined, because a schedule needs a fixed end; leave one of them out"
        )
    scheduled = settings.rate is not None
    if settings.stages:
        if scheduled:
            raise UsageError(
                "--stage and --rate cannot be combined; give the rates as stages, such as 5m:200/s"
            )
        scheduled = settings.stages[0].workers is None
        most, workers = most_workers(settings.stages), settings.workers or len(settings.patterns)
        if most > workers:
            raise UsageError(
                f"--stage goes up to {most} workers, but there are {workers}; give --workers {most}, or more patterns"
            )
    if settings.draw is not None and settings.shuffle:
        raise UsageError("--draw and --shuffle are two orders of the images; leave one of them out")
    if settings.arrivals == POISSON and not scheduled:
        raise UsageError("--arrivals poisson needs a schedule; add --rate, or --stage with rates")


def _check_deal(settings: Settings) -> None:
    """Raises `UsageError` if the options do not say which worker pulls what, or if no herd can do it."""
    if settings.patterns and settings.herd:
        raise UsageError(
            "--herd and --patterns cannot be combined; give --workers N in place of the patterns"
        )
    if settings.patterns and settings.deal == ALL:
        raise UsageError(
            "--deal all and --patterns cannot be combined; give --workers N, and choose the images with --filter"
        )
    if not settings.herd:
        return
    if settings.hosts is not None:
        raise UsageError(
            "--herd and --hosts cannot be combined, because a herd pulls at the same moment; leave one of them out"
        )
    if not settings.share.is_whole:
        raise UsageError(
            "--herd and --share cannot be combined, because a herd pulls at the same moment; leave one of them out"
        )
    if settings.rate is not None:
        raise UsageError(
            "--herd and --rate cannot be combined, because herds have no schedule; leave one of them out"
        )
    if settings.stages and settings.stages[0].workers is None:
        raise UsageError("--herd and --stage with rates cannot be combined; give stages such as 20s:4")
    if settings.batch > 1:
        raise UsageError(
            "--herd and --batch cannot be combined, because a herd pulls one image; leave one of them out"
        )


def _check_hosts(settings: Settings) -> None:
    """Raises `UsageError` if an option is for one host only."""
    if settings.hosts is None:
        return
    if not settings.share.is_whole:
        raise UsageError(
            "--hosts and --share cannot be combined, because --hosts gives each host its share; leave one of them out"
        )
    if settings.pieces_file is not None:
        raise UsageError(
            "--hosts and --pieces-file cannot be combined, because the driver adds the hosts up itself; leave out "
            "--pieces-file"
        )


def _deal(given: str | None, *, herd: bool) -> str:
    if herd and given == SPLIT:
        raise UsageError("--herd gives every worker all images; leave out --deal split")
    return ALL if herd else given or SPLIT


def make_settings(options: Mapping[str, Any]) -> Settings:
    """Returns the checked settings. Raises `UsageError` that names the wrong option."""
    registry = parse_endpoint("--registry-url", options["registry_url"], below=True)
    settings = Settings(
        pullthrough=parse_endpoint("--pullthrough-url", options["pullthrough_url"]),
        registry=registry,
        tls=parse_tls(options),
        patterns=_patterns(options["patterns"]),
        workers=options["workers"],
        deal=_deal(options["deal"], herd=options["herd"]),
        herd=options["herd"],
        share=parse_share("--share", options["share"]) if options["share"] is not None else WHOLE,
        hosts=parse_hosts(options),
        iteration_seconds=_iteration_seconds(options),
        passes=options["passes"],
        warm_up=options["warm_up"],
        hold=options["hold"],
        duration=options["duration"],
        stages=parse_stages("--stage", options["stage"]),
        tally_seconds=options["tally_seconds"],
        metrics_file=options["metrics_file"],
        metrics_format=options["metrics_format"],
        metrics_listen=_listen(options["metrics_listen"]),
        log_file=options["log_file"],
        filter=options["filter"],
        dry_run=options["dry_run"],
        prune=options["prune"],
        prune_first=options["prune_first"],
        prune_via=options["prune_via"],
        shuffle=options["shuffle"],
        draw=parse_draw("--draw", options["draw"]) if options["draw"] is not None else None,
        seed=_seed(options),
        client=_client(options["client"]),
        containerd_socket=_socket(options["containerd_socket"]),
        layout=parse_layout(options["layout"]),
        upstream_name=_upstream_name(options["upstream_name"], registry.server),
        image_list=options["image_list"],
        foreign=options["foreign"],
        sizes=options["sizes"],
        all_tags=options["all_tags"],
        platform=parse_platform(options["platform"] or this_platform()),
        pull_timeout=options["pull_timeout"],
        batch=_batch(options),
        rate=_rate(options["rate"]),
        arrivals=options["arrivals"],
        lean=options["lean"],
        thresholds=tuple(parse_threshold(text) for text in options["threshold"]),
        grace=options["grace"],
        summary_file=options["summary_file"],
        events_file=options["events_file"],
        pieces_file=options["pieces_file"],
        report_file=options["report_file"],
        progress=options["progress"],
        keep_going=options["keep_going"],
        start_at=options["start_at"],
        annotations=options["annotations"],
    )
    check_together(settings)
    return settings


def _iteration_seconds(options: Mapping[str, Any]) -> float | None:
    given: float | None = options["iteration_seconds"]
    for option, value in (("--duration", options["duration"]), ("--stage", options["stage"] or None)):
        if value is not None and given is not None:
            raise UsageError(f"{option} has no --iteration-seconds; leave one of them out")
        if value is not None:
            return None
    return ITERATION_SECONDS if given is None and options["passes"] is None else given


def _seed(options: Mapping[str, Any]) -> int | None:
    """Returns the seed; if it is left out, one for what has to be repeatable from the summary."""
    given: int | None = options["seed"]
    needed = options["draw"] is not None or options["arrivals"] == POISSON
    if given is None and options["share"] is not None and options["arrivals"] == POISSON:
        raise UsageError("--share with --arrivals poisson needs --seed, the same number for all shares")
    return secrets.randbelow(1 << 32) if given is None and needed else given


def _patterns(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(pattern.strip() for text in given for pattern in text.split(",") if pattern.strip())


def _listen(text: str | None) -> Listen | None:
    return None if text is None else parse_listen("--metrics-listen", text)


def _rate(text: str | None) -> Rate | None:
    return None if text is None else parse_rate("--rate", text)


def _client(text: str) -> str:
    if text in (AUTO, *NAMES) or "/" in text:
        return text
    raise UsageError(
        f"--client: '{text}' is unknown; use {', '.join((AUTO, *NAMES))} or a path to one of them"
    )


def _batch(options: Mapping[str, Any]) -> int:
    """Returns the images per launch. `auto` is what `calibrate` found best for this client on this machine."""
    given: int | str = options["batch"]
    if isinstance(given, int):
        return given
    if options["dry_run"]:
        return 1
    from ..calibrated import recall  # heavy, and rarely needed
    from ..clients.find import find_client

    found = find_client(_client(options["client"]), os.environ)
    if not found.kind.abilities.takes_several:
        return 1
    calibrated = recall(found.kind.name, found.executable.version)
    if calibrated is None:
        client = found.kind.name if options["client"] == AUTO else shlex.quote(options["client"])
        raise RunError(
            f"--batch auto: calibrate has not measured {found} on this machine; run '{called()} calibrate "
            f"--client {client}' first, or give a number"
        )
    return calibrated.best.batch


def _socket(path: str | None) -> str | None:
    if path is not None and not path.strip():
        raise UsageError("--containerd-socket: give the path of a socket, or leave out the option")
    return path


def _upstream_name(text: str | None, default: str) -> str:
    name = default if text is None else text.strip()
    if not name or any(c.isspace() or not c.isprintable() or not c.isascii() for c in name):
        raise UsageError(
            f"--upstream-name: '{name}' is not a valid upstream name; give a name without spaces, such as host:port"
        )
    return name

"""The commands `ocidriver populate` and `ocidriver lab`."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import aiohttp
import click
from yarl import URL

from ..cli import carry_out, check_load_test
from ..counted import counted
from ..errors import RunError
from ..http.address import Endpoint, parse_endpoint
from ..http.credentials import Credentials, CredentialsError, names_of
from ..http.exchange import RegistryError, explain
from ..http.tls import INSECURE, Tls, parse_tls
from ..options.definitions import TLS_OPTIONS
from ..options.types import Size, Whole
from ..options.usage import called
from ..streams import warn
from .cache.faults import REPERTOIRE
from .populate import Population, Progress, PushRefused
from .populate import populate as push_images
from .scene import CRANE, DISTRIBUTION, EMBEDDED, LAYOUTS, Scene, cache_of, group_patterns, upstream_server
from .servers import ServerFailed, ServerMissing, check_alive

SETTINGS = {"max_content_width": 110, "help_option_names": ["-h", "--help"]}
KIB, GIB = 1024, 1 << 30
# Seconds between two looks at the servers of the lab.
_LOOK_SECONDS = 0.5


def _population_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that describe the images. Both commands have them."""
    options = [
        click.option("--groups", type=Whole(1, 9999), default=10, show_default=True, metavar="N",
                     help="Groups of images. Their names contain -NNNN, so that --patterns=-0001,… selects groups."),
        click.option("--images", type=Whole(1), default=50, show_default=True, metavar="N",
                     help="Images in each group."),
        click.option("--layers", type=Whole(1, 127), default=5, show_default=True, metavar="N",
                     help="Layers in each image."),
        click.option("--layer-size", type=Size(), default="2KiB", show_default=True, metavar="SIZE",
                     help="Size of a layer, 1KiB to 1GiB."),
        click.option("--seed", type=int, default=1, show_default=True, metavar="N",
                     help="The same seed makes the same images."),
        click.option("--tags", type=Whole(1), default=1, show_default=True, metavar="N",
                     help="Tags in each repository. Each tag is a different image."),
        click.option("--shared-layers", type=click.FloatRange(0, 100), default=0.0, show_default=True, metavar="P",
                     help="Percentage of each image's layers that are identical in all images."),
        click.option("--platforms", default="", metavar="OS/ARCH,…",
                     help="Make multi-platform images, for example for linux/amd64,linux/arm64."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _population(options: dict[str, Any]) -> Population:
    platforms = tuple(part.strip() for part in options["platforms"].split(",") if part.strip())
    if not KIB <= options["layer_size"] <= GIB:
        raise click.UsageError(f"--layer-size: {options['layer_size']} bytes is not between 1KiB and 1GiB")
    try:
        return Population(
            groups=options["groups"],
            images=options["images"],
            layers=options["layers"],
            layer_size=options["layer_size"],
            seed=options["seed"],
            tags=options["tags"],
            shared_layers=options["shared_layers"] / 100,
            platforms=platforms,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@contextmanager
def _bar(population: Population) -> Iterator[Progress]:
    """Shows a progress bar on stderr if that is a terminal."""
    total = population.groups * population.images * population.tags
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=total, label="pushing images", file=sys.stderr, hidden=hidden) as bar:
        yield lambda done, _total: bar.update(done - bar.pos)


_REGISTRY_URL = click.Option(
    ["--registry-url"],
    required=True,
    metavar="URL",
    help="The registry to push to: host:port (http), http://… or https://…",
)


_POPULATE_HELP = """Make random images and push them to a registry.

Their names are <word>-<word>-NNNN:vX.Y, where NNNN is the group. Images that the registry already has are not
pushed again. So after an interruption, start the same command again."""


@click.command(context_settings=SETTINGS, params=[_REGISTRY_URL, *TLS_OPTIONS], help=_POPULATE_HELP)
@_population_options
def populate(registry_url: str, **options: Any) -> None:
    """Makes random images and pushes them."""
    endpoint = parse_endpoint("--registry-url", registry_url)
    population = _population(options)
    tls = parse_tls(options)
    if tls.insecure:
        warn(INSECURE)
    started = time.monotonic()
    names = _push(str(_with_login(endpoint)), population, tls)
    click.echo(
        f"{endpoint.name} has {counted(len(names), 'image')} after {time.monotonic() - started:.1f} s. Run next:\n"
    )
    patterns = group_patterns(population)
    click.echo(
        f"  {shlex.join([called(), *Scene(registry_url, 'CACHE:PORT', 'ociregistry').arguments(patterns)])}"
    )


def _advice(error: PushRefused, url: URL) -> str:
    if error.status not in (401, 403):
        return ""
    who = "" if error.status == 401 else " as a user who may push"
    return f": log in{who} (docker login {names_of(url)[0]})"


def _push(url: str, population: Population, tls: Tls) -> list[str]:
    """Pushes the images with a progress bar. Raises `RunError` if the registry does not accept them."""
    try:
        with _bar(population) as progress:
            return asyncio.run(push_images(url, population, progress=progress, tls=tls.context()))
    except PushRefused as error:
        raise RunError(f"the registry refused the push: {error}{_advice(error, URL(url))}") from None
    except RegistryError as error:
        raise RunError(f"cannot push: {error}") from None
    except (OSError, aiohttp.ClientError, asyncio.TimeoutError) as error:
        raise RunError(f"cannot push: {explain(error, URL(url))}") from None


def _with_login(endpoint: Endpoint) -> URL:
    """Returns the URL with the user's login from the Docker configuration."""
    url = URL(endpoint.url)
    try:
        login = asyncio.run(Credentials.from_environment(os.environ).logins_for(url)).first
    except CredentialsError as error:
        raise RunError(str(error)) from None
    return url.with_user(login.username).with_password(login.password) if login and login.username else url


_POSITIVE = click.FloatRange(0, min_open=True)

_LAB_HELP = """Start an upstream with images and a pull-through cache of it on this machine.

Both listen on loopback only. The lab runs until Ctrl-C. `ocidriver lab -- LOAD-TEST-OPTIONS` runs one load test
in the lab instead, and then ends."""


@click.command(context_settings=SETTINGS, help=_LAB_HELP)
@click.option(
    "--cache",
    "kind",
    type=click.Choice([EMBEDDED, DISTRIBUTION]),
    default=EMBEDDED,
    show_default=True,
    help="embedded: the lab's own cache, which answers as Ociregistry does. distribution: docker-registry as a proxy.",
)
@click.option(
    "--upstream",
    type=click.Choice([CRANE, DISTRIBUTION]),
    default=CRANE,
    show_default=True,
    help="crane: crane's registry, in memory. distribution: docker-registry.",
)
@click.option(
    "--cache-port",
    type=Whole(0, 65535),
    default=0,
    metavar="PORT",
    help="Port of the cache.  [default: a free one]",
)
@click.option(
    "--upstream-port",
    type=Whole(0, 65535),
    default=0,
    metavar="PORT",
    help="Port of the upstream.  [default: a free one]",
)
@click.option(
    "--latency", type=_POSITIVE, metavar="MS", help="Embedded cache: delay each answer by this time."
)
@click.option(
    "--bandwidth",
    type=_POSITIVE,
    metavar="BYTES/S",
    help="Embedded cache: limit the bandwidth of all clients together.",
)
@click.option(
    "--max-concurrent",
    type=Whole(1),
    metavar="N",
    help="Embedded cache: serve at most N requests at a time. Others wait.",
)
@click.option(
    "--fault",
    multiple=True,
    metavar="NAME[:RATE]",
    help="Embedded cache: break answers. NAME is a status from 400 to 599, reset, hang, truncate or corrupt. With "
    "manifest- or blob- before NAME, only manifests or only blobs break. RATE is the share of answers to break (0.1 or "
    "10%), or their number (2x: the first two). Repeatable.",
)
@click.option(
    "--allow-delete", is_flag=True, help="Embedded cache: allow OCI deletes, so that clients can prune."
)
@click.option(
    "--no-coalescing",
    is_flag=True,
    help="Embedded cache: fetch a missing image once for each client that waits for it, instead of once for all of "
    "them.",
)
@_population_options
@click.argument("driver_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- LOAD-TEST-OPTIONS]")
def lab(
    kind: str,
    upstream: str,
    cache_port: int,
    upstream_port: int,
    driver_options: tuple[str, ...],
    **options: Any,
) -> int:
    """Runs the lab, or one load test in it."""
    population = _population(options)
    cache_options = _cache_options(kind, options)
    if driver_options:  # a lab for options that are wrong would start in vain
        check_load_test([*Scene("127.0.0.1:1", "127.0.0.1:2", LAYOUTS[kind]).arguments(), *driver_options])
    with _ended_in_order(130 if driver_options else 0), upstream_server(upstream, upstream_port) as server:
        _push(server.url, population, Tls())
        with cache_of(server, kind, port=cache_port, options=cache_options) as scene:
            if driver_options:
                return carry_out([*scene.arguments(), *driver_options])
            _tell(scene, kind, population)
            assert scene.cache is not None
            while True:
                check_alive(upstream=server, cache=scene.cache)
                time.sleep(_LOOK_SECONDS)


def _cache_options(kind: str, options: dict[str, Any]) -> list[str]:
    given = [
        *(word for name in ("latency", "bandwidth", "max_concurrent") if options[name] is not None
          for word in (f"--{name.replace('_', '-')}", f"{options[name]:g}")),
        *(word for fault in options["fault"] for word in ("--fault", fault)),
        *(f"--{name.replace('_', '-')}" for name in ("allow_delete", "no_coalescing") if options[name]),
    ]  # fmt: skip
    for fault in options["fault"]:
        try:
            REPERTOIRE.parse(fault)
        except ValueError as error:
            raise click.UsageError(f"--fault: {error}") from None
    if given and kind != EMBEDDED:
        raise click.UsageError(
            f"{given[0]} works only with the embedded cache; leave it out, or use --cache embedded"
        )
    return given


@contextmanager
def _ended_in_order(interrupted: int) -> Iterator[None]:
    """Makes a signal leave the block in order: servers are stopped and folders removed.

    Without this, SIGTERM and SIGHUP would end Python at once. The exit status of Ctrl-C is `interrupted`.
    Raises `RunError` if a server is missing or failed.
    """

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(interrupted if number == signal.SIGINT else 128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    except (ServerMissing, ServerFailed) as error:
        raise RunError(str(error)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(scene: Scene, kind: str, population: Population) -> None:
    where = (
        "the lab's own cache, which answers as Ociregistry does"
        if kind == EMBEDDED
        else "docker-registry as a proxy"
    )
    count = population.groups * population.images * population.tags
    click.echo(f"Upstream  {scene.upstream}, {counted(count, 'image')}")
    click.echo(f"Cache     {scene.pullthrough}, {where}")
    if kind == EMBEDDED:
        click.echo(f"          its metrics: http://{scene.pullthrough}/metrics")
    click.echo("\nIn another terminal:\n")
    click.echo(
        f"  {shlex.join([called(), *scene.arguments(group_patterns(population, 3)), '--iteration-seconds', '10'])}"
    )
    click.echo("\nCtrl-C ends the lab.")

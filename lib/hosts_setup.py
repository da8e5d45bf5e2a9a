"""What a run on hosts and `doctor` share: how to connect, what the hosts are to do, and what may do damage."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from .choices import BY_CLIENT
from .errors import RunError, UsageError
from .hosts.fleet import Fleet
from .hosts.member import Member
from .hosts.preparing import Order, share_images, share_repositories
from .listing.selection import Selection
from .options.hosts import DEFAULTS, Hosts
from .options.settings import Settings
from .prepare import Preparation
from .servers.prune_probe import probe_admin

# Connects to the hosts of a run, whose name is the text. Gives their fleet and the version of distributed here.
# It calls the function several times per second meanwhile; what that raises ends the attempt.
Connect = Callable[[Hosts, str, Callable[[], None]], AbstractContextManager[tuple[Fleet, str]]]


def connecting(hosts: Hosts | None) -> Connect:
    """Returns what connects to a Dask cluster.

    Raises `UsageError` if the package `distributed` is missing, or if the files of these hosts for TLS cannot be used.
    """
    from .hosts.dask_fleet import check_files, open_fleet

    if hosts is not None:
        check_files(hosts)

    @contextmanager
    def connected(hosts: Hosts, run: str, heed: Callable[[], None]) -> Iterator[tuple[Fleet, str]]:
        try:
            fleet = open_fleet(hosts, run, heed)
        except UsageError as error:
            raise RunError(str(error)) from None
        try:
            if fleet.scheduler_version != fleet.version:
                raise RunError(
                    f"the scheduler has distributed {fleet.scheduler_version}, and the controller has {fleet.version}; "
                    "install the same version"
                )
            yield fleet, fleet.version
        finally:
            fleet.close()

    return connected


def open_to_others(hosts: Hosts) -> str | None:
    """Returns a warning if others may reach the scheduler; None if they cannot."""
    if hosts.is_encrypted or hosts.is_loopback:
        return None
    return (
        f"--hosts {hosts.address} has no TLS, so whoever reaches the scheduler can run any code on all hosts; "
        "use tls:// (see docs/distributed.md)"
    )


def check_prunes(ready: Preparation, members: Sequence[Member]) -> None:
    """Raises `RunError` if hosts would prune one image at the same time, and that damages the server's cache.

    Warns if they may. A driver sends the prune calls of all its workers one after the other. Several hosts do not.
    """
    settings, connections = ready.settings, ready.connections()
    pruning = settings.prune or settings.prune_first
    if not pruning or settings.dry_run or settings.prune_via == BY_CLIENT:
        return
    selection, option = ready.selection(), "--prune" if settings.prune else "--prune-first"
    if not share_repositories(members, selection):
        return
    server = connections.registry(settings.under_test.endpoint.url)
    if not connections.network.run_until_stop(probe_admin(server)).works:
        return
    if share_images(members, selection):
        raise RunError(
            f"{option}: several hosts would prune the same images, and two prunes of one image at the same time "
            f"damage Ociregistry's cache; give each worker images of its own (--deal split), or leave out {option}"
        )
    connections.caution(
        f"{option}: several hosts prune images of the same repositories; if two tags name one image of several "
        "platforms, prunes at the same time may damage Ociregistry's cache; to keep a repository on one host, use "
        "--patterns"
    )


def order_of(settings: Settings, options: Mapping[str, Any], selection: Selection) -> Order:
    """Returns what the hosts are to do. `options` are those of the main command."""
    tls = settings.tls
    local = settings.hosts is not None and settings.hosts.local is not None
    return Order(
        options=options_of_hosts(settings, options),
        selection=selection,
        ca_pem=tls.authorities.decode("ascii") if tls.authorities else None,
        by=f"{_user()} on {platform.node()}",
        lock=lambda member: f"local-{os.getpid()}-{member.share.number}" if local else "host",
    )


def options_of_hosts(settings: Settings, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that each host gets: those of the command, with what this process has found out.

    The values are those of JSON. Where results go is the hosts' own matter: only whether there are events is told.
    """
    found = {
        "seed": settings.seed,
        "batch": settings.batch,
        "platform": settings.platform,
        "upstream_name": settings.upstream_name,
        "share": None,
        **DEFAULTS,
    }
    return {name: _plain(value) for name, value in {**options, **found}.items()}


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it. A name that is not UTF-8 is that of a file here, which hosts do not use."""
    if isinstance(value, (Path, str)):
        return str(value).encode("utf-8", "replace").decode()
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have a user without a name
        return f"user {os.getuid()}"

"""The metrics endpoint for Prometheus. It reads a run's counts from the Tally at each request.

It answers only GET and HEAD of /metrics. On loopback, it refuses requests with another host's name. So a web page in
a browser on this machine cannot read the metrics (DNS rebinding).
"""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from time import monotonic, process_time

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__
from ..errors import RunError
from ..http.address import Listen
from ..http.listener import Listener
from ..load.latency import BOUNDS, Buckets
from ..load.pace import MACHINE, NO_WORKER
from ..outcomes import FAILED, INTERRUPTED, OK, ErrorClass
from .host_line import HOST_STATES
from .run_state import Run

PATH = "/metrics"
_METHODS = ("GET", "HEAD")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_CONNECTIONS = 64


class RunCollector(Collector):
    """Collects a run's current numbers. The driver keeps counting, so collections that may grow are copied."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def collect(self) -> Iterator[Metric]:
        yield from self._workers()
        yield from self._hosts()
        yield from self._outcomes()
        yield from self._errors()
        yield self._repulled()
        yield from self._bytes()
        yield from self._schedule()
        yield self._latencies()
        yield from self._cpu()
        if self._run.client_info is not None or self._run.settings.dry_run:
            yield self._build()

    def _workers(self) -> Iterator[Metric]:
        driver = self._run.driver
        yield GaugeMetricFamily(
            "ocidriver_workers_running",
            "Workers running now. A worker that is stopped finishes its pull first.",
            value=driver.running if driver else 0,
        )
        yield GaugeMetricFamily(
            "ocidriver_workers_planned",
            "Workers that the plan wants running now. With --passes, also those that have finished.",
            value=driver.planned if driver else 0,
        )

    def _hosts(self) -> Iterator[Metric]:
        """Yields the metrics of the hosts, if several carry out the load."""
        hosts = self._run.hosts
        if not hosts:
            return
        states = Counter(host.state for host in hosts)
        family = GaugeMetricFamily("ocidriver_hosts", "Hosts by state.", labels=("state",))
        for state in HOST_STATES:
            family.add_metric((state,), states[state])
        yield family
        pulls = CounterMetricFamily(
            "ocidriver_host_pulls",
            "Ended pulls by host and outcome, as far as the host has reported them.",
            labels=("host", "outcome"),
        )
        ages = GaugeMetricFamily(
            "ocidriver_host_last_piece_seconds",
            "Seconds since the host last reported pulls. A running host reports every few seconds.",
            labels=("host",),
        )
        now = monotonic()
        for host in hosts:
            for outcome, count in ((OK, host.pulled), (FAILED, host.failed), (INTERRUPTED, host.interrupted)):
                pulls.add_metric((host.name, outcome), count)
            if host.last_piece is not None:
                ages.add_metric((host.name,), max(0.0, now - host.last_piece))
        yield pulls
        yield ages

    def _outcomes(self) -> Iterator[Metric]:
        labels = ("worker", "pattern", "outcome")
        pulls = CounterMetricFamily("ocidriver_pulls", "Ended pulls by worker and outcome.", labels=labels)
        prunes = CounterMetricFamily("ocidriver_prunes", "Ended prunes by worker and outcome.", labels=labels)
        for index, (chosen, count) in enumerate(
            zip(self._run.image_sets, self._run.tally.workers, strict=False)
        ):
            worker = (str(index), chosen.pattern)
            pulls.add_metric((*worker, OK), count.pulled)
            pulls.add_metric((*worker, FAILED), count.failed)
            pulls.add_metric((*worker, INTERRUPTED), count.interrupted)
            prunes.add_metric((*worker, OK), count.pruned)
            prunes.add_metric((*worker, FAILED), count.prune_failed)
            prunes.add_metric((*worker, INTERRUPTED), count.prune_interrupted)
        yield pulls
        yield prunes

    def _errors(self) -> Iterator[Metric]:
        tally = self._run.tally
        for name, about, errors in (
            ("ocidriver_errors", "Failed pulls by error class.", dict(tally.errors)),
            ("ocidriver_prune_errors", "Failed prunes by error class.", dict(tally.prune_errors)),
        ):
            family = CounterMetricFamily(name, about, labels=("class",))
            for each in ErrorClass:
                family.add_metric((each.value,), errors.get(each.value, 0))
            yield family

    def _repulled(self) -> Metric:
        return CounterMetricFamily(
            "ocidriver_repulls",
            "Images pulled again alone, to find out why their batch failed.",
            value=self._run.tally.repulled,
        )

    def _bytes(self) -> Iterator[Metric]:
        """Yields what was pulled in bytes, if that is known."""
        size = self._run.tally.bytes
        if size is not None:
            yield CounterMetricFamily(
                "ocidriver_pulled_bytes",
                "Bytes of the images that were pulled: config and layers, compressed.",
                value=size,
            )

    def _schedule(self) -> Iterator[Metric]:
        """Yields the metrics of the schedule, if there is one."""
        tally, driver = self._run.tally, self._run.driver
        if tally.schedule is None:
            return
        unstarted = tally.unstarted(driver.second) if driver else 0
        late = CounterMetricFamily(
            "ocidriver_late_pulls",
            "Pulls that started more than 50 ms after they were due, by reason. no-worker: all workers were busy. "
            "machine: this machine was slow to start them.",
            labels=("reason",),
        )
        late.add_metric((NO_WORKER,), tally.late_no_worker)
        late.add_metric((MACHINE,), tally.late_machine)
        yield late
        if unstarted is not None:
            yield GaugeMetricFamily(
                "ocidriver_unstarted_pulls",
                "Pulls that are due but that no worker has started yet.",
                value=unstarted,
            )

    def _latencies(self) -> Metric:
        family = HistogramMetricFamily(
            "ocidriver_pull_duration_seconds",
            "Duration of successful launches; with a schedule, from the due time. "
            "kind first: an image's first pull of the run or after its prune.",
            labels=("kind",),
        )
        for kind, buckets in zip(("first", "repeat"), self._run.tally.buckets(), strict=True):
            family.add_metric((kind,), buckets=_cumulative(buckets), sum_value=buckets.sum)
        return family

    def _cpu(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "ocidriver_client_cpu_seconds",
            "CPU time of the clients that have ended.",
            value=self._run.tally.client_cpu_seconds,
        )
        yield CounterMetricFamily(
            "ocidriver_driver_cpu_seconds",
            "CPU time of the driver itself, and of those on other hosts.",
            value=process_time() + self._run.tally.elsewhere_cpu_seconds,
        )

    def _build(self) -> Metric:
        client = self._run.client_info
        return InfoMetricFamily(
            "ocidriver_build",
            "Versions of ocidriver and its client. A dry run has no client.",
            value={
                "version": __version__,
                "client": client.name if client else "",
                "client_version": client.version if client else "",
            },
        )


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    """Returns Prometheus' cumulative buckets: (upper bound, pulls up to it)."""
    shown, total = [], 0
    for bound, count in zip((*map(repr, BOUNDS), "+Inf"), list(buckets.counts), strict=True):
        total += count
        shown.append((bound, float(total)))
    return shown


class Exporter:
    """Serves a collector's metrics. `start` returns the URLs, and raises `RunError` if it cannot listen."""

    def __init__(self, listen: Listen, collector: Collector) -> None:
        self._listen = listen
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._hosts: frozenset[str] | None = None
        self._listener = Listener(self._answer, _CONNECTIONS)

    async def start(self) -> list[str]:
        try:
            addresses = await self._listener.start(self._listen.host, self._listen.port)
        except OSError as error:
            raise RunError(
                f"--metrics-listen: cannot listen on {self._listen}: {_reason(error)}; "
                "use another port, or 0 for any free one"
            ) from None
        self._hosts = _accepted_hosts([host for host, _ in addresses], self._listen.host)
        return [f"http://{Listen(host, port)}{PATH}" for host, port in addresses]

    async def close(self) -> None:
        await self._listener.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if self._hosts is not None and _host_name(request.headers.get("Host", "")) not in self._hosts:
            return web.Response(status=421, text="this endpoint is for this machine only\n")
        if request.path != PATH:
            return web.Response(status=404, text=f"there is only {PATH}\n")
        if request.method not in _METHODS:
            return web.Response(status=405, headers={"Allow": ", ".join(_METHODS)})
        return web.Response(
            body=generate_latest(self._registry),
            headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"},
        )


def _accepted_hosts(bound: Iterable[str], written: str) -> frozenset[str] | None:
    """Returns the host names that a request may use, or None for any if other machines can reach the endpoint."""
    bound = list(bound)
    if not all(ip_address(host.partition("%")[0]).is_loopback for host in bound):
        return None
    return frozenset((*_LOCAL_NAMES, *bound, written.lower()))


def _host_name(header: str) -> str:
    """Returns the name in a Host header, without port and brackets."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # from Python 3.13 on, asyncio leaves the number out if the address is not this machine's
    return os.strerror(error.errno or errno.EADDRNOTAVAIL)

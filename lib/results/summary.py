"""The summary of a run, schema 1. The driver writes it at the end; `report` and `compare` read it.

Files of earlier versions may lack the fields that have a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import UsageError
from ..figures import three
from ..latency import LEAST, Latency
from ..load.plan import HOLD
from ..options.thresholds import parse_threshold
from ..units import Bytes, BytesPerSecond, Count, CpuSeconds, Milliseconds, Rate, Seconds, Share, about
from .sample import Sample
from .times import Moment

SCHEMA: Final = 1
# A knee needs steps with so many different numbers of workers: with fewer, three parameters follow any rates.
LEAST_DIFFERENT: Final = 6


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The client that pulled the images."""

    name: Annotated[str, about("Name of the client, as `--client` takes it.")]
    version: Annotated[str, about("Version of the client, as it reports it.")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class WorkerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One worker: its images, and the counts of its pulls and prunes."""

    pattern: Annotated[str, about("Pattern that selected the worker's images, or `k/N` with `--workers N`.")]
    images: Annotated[Count, about("Images that the worker has.")]
    passes: Annotated[Count, about("Passes over its images that the worker has finished.")]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    pruned: Annotated[Count, about("Images that the worker pruned.")]


class ImageSetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The pulls of the images that one pattern selected, by whichever worker."""

    pattern: Annotated[str, about("Pattern that selected the images, or `k/N` with `--workers N`.")]
    images: Annotated[Count, about("Images of the set.")]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    latency_ms: Annotated[Latency | None, about("Latency of the successful pulls; null without one.")]


class WarmUpCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The pulls before the load that `--warm-up` asks for. They count nowhere else."""

    pulled: Annotated[Count, about("Images that were pulled.")]
    failed: Annotated[Count, about("Images whose pull failed. One ends the run.")]
    seconds: Annotated[Seconds, about("Length of the warm-up, in seconds.")]


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """What ended after the planned end. It is not in the steps and the samples."""

    seconds: Annotated[Seconds, about("From the planned end until the last pull or prune ended, in seconds.")]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    bytes: Annotated[
        Bytes | UnsetType,
        about("What the successful pulls fetched, in bytes. Absent if a size is unknown."),
    ] = UNSET


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The step with the highest rate."""

    rate: Annotated[Rate, about("Successful pulls per second of the step.")]
    low: Annotated[Rate, about("Lower end of the 95 % confidence interval of the rate.")]
    high: Annotated[Rate, about("Upper end of the interval.")]
    workers: Annotated[Count, about("Workers of the step.")]
    offered: Annotated[
        Rate | None, about("Pulls per second that the schedule wanted; null without a schedule.")
    ] = None
    latency_ms: Annotated[Latency | None, about("Latency of the step's successful pulls.")]
    bytes_per_second: Annotated[
        BytesPerSecond | UnsetType,
        about("Bytes per second of the step. Absent if a size is unknown."),
    ] = UNSET


class Knee(msgspec.Struct, frozen=True, kw_only=True):
    """Where perfect scaling would meet the highest rate of the fitted law, with its interval of 95 %."""

    workers: Annotated[float, about("Workers at the knee.")]
    low: Annotated[float, about("Lower end of the interval.")]
    high: Annotated[float, about("Upper end of the interval.")]


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """How precise `rate` is."""

    percent: Annotated[
        float, about("Half width of the 95 % confidence interval of `rate`, in percent of it.")
    ]
    seconds_for_2_percent: Annotated[
        Seconds | None,
        about("Length of a run that would reach 2 %, in seconds; null if it is longer than a year."),
    ]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the load: a span of time with a planned number of workers.

    `pulled` and `failed` count the pulls that ended in it.
    """

    workers: Annotated[Count, about("Workers that should run in the step, by the plan of the load.")]
    direction: Annotated[
        str, about("`up` while the load rises, `hold` while it stays, `down` while it falls.")
    ]
    seconds: Annotated[Seconds, about("Length of the step, in seconds.")]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")] = 0
    rate: Annotated[
        Rate,
        about("Successful pulls per second, each counted by the share of its time that lies in the step."),
    ]
    low: Annotated[
        Rate | None,
        about(
            "Lower end of the 95 % confidence interval of the rate; null if the step is too short to tell."
        ),
    ] = None
    high: Annotated[Rate | None, about("Upper end of the interval.")] = None
    latency_ms: Annotated[Latency | None, about("Latency of the step's successful pulls; null without one.")]
    offered: Annotated[
        Rate | None,
        about("Pulls per second that were due by the schedule (`--rate`); null without a schedule."),
    ] = None
    bytes: Annotated[
        Bytes | None, about("What the step's successful pulls fetched, in bytes; null if a size is unknown.")
    ] = None
    bytes_per_second: Annotated[
        BytesPerSecond | None,
        about(
            "Bytes per second, of each pull by the share of its time that lies in the step; null if a size is unknown."
        ),
    ] = None
    hosts: Annotated[
        Count | UnsetType,
        about("Hosts that reported the whole step. Absent if one host only drove the load."),
    ] = UNSET


class ThresholdResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one `--threshold`."""

    expression: Annotated[str, about("The condition, as given on the command line.")]
    value: Annotated[
        float | None,
        about("What was measured: a count, pulls per second, milliseconds or a share; null if nothing was."),
    ] = None
    passed: Annotated[bool, about("Whether the condition holds. It does not if nothing was measured.")]
    why: Annotated[
        str | None, about("Why nothing was measured, and what helps; null if there is no more to say.")
    ] = None

    @property
    def value_shown(self) -> str:
        """What was measured, with its unit; or why nothing was."""
        if self.value is not None:
            with suppress(UsageError):  # the summary is from a file, and its expression from elsewhere
                return parse_threshold(self.expression).shown(self.value)
            return three(self.value)
        return f"not measured{self._because}"

    @property
    def _because(self) -> str:
        if self.why is not None:
            return f" ({self.why})"
        needs = (f" ({name} needs {least} pulls)" for name, least in LEAST.items() if name in self.expression)
        return next(needs, "")

    @property
    def told(self) -> str:
        """What was measured, and what it must be: `p95 was 43.8 ms, must be under 1 ms`."""
        try:
            words = parse_threshold(self.expression).told(self.value)
        except UsageError:  # the summary is from a file, and its expression from elsewhere
            return f"{self.expression}: {'met' if self.passed else 'missed'}"
        return words if self.value is not None else f"{words}{self._because}"


class Herds(msgspec.Struct, frozen=True, kw_only=True):
    """The herds of a run with `--herd`. A herd that a stop cut short is not in these figures."""

    count: Annotated[Count, about("Herds of which all pulls ended.")]
    spread_ms: Annotated[
        Latency | None,
        about("Time from the first start of a client of a herd to the last start; null without a herd."),
    ]
    latency_ms: Annotated[
        Latency | None,
        about(
            "Time from the first start of a herd until every worker has the image; null without a herd of which all "
            "pulls succeeded."
        ),
    ]
    late: Annotated[Count, about("Pulls that started more than 50 ms after the first one of their herd.")]
    upstream_fetches_per_herd: Annotated[
        Rate | None,
        about("Fetches from the upstream for each herd; null unless the metrics of a server show them."),
    ] = None


class KnownLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What `ocidriver calibrate` found this machine able to drive with this client."""

    rate: Annotated[
        Rate, about("Highest rate that calibrate reached with batches of at most the run's size, in pulls/s.")
    ]
    batch: Annotated[Count, about("Images per launch of that rate.")]
    workers: Annotated[Count, about("Workers of that rate.")]
    layers: Annotated[Count, about("Layers of each image that calibrate pulled.")]
    layer_bytes: Annotated[Count, about("Size of each of these layers, in bytes.")]
    measured: Annotated[str, about("Date of the measurement.")]


class MachineLimit(KnownLimit, frozen=True, kw_only=True):
    """What `ocidriver calibrate` found this machine able to drive with this client, and how near the run came to it."""

    share: Annotated[float, about("Rate of the peak (without one, `rate`) divided by this rate.")]


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """How a host was lost."""

    at: Annotated[
        Seconds,
        about("Second of the load at which it was lost; in a merge of files, that of its last pulls."),
    ]
    reason: Annotated[str, about("Why the host was lost.")]


class HostCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One of several hosts that together carried out the load."""

    name: Annotated[str, about("Name of the host.")]
    address: Annotated[
        str | UnsetType,
        about("Address of its Dask worker. Absent if `ocidriver merge` made the summary from files."),
    ] = UNSET
    share: Annotated[str, about("Its share of the load, such as `2/3`.")]
    cores: Annotated[float, about("Cores that driver and clients may use.")]
    client: Annotated[ClientInfo | None, about("The client of this host; null in a dry run.")]
    workers: Annotated[Count, about("Workers of the host.")]
    images: Annotated[
        Count, about("Images that its workers have together; each counts once for each worker.")
    ]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    interrupted_pulls: Annotated[Count, about("Pulls that the driver ended because the run was stopped.")]
    rate: Annotated[Rate, about("Successful pulls per second up to the planned end of the load.")]
    rates: Annotated[
        tuple[Rate | None, ...],
        about(
            "Its successful pulls per second in each tally interval, in the order of `samples`; null for an interval "
            "that it did not report."
        ),
    ] = ()
    latency_ms: Annotated[Latency | None, about("Latency of the successful pulls; null without one.")]
    driver_cpu_seconds: Annotated[CpuSeconds, about("CPU time of the driver, in seconds.")]
    client_cpu_seconds: Annotated[CpuSeconds, about("CPU time of the clients, in seconds.")]
    limited_by: Annotated[str | None, about("As for the whole run, of this host alone.")]
    began: Annotated[Moment, about("When the load began on this host, exact to a millisecond.")]
    clock_error_ms: Annotated[
        Milliseconds | UnsetType,
        about(
            "The most by which its clock may differ from the controller's, after correction, in milliseconds. Absent "
            "in a merge of files."
        ),
    ] = UNSET
    start_error_ms: Annotated[
        Milliseconds | UnsetType,
        about("How late it began the load, in milliseconds. Absent in a merge of files."),
    ] = UNSET
    counted_until: Annotated[Seconds, about("Second of the load until which its pulls are counted.")]
    lost: Annotated[Lost | None, about("Null if the host carried out its share to the end.")] = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run, also of one that failed or was interrupted."""

    schema: Annotated[Literal[1], about("Version of this format.")] = SCHEMA
    started: Annotated[Moment, about("Start of the run, exact to a second.")]
    elapsed_seconds: Annotated[
        Seconds,
        about(
            "Time from the start of the load until its last pull or prune ended, in seconds; 0 without a load."
        ),
    ]
    interrupted: Annotated[bool, about("Whether a signal stopped the run.")]
    reason: Annotated[str | None, about("Why the run did not succeed; null if it did.")] = None
    command: Annotated[tuple[str, ...], about("Command line of the run, as typed.")] = ()
    settings: Annotated[
        Mapping[str, Any],
        about("Options of the run, by name with underscores in place of dashes. They hold no secrets."),
    ]
    load: Annotated[str, about("The load in words, such as `constant load of 4 workers for 10m`.")] = ""
    client: Annotated[
        ClientInfo | None, about("Null in a dry run, and in a run that did not find its client.")
    ]
    listed: Annotated[Count, about("Images that the upstream or the image list has, before the filter.")] = 0
    foreign: Annotated[
        Count, about("Images of the image list that `--foreign skip` left out. They are not in `listed`.")
    ] = 0
    images: Annotated[Count, about("Distinct images that were selected.")]
    pulled: Annotated[Count, about("Pulls that succeeded.")]
    failed: Annotated[Count, about("Pulls that failed.")]
    interrupted_pulls: Annotated[
        Count, about("Pulls that the driver ended because the run was stopped. They are not in `failed`.")
    ]
    pruned: Annotated[Count, about("Prunes that succeeded.")] = 0
    prune_failed: Annotated[Count, about("Prunes that failed.")] = 0
    retried: Annotated[
        Count | None,
        about("Retries that the clients made by themselves; null if the client does not report them."),
    ] = None
    repulled: Annotated[
        Count, about("Images that were pulled again alone to find out which images of their batch failed.")
    ] = 0
    late: Annotated[
        Count, about("Pulls of a schedule (`--rate`) that started more than 50 ms after they were due.")
    ] = 0
    late_no_worker: Annotated[Count, about("Pulls of these that waited because all workers were busy.")] = 0
    late_machine: Annotated[Count, about("Pulls of these that this machine was slow to start.")] = 0
    unstarted: Annotated[
        Count, about("Pulls of a schedule that were due and never started. They count nowhere else.")
    ] = 0
    error_rate: Annotated[
        Share | None, about("failed / (pulled + failed), from 0 to 1; null if no pull ended.")
    ]
    rate: Annotated[
        Rate,
        about(
            "Pulls that succeeded by the planned end of the load (or its stop), divided by the seconds until then."
        ),
    ]
    pulling_rate: Annotated[
        Rate | None, about("The same without the time that workers spent on pruning; null without `--prune`.")
    ] = None
    bytes: Annotated[
        Bytes | None,
        about(
            "What all successful pulls fetched, in bytes: config and layers for the platform, compressed. Null unless "
            "the size of every pulled image is known."
        ),
    ] = None
    bytes_per_second: Annotated[
        BytesPerSecond | None,
        about(
            "Bytes of the pulls that succeeded by the planned end of the load (or its stop), divided by the seconds "
            "until then; null if `bytes` is."
        ),
    ] = None
    sized_images: Annotated[
        Count | UnsetType,
        about("Selected images whose size is known. Absent if no sizes were read (`--sizes`)."),
    ] = UNSET
    errors: Annotated[Mapping[str, Count], about("Failed pulls by error class, the most frequent first.")]
    prune_errors: Annotated[
        Mapping[str, Count], about("Failed prunes by error class, the most frequent first.")
    ] = {}
    latency_unit: Annotated[
        str, about("What a latency measures: one `pull`, or one `launch` of several images (`--batch`).")
    ] = "pull"
    latency_ms: Annotated[Latency | None, about("Latency of all successful pulls; null without one.")]
    first_latency_ms: Annotated[
        Latency | None,
        about(
            "Latency of each image's first pull of the run, and of its first pull after a prune; null without one."
        ),
    ]
    repeat_latency_ms: Annotated[
        Latency | None, about("Latency of all other successful pulls; null without one.")
    ]
    workers: Annotated[tuple[WorkerCounts, ...], about("The workers, in the order of their start.")]
    image_sets: Annotated[
        tuple[ImageSetCounts, ...], about("The image sets, in the order of their patterns.")
    ] = ()
    herds: Annotated[Herds | UnsetType, about("The herds. Only a run with `--herd` has this field.")] = UNSET
    first_pulls: Annotated[
        Literal["cold", "warm", "unknown"],
        about("`cold` if the driver pruned the images before, `warm` if it warmed them up, else `unknown`."),
    ] = "unknown"
    warm_up: Annotated[
        WarmUpCounts | msgspec.UnsetType, about("The pulls before the load. Absent without `--warm-up`.")
    ] = msgspec.UNSET
    steps: Annotated[
        tuple[Step, ...],
        about("The steps of the load, in order: of the ramp, of a schedule or of fixed work."),
    ]
    samples: Annotated[tuple[Sample, ...], about("The tally intervals, in order.")]
    drain: Annotated[Drain | None, about("The pulls that ended after the planned end; null if none did.")] = (
        None
    )
    peak: Annotated[
        Peak | None,
        about("The highest rate of a step; null if this step is too short to tell how sure it is."),
    ] = None
    knee: Annotated[
        Knee | None,
        about(
            "The number of workers beyond which more workers gain little; null if the steps do not show one."
        ),
    ] = None
    precision: Annotated[Precision | None, about("Null if the steps are too short to tell.")] = None
    driver_cpu_seconds: Annotated[CpuSeconds, about("CPU time of the driver, in seconds.")] = 0.0
    client_cpu_seconds: Annotated[CpuSeconds, about("CPU time of all clients, in seconds.")] = 0.0
    machine_limit: Annotated[
        MachineLimit | UnsetType,
        about(
            "What this machine can drive. Absent if calibrate has not measured this client on this machine."
        ),
    ] = UNSET
    hosts: Annotated[
        tuple[HostCounts, ...] | UnsetType,
        about("The hosts of the load, in the order of their shares. Absent if it ran on one host only."),
    ] = UNSET
    complete: Annotated[
        bool | UnsetType,
        about("Whether every host carried out its share to the end. Absent if it ran on one host only."),
    ] = UNSET
    limited_by: Annotated[
        str | None,
        about(
            "What other than the server was the limit for a tenth of the load or more: `client` if driver and clients "
            "used nearly all CPU time that they may use, or were throttled; `machine` if other programs used it or the "
            "hypervisor took it away."
        ),
    ]
    thresholds: Annotated[tuple[ThresholdResult, ...], about("The result of each `--threshold`.")]

    @property
    def in_herds(self) -> Herds | None:
        """The herds; None if workers did not pull in herds."""
        return None if self.herds is UNSET else self.herds

    @property
    def limit_of_machine(self) -> MachineLimit | None:
        """What this machine can drive; None if that is not known."""
        return None if self.machine_limit is UNSET else self.machine_limit

    @property
    def of_hosts(self) -> tuple[HostCounts, ...]:
        """The hosts of the load; empty if it ran on one host only."""
        return () if self.hosts is UNSET else self.hosts

    @property
    def has_hosts(self) -> bool:
        """Whether several hosts carried out the load."""
        return self.hosts is not UNSET

    @property
    def lost_hosts(self) -> list[tuple[HostCounts, Lost]]:
        """The hosts that were lost, each with how."""
        return [(each, each.lost) for each in self.of_hosts if each.lost is not None]

    @property
    def ended(self) -> int:
        """Pulls that succeeded or failed."""
        return self.pulled + self.failed

    @property
    def retry_rate(self) -> float | None:
        """Retries of the clients per pull that ended; None if the client does not report them, or if no pull ended."""
        return None if self.retried is None or not self.ended else self.retried / self.ended

    @property
    def has_one_step(self) -> bool:
        """Whether the run is shown as one total and its intervals: there are no steps to compare with one another."""
        return len(self.steps) == 1

    @property
    def is_constant(self) -> bool:
        """Whether the load was the same all the time."""
        changes = ":" in str(self.settings.get("rate") or "")
        return self.has_one_step and self.steps[0].direction == HOLD and not changes

    @property
    def is_scheduled(self) -> bool:
        """Whether pulls started on a schedule."""
        return bool(self.settings.get("rate")) or any(step.offered is not None for step in self.steps)

    @property
    def missed(self) -> list[ThresholdResult]:
        """The thresholds that did not pass."""
        return [each for each in self.thresholds if not each.passed]

    def latency(self, group: str) -> Latency | None:
        """The latency of one of the `GROUPS`."""
        return {"": self.latency_ms, "first.": self.first_latency_ms, "repeat.": self.repeat_latency_ms}[
            group
        ]
